// The callback ingress of the HTTP bench, with a bare route that records nothing, for the bare loop.

import { Hono } from 'hono'
import { callbacks } from '../core/callbacks.ts'
import { SqlEngine } from '../core/sql-engine.ts'
import { postgresSql } from '../functions/node/postgres-sql.ts'
import { serveNode } from '../functions/node/serve.ts'

const sql = postgresSql(process.env.DATABASE_URL ?? '', { max: 4 })
const counts = { bare: 0 }
const app = new Hono()
  .get('/counts', c => c.json(counts))
  .post('/bare/*', async c => {
    await c.req.json()
    counts.bare++
    return c.json({ ok: true })
  })
  .route('/', callbacks({ store: new SqlEngine(sql), keyring: process.env.MILLRACE_KEYS }))

const serving = await serveNode(request => app.fetch(request), { port: 0 })
process.send?.({ url: serving.url })
process.on('disconnect', () => void sql.end().then(() => process.exit(0)))
