// Public entry `millrace/cloudflare`: what the roles and functions need on Workers.

export { type ApiWorkerOptions, apiWorker } from './api-worker.ts'
export { type CallbacksWorkerOptions, callbacksWorker } from './callbacks-worker.ts'
export { cloudflareClient } from './client-address.ts'
export { clientDatabase, type DatabaseClient } from './client-database.ts'
export { type PostgresDatabaseOptions, postgresDatabase, type WorkerDatabase } from './database.ts'
export { type MaintenanceObject, maintenanceObject, type ObjectState } from './maintenance-object.ts'
export type { MaintenanceObjectOptions } from './maintenance-options.ts'
export type { Patience } from './patience.ts'
export { type R2Bucket, r2BlobStore } from './r2-blob-store.ts'
export { type MaintenanceAddress, type MaintenanceNamespace, maintenanceCron, wakeMaintenance } from './wake.ts'
export type { FetchWorker, WorkerContext } from './worker.ts'
