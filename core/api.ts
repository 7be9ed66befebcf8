// Public entry `millrace/api`: the private admin API.

export { type ApiEvent, type ApiOptions, apiApp, openApiDocument } from './api/app.ts'
export { type ApiKeyCache, apiKeyCache } from './api/key-cache.ts'
export type { ApiErrorCode } from './api/problem.ts'
export { generateApiKey, type Scope } from './api-key.ts'
export {
  type ClientOf,
  type HeldBytes,
  type RequestLimits,
  type RequestLimitsOptions,
  requestLimits,
} from './request-limits.ts'
