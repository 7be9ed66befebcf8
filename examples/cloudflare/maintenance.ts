// Maintenance: a Durable Object that sends jobs, and a Cron Trigger that looks after it.

import { type MaintenanceNamespace, maintenanceCron, maintenanceObject, postgresDatabase } from 'millrace/cloudflare'

interface Env {
  readonly DB: { readonly connectionString: string }
  readonly MILLRACE_KEYS: string
  readonly MILLRACE_CALLBACK_URL: string
  readonly MAINTENANCE: MaintenanceNamespace
}

export const MillraceMaintenance = maintenanceObject<Env>(env => ({
  database: postgresDatabase(env.DB.connectionString, { prepare: true }),
  keyring: env.MILLRACE_KEYS,
  callbackUrl: env.MILLRACE_CALLBACK_URL,
}))

// The object stays where it was first reached from. Near the database is best: { locationHint: 'weur' } as a second argument.
export default { scheduled: maintenanceCron<Env>(env => env.MAINTENANCE) }
