// Public entry `millrace/aws/api`: the private admin API as a Lambda function. Needs DATABASE_URL and MILLRACE_API_KEYS.

import { apiApp } from '../../core/api/app.ts'
import { lambdaDatabase, logLine, required, schemaOption } from './environment.ts'
import { lambdaApp, lambdaLimits } from './lambda-app.ts'

/** Behind a function URL with IAM, or a private API: it is for your own services only. */
export const handler = lambdaApp(() =>
  apiApp({
    sql: lambdaDatabase('millrace api'),
    ...schemaOption(),
    apiKeys: required('MILLRACE_API_KEYS'),
    sealingKeys: process.env.MILLRACE_SEALING_KEYS,
    limits: lambdaLimits(),
    onEvent: event => event.status >= 500 && logLine({ type: 'request', ...event }),
  }),
)
