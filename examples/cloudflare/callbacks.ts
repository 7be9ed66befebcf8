// The callback ingress: what functions report goes here, and events by token.

import { callbacksWorker, type MaintenanceNamespace, postgresDatabase } from 'millrace/cloudflare'

interface Env {
  readonly DB: { readonly connectionString: string }
  readonly MILLRACE_KEYS: string
  readonly MAINTENANCE: MaintenanceNamespace
}

export default callbacksWorker<Env>(env => ({
  database: postgresDatabase(env.DB.connectionString),
  keyring: env.MILLRACE_KEYS,
  maintenance: env.MAINTENANCE,
}))
