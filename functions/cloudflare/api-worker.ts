// The private admin API as a Worker.

import { type ApiOptions, apiApp } from '../../core/api/app.ts'
import { apiKeyCache } from '../../core/api/key-cache.ts'
import { workerLimits } from './client-address.ts'
import type { WorkerDatabase } from './database.ts'
import { type MaintenanceNamespace, wakeMaintenance } from './wake.ts'
import { type FetchWorker, withDatabase } from './worker.ts'

export interface ApiWorkerOptions extends Omit<ApiOptions, 'sql'> {
  /** The request's own. */
  readonly database: WorkerDatabase
  /** Woken after what may have made work: whatever is not a mere look. */
  readonly maintenance?: MaintenanceNamespace | undefined
}

/**
 * A Worker that is the admin API. Give it no public route: reach it by a service binding, or put Cloudflare Access before it.
 * `options` is asked for each request; the API keys of the database are known to all requests of an isolate for ten seconds.
 *
 * @example
 * export default apiWorker<Env>(env => ({
 *   database: postgresDatabase(env.DB.connectionString),
 *   apiKeys: env.MILLRACE_API_KEYS,
 * }))
 */
export function apiWorker<Env>(options: (env: Env) => ApiWorkerOptions): FetchWorker<Env> {
  const [sharedLimits, sharedKeys] = [workerLimits(), apiKeyCache()]
  return {
    fetch(request, env, ctx) {
      const { database, maintenance, limits = sharedLimits, keyCache = sharedKeys, ...rest } = options(env)
      return withDatabase(database, ctx, async () => {
        const response = await apiApp({ ...rest, sql: database, limits, keyCache }).fetch(request)
        if (response.ok && request.method !== 'GET' && maintenance !== undefined)
          ctx.waitUntil(wakeMaintenance(maintenance))
        return response
      })
    },
  }
}
