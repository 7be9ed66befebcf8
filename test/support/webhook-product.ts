// A deployment with a dispatcher, functions that succeed, and a user's server for webhooks whose answer can be changed.

import { randomUUID } from 'node:crypto'
import { Webhook } from 'standardwebhooks'
import { type Answer, type Received, startFunctionServer } from './function-server.ts'
import { freshDatabase } from './maintenance.ts'

const WEBHOOK = { type: 'closed', kind: 'millrace.webhook' } as const

/** As the receiver gets them. */
export const headersOf = ({ headers }: Received) => ({
  'webhook-id': String(headers['webhook-id']),
  'webhook-timestamp': String(headers['webhook-timestamp']),
  'webhook-signature': String(headers['webhook-signature']),
})

/** With the stock library. @throws when the secret is another one's */
export const verified = (secret: string, received: Received): { type: string; data: Record<string, unknown> } =>
  new Webhook(secret).verify(received.text, headersOf(received)) as never

export async function startWebhookReceiver() {
  let answer: Answer = { status: 204 }
  const server = await startFunctionServer(() => answer)
  return {
    url: `${server.url}/hooks/${randomUUID()}`,
    received: server.received,
    answers: (next: Answer) => {
      answer = next
    },
  }
}

/** The kind `render` always goes well. */
export async function webhookDeployment() {
  const database = await freshDatabase()
  const fn = await startFunctionServer()
  await database.declare([{ name: 'render', target: { url: fn.url, mode: 'sync' } }])
  const work = await database.maintain({ listen: true })
  const ended = (state: string, count: number) => work.events.until({ ...WEBHOOK, state }, count)
  /** Resolves once the dispatcher has forgotten what it knew of endpoints, after `change`. */
  const known = async <T>(change: () => Promise<T>): Promise<T> => {
    const before = work.events.of({ type: 'reloaded' }).length
    const changed = await change()
    await work.events.until({ type: 'reloaded' }, before + 1)
    return changed
  }
  return { database, work, ended, known }
}
