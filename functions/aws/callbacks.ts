// Public entry `millrace/aws/callbacks`: the callback ingress as a Lambda function. Needs DATABASE_URL and MILLRACE_KEYS.

import { callbacks } from '../../core/callbacks/app.ts'
import { SqlEngine } from '../../core/sql-engine.ts'
import { lambdaDatabase, logLine, required, schemaOption } from './environment.ts'
import { lambdaApp, lambdaLimits } from './lambda-app.ts'

/** Behind a function URL without IAM, or API Gateway: functions that call back have no credentials of AWS. */
export const handler = lambdaApp(() =>
  callbacks({
    store: new SqlEngine(lambdaDatabase('millrace callbacks'), schemaOption()),
    keyring: required('MILLRACE_KEYS'),
    limits: lambdaLimits(),
    onEvent: event => event.status >= 500 && logLine({ type: 'callback', ...event }),
  }),
)
