// Public entry `millrace/api`: the private admin API.

export { type ApiEvent, type ApiOptions, apiApp, openApiDocument } from './api/app.ts'
export { generateApiKey, type Scope } from './api/keys.ts'
export type { ApiErrorCode } from './api/problem.ts'
