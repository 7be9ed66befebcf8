// A hostile function service, and a webhook endpoint that is little better. Healthy, once it is told to be.

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'
import { CALLBACK, choose, SYNC } from './behaviours.ts'
import { callbacksOf } from './callback-client.ts'
import { journal } from './journal.ts'
import { type Random, randomFor } from './random.ts'

const { CHAOS_SEED = '', CHAOS_JOURNAL = '', CHAOS_PORT, CHAOS_HEALTHY } = process.env
const healthy = CHAOS_HEALTHY === '1'
const note = journal(CHAOS_JOURNAL)
const webhooks = randomFor(CHAOS_SEED, 'webhooks', process.pid)

interface DispatchBody {
  readonly args: { readonly token: number }
  readonly callback_id?: string
  readonly callback_url?: string
}

async function dispatched(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { headers } = request
  const job = String(headers['idempotency-key']).replace('millrace-', '')
  const attempt = Number(headers['millrace-attempt'])
  const random = randomFor(CHAOS_SEED, job, attempt)
  const repertoire = request.url === '/sync' ? SYNC : CALLBACK
  const does = choose(repertoire, random, healthy)
  if (does === 'reset' && random.chance(0.5)) {
    note({ what: 'call', job, attempt, does })
    request.socket.resetAndDestroy()
    return
  }
  const body = JSON.parse(await text(request)) as DispatchBody
  note({ what: 'call', job, attempt, does, token: body.args.token })
  const { callback_id: id = '', callback_url: url = '' } = body
  const callbacks = callbacksOf({ job, attempt, url, id, signature: String(headers['x-awa-signature']) }, note)
  const done = () => {
    const nonce = `${process.pid}:${job}:${attempt}:answer`
    note({ what: 'says', job, attempt, nonce })
    return { nonce }
  }
  await repertoire[does]?.act({ request, response, random, done, callbacks })
}

async function delivered(request: IncomingMessage, response: ServerResponse, random: Random): Promise<void> {
  const { type, data } = JSON.parse(await text(request)) as { type: string; data: { job_id: number } }
  const mood = healthy ? 'takes' : random.weighted({ takes: 75, refuses: 10, resets: 5, 'takes and resets': 5 })
  if (mood.startsWith('takes')) note({ what: 'webhook', job: String(data.job_id), type })
  if (mood.endsWith('resets')) request.socket.resetAndDestroy()
  else response.writeHead(mood === 'takes' ? 204 : 500).end()
}

const server = createServer((request, response) => {
  const handled = request.url === '/webhooks' ? delivered(request, response, webhooks) : dispatched(request, response)
  // What is left when a connection breaks in the middle: nobody to answer.
  handled.catch(() => request.socket.destroy())
})
server.listen(Number(CHAOS_PORT), '127.0.0.1', () => console.log(`http://127.0.0.1:${CHAOS_PORT}`))
