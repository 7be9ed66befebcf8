// Public entry `millrace/node`: what the roles need on Node. Drivers, HTTP, migrations and the embedded server.

export { type PostgresOptions, type RunningPostgres, startPostgres } from './embedded-postgres.ts'
export { migrateDatabase } from './migrations.ts'
export { type PostgresSql, type PostgresSqlOptions, postgresSql } from './postgres-sql.ts'
export { type ServeNodeOptions, type Serving, serveNode } from './serve.ts'
export { type UndiciTransport, type UndiciTransportOptions, undiciTransport } from './undici-transport.ts'
export {
  type DispatchRequestNode,
  type NodeMiddleware,
  nodeDispatch,
  nodeListener,
  nodeWebhook,
  type WebhookRequestNode,
} from './verify.ts'
