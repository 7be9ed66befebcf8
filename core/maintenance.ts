// Public entry `millrace/maintenance`: the role that dispatches, promotes, rescues and leads, long-running or a slice at a time.

export type { AwsScope, AwsSigner, Credentials, IdentityTokens } from './dispatch/authorize.ts'
export type { MaintenanceEvent } from './dispatch/events.ts'
export { type FetchTransportOptions, fetchTransport, type ServiceBinding } from './dispatch/fetch-transport.ts'
export { type Answer, type DispatchRequest, type Transport, TransportError } from './dispatch/transport.ts'
export type { JobView } from './engine-rows.ts'
export { Maintenance, type MaintenanceOptions } from './maintenance/maintenance.ts'
export { type NextDue, nextDue } from './maintenance/next-due.ts'
export { type TickOptions, type TickSummary, tick } from './maintenance/tick.ts'
export { SqlEngine } from './sql-engine.ts'
export type { AllowedTargets } from './target-guard.ts'
