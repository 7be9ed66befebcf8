// Webhook endpoints that take, refuse, hang, ask for less or are gone. Healthy, once they are told to be.

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { buffer } from 'node:stream/consumers'
import { verifyWebhook, verifyWebhookAsymmetric, type WebhookHeaders } from 'millrace/protocol'
import { ENDPOINTS, pathOf } from './endpoints.ts'
import { journal } from './journal.ts'
import { randomFor } from './random.ts'

const { CHAOS_SEED = '', CHAOS_JOURNAL = '', CHAOS_PORTS = '', CHAOS_SECRETS = '{}', CHAOS_HEALTHY } = process.env
const healthy = CHAOS_HEALTHY === '1'
const note = journal(CHAOS_JOURNAL)
const secrets = JSON.parse(CHAOS_SECRETS) as Record<string, string>
const random = randomFor(CHAOS_SEED, 'webhooks', process.pid)

interface Event {
  readonly type: string
  readonly data: { readonly job_id: number; readonly attempt: number }
}

async function isGenuine(endpoint: string, { headers }: IncomingMessage, body: Uint8Array): Promise<boolean> {
  const secret = secrets[endpoint] ?? ''
  const verify = secret.startsWith('whsec_') ? verifyWebhook : verifyWebhookAsymmetric
  return (await verify(secret, headers as Partial<WebhookHeaders>, body, Date.now())) === 'valid'
}

async function delivered(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const endpoint = ENDPOINTS.find(({ name }) => pathOf(name) === request.url)
  if (endpoint === undefined) return void response.writeHead(404).end()
  const { name, moods } = endpoint
  const body = await buffer(request)
  const genuine = await isGenuine(name, request, body)
  const { type, data } = JSON.parse(body.toString()) as Event
  const mood = healthy ? 'takes' : random.weighted(moods)
  const [job, id] = [String(data.job_id), String(request.headers['webhook-id'])]
  const taken = mood.startsWith('takes')
  note({ what: 'webhook', endpoint: name, id, type, job, attempt: data.attempt, genuine, taken })
  if (mood === 'hangs') return
  if (mood.endsWith('resets')) request.socket.resetAndDestroy()
  else response.writeHead(taken ? 204 : Number(mood.slice('error '.length)), { 'retry-after': '1' }).end()
}

for (const port of CHAOS_PORTS.split(',')) {
  const server = createServer((request, response) => {
    // What is left when a connection breaks in the middle: nobody to answer.
    delivered(request, response).catch(() => request.socket.destroy())
  })
  server.listen(Number(port), '127.0.0.1', () => console.log(`http://127.0.0.1:${port}`))
}
