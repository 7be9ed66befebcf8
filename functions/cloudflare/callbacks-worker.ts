// The callback ingress as a Worker of its own: callbacks, events by token, a health check.

import { type CallbacksOptions, callbacks } from '../../core/callbacks/app.ts'
import { SqlEngine } from '../../core/sql-engine.ts'
import { workerLimits } from './client-address.ts'
import type { WorkerDatabase } from './database.ts'
import { type MaintenanceNamespace, wakeMaintenance } from './wake.ts'
import { type FetchWorker, withDatabase } from './worker.ts'

export interface CallbacksWorkerOptions extends Omit<CallbacksOptions, 'store' | 'keyring' | 'allowUnsigned'> {
  /** The request's own. */
  readonly database: WorkerDatabase
  /** The root keyring's text; a secret. */
  readonly keyring: string
  /** `millrace` unless given. */
  readonly schema?: string | undefined
  /** Woken when a callback or an event may have made work: retries, follow-ups, webhooks, jobs that go on. */
  readonly maintenance?: MaintenanceNamespace | undefined
}

/**
 * A Worker that takes callbacks and events, and nothing else. `options` is asked for each request.
 *
 * @example
 * export default callbacksWorker<Env>(env => ({
 *   database: postgresDatabase(env.DB.connectionString),
 *   keyring: env.MILLRACE_KEYS,
 *   maintenance: env.MAINTENANCE,
 * }))
 */
export function callbacksWorker<Env>(options: (env: Env) => CallbacksWorkerOptions): FetchWorker<Env> {
  const shared = workerLimits()
  return {
    fetch(request, env, ctx) {
      const { database, schema, maintenance, onEvent, limits = shared, ...rest } = options(env)
      return withDatabase(database, ctx, async () => {
        let isWork = false
        const store = new SqlEngine(database, schema === undefined ? {} : { schema })
        const told: CallbacksOptions['onEvent'] = event => {
          isWork = event.status === 200 && event.action !== 'heartbeat'
          onEvent?.(event)
        }
        const response = await callbacks({ ...rest, store, limits, onEvent: told }).fetch(request)
        if (isWork && maintenance !== undefined) ctx.waitUntil(wakeMaintenance(maintenance))
        return response
      })
    },
  }
}
