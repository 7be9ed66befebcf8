// The private admin API.

import { apiWorker, type MaintenanceNamespace, postgresDatabase } from 'millrace/cloudflare'

interface Env {
  readonly DB: { readonly connectionString: string }
  readonly MILLRACE_API_KEYS: string
  readonly MAINTENANCE: MaintenanceNamespace
}

export default apiWorker<Env>(env => ({
  database: postgresDatabase(env.DB.connectionString),
  apiKeys: env.MILLRACE_API_KEYS,
  maintenance: env.MAINTENANCE,
}))
