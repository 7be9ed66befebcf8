// Public entry `millrace/node`: what the roles need on Node. Drivers, HTTP, migrations and the embedded server.

export { clientAddress } from './client-address.ts'
export { type PostgresOptions, type RunningPostgres, startPostgres } from './embedded-postgres.ts'
export { migrateDatabase } from './migrations.ts'
export { type PostgresSql, type PostgresSqlOptions, postgresSql } from './postgres-sql.ts'
export { type ServeNodeLimits, type ServeNodeOptions, type Serving, serveNode } from './serve.ts'
export { type UndiciTransport, type UndiciTransportOptions, undiciTransport } from './undici-transport.ts'
export {
  type DispatchRequestNode,
  type NodeMiddleware,
  nodeDispatch,
  nodeListener,
  nodeWebhook,
  type WebhookRequestNode,
} from './verify.ts'
