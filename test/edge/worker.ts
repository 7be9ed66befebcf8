// A Worker that is both ends of a job: the function, with the receiver SDK, and the callback ingress, over Hyperdrive.

import { defineKind, toSql } from 'millrace'
import { callbacks, SqlEngine } from 'millrace/callbacks'
import { handle, NonRetryableError, serve } from 'millrace/function'
import postgres from 'postgres'
import * as v from 'valibot'

interface Env {
  readonly DB: { readonly connectionString: string }
  readonly MILLRACE_KEYS: string
  readonly MILLRACE_DISPATCH_KEYS: string
}

interface Context {
  waitUntil(work: Promise<unknown>): void
}

const resize = defineKind({ name: 'resize', args: v.object({ width: v.number() }) })

const receiver = serve({
  kinds: [
    handle(resize, async ({ width }, job) => {
      await job.setProgress({ percent: 50, message: `in ${navigator.userAgent}` })
      if (width === 0) return job.waitForEvent('width', { transform: 'payload.width' })
      if (width < 0) throw new NonRetryableError('a width is not negative')
      return { height: 2 * width, runsOn: navigator.userAgent }
    }),
  ],
  dispatchKeys: env => (env as Env).MILLRACE_DISPATCH_KEYS,
})

/** A connection belongs to one request here, so the ingress is made for each. */
async function ingress(request: Request, env: Env, ctx: Context): Promise<Response> {
  const sql = postgres(env.DB.connectionString, { max: 1, fetch_types: false })
  try {
    return await callbacks({ store: new SqlEngine(toSql(sql)), keyring: env.MILLRACE_KEYS }).fetch(request)
  } finally {
    ctx.waitUntil(sql.end())
  }
}

export default {
  fetch: (request: Request, env: Env, ctx: Context): Promise<Response> =>
    new URL(request.url).pathname === '/jobs' ? receiver.fetch(request, env, ctx) : ingress(request, env, ctx),
}
