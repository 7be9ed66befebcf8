// The function of the HTTP bench, written to Awa's contract: answers 200, or 202 and posts the callback.

import { type Context, Hono } from 'hono'
import { Agent } from 'undici'
import { serveNode } from '../functions/node/serve.ts'

const agent = new Agent({ connections: 64 })
const counts = { calls: 0, answered: 0, calledBack: 0 }

const app = new Hono()
  .get('/counts', c => c.json(counts))
  .post('/bare', c => work(c, () => undefined))
  .post('/jobs', c => {
    counts.calls++
    return work(c, what => counts[what]++)
  })

async function work(c: Context, count: (what: 'answered' | 'calledBack') => void): Promise<Response> {
  const { callback_url } = await c.req.json<{ callback_url?: string }>()
  if (callback_url === undefined) {
    count('answered')
    return c.json({ ok: true })
  }
  void callBack(callback_url, c.req.header('x-awa-signature') ?? '').then(() => count('calledBack'))
  return c.json({ accepted: true }, 202)
}

async function callBack(url: string, signature: string): Promise<void> {
  const { origin, pathname } = new URL(url)
  const headers = { 'content-type': 'application/json', 'x-awa-signature': signature }
  const body = '{"payload":{"ok":true}}'
  const answer = await agent.request({ origin, path: pathname, method: 'POST', headers, body })
  await answer.body.text()
  if (answer.statusCode !== 200) throw new Error(`the ingress answered ${answer.statusCode}`)
}

const serving = await serveNode(request => app.fetch(request), { port: 0 })
process.send?.({ url: serving.url })
process.on('disconnect', () => process.exit(0))
