// Public entry `millrace/aws/tick`: maintenance as a scheduled Lambda function. Needs DATABASE_URL, MILLRACE_KEYS and
// MILLRACE_CALLBACK_URL, and `@aws-sdk/client-lambda`, which Lambda's Node.js has.

import { awsSigner } from '../identity/aws-signer.ts'
import { undiciTransport } from '../node/undici-transport.ts'
import { lambdaDatabase, logLine, required, schemaOption } from './environment.ts'
import { lambdaInvoker } from './lambda-invoker.ts'
import { scheduledTick } from './scheduled-tick.ts'

export const handler = scheduledTick(() => ({
  sql: lambdaDatabase('millrace tick'),
  ...schemaOption(),
  keyring: required('MILLRACE_KEYS'),
  callbackUrl: process.env.MILLRACE_CALLBACK_URL,
  transport: undiciTransport({ allow: allowed(process.env.MILLRACE_ALLOW_TARGETS) }),
  lambdaInvoker: lambdaInvoker(),
  awsSigner: awsSigner({ credentials: ownCredentials }),
  secrets: name => process.env[`MILLRACE_SECRET_${name}`],
  onEvent: event => event.type === 'error' && logLine(event),
}))

/** Of the function's role. */
const ownCredentials = () => ({
  accessKeyId: required('AWS_ACCESS_KEY_ID'),
  secretAccessKey: required('AWS_SECRET_ACCESS_KEY'),
  sessionToken: process.env.AWS_SESSION_TOKEN,
})

const allowed = (list = ''): string[] => list.split(/[\s,]+/).filter(entry => entry !== '')
