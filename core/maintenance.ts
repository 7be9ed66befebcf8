// Public entry `millrace/maintenance`: the long-running role that dispatches, promotes and rescues.

export type { MaintenanceEvent } from './dispatch/events.ts'
export { fetchTransport } from './dispatch/fetch-transport.ts'
export { type Answer, type DispatchRequest, type Transport, TransportError } from './dispatch/transport.ts'
export { Maintenance, type MaintenanceOptions } from './maintenance/maintenance.ts'
export { type JobView, SqlEngine } from './sql-engine.ts'
