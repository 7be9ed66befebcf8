// A hostile function service. Healthy, once it is told to be.

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { buffer } from 'node:stream/consumers'
import { HEADER, parseKeyring, verifyDispatch } from 'millrace/protocol'
import { CALLBACK, choose, SYNC } from './behaviours.ts'
import { callbacksOf } from './callback-client.ts'
import { sendOwnEvent } from './event-client.ts'
import { journal } from './journal.ts'
import { planOf } from './plans.ts'
import { nextStep, type Progress, seenIn } from './progress.ts'
import { randomFor } from './random.ts'
import { CALLBACK_WAIT, SYNC_WAIT, waitBody } from './waiting.ts'

const { CHAOS_SEED = '', CHAOS_JOURNAL = '', CHAOS_PORT, CHAOS_HEALTHY, CHAOS_DISPATCH_KEYS = '' } = process.env
const healthy = CHAOS_HEALTHY === '1'
const note = journal(CHAOS_JOURNAL)
const keys = parseKeyring(CHAOS_DISPATCH_KEYS)

interface DispatchBody {
  readonly args: { readonly token?: number }
  readonly callback_id?: string
  readonly callback_url?: string
  readonly events_url?: string
  readonly progress?: Progress
}

async function dispatched(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { headers } = request
  const job = String(headers[HEADER.idempotencyKey]).replace('millrace-', '')
  const attempt = Number(headers[HEADER.attempt])
  const random = randomFor(CHAOS_SEED, job, attempt)
  if (!healthy && random.chance(0.02)) {
    note({ what: 'call', job, attempt, does: 'resets unread' })
    request.socket.resetAndDestroy()
    return
  }
  const bytes = await buffer(request)
  if (!isSigned(request, bytes)) {
    note({ what: 'unauthorized', where: 'dispatch', job, attempt })
    response.writeHead(401).end()
    return
  }
  const body = JSON.parse(bytes.toString()) as DispatchBody
  const isSync = request.url?.endsWith('sync')
  const seen = request.url?.startsWith('/waits') ? seenIn(body.progress) : undefined
  const step = seen && nextStep(planOf(CHAOS_SEED, job), seen)
  const repertoire = step ? (isSync ? SYNC_WAIT : CALLBACK_WAIT) : isSync ? SYNC : CALLBACK
  const does = choose(repertoire, random, healthy)
  const { token } = body.args
  note({ what: 'call', job, attempt, does, ...(token !== undefined && { token }), ...(seen && { seen }) })
  const callbacks = callbacksOf({ job, attempt, ...addressIn(body, headers, random.chance(0.5)) }, note)
  const done = () => {
    const nonce = `${process.pid}:${job}:${attempt}:answer`
    note({ what: 'says', job, attempt, nonce })
    return { nonce }
  }
  const wanted = step && waitBody(step, attempt)
  const sendEvent = async () => {
    const eventKey = String(headers[HEADER.eventKey])
    if (step && body.events_url)
      await sendOwnEvent({ job, attempt, name: step.name, eventsUrl: body.events_url, eventKey }, note)
  }
  await repertoire[does]?.act({ request, response, random, done, callbacks, wanted, sendEvent })
}

const isSigned = ({ url = '', headers }: IncomingMessage, body: Uint8Array): boolean =>
  verifyDispatch(keys, { method: 'POST', path: url, body }, String(headers[HEADER.signature]), Date.now()) === 'valid'

function addressIn(body: DispatchBody, headers: IncomingMessage['headers'], signs: boolean) {
  const { callback_id: id = '', callback_url: url = '' } = body
  const key = signs ? (headers[HEADER.attemptKey] as string | undefined) : undefined
  return { id, url, signature: String(headers[HEADER.compatibleSignature]), key }
}

const server = createServer((request, response) => {
  // What is left when a connection breaks in the middle: nobody to answer.
  dispatched(request, response).catch(() => request.socket.destroy())
})
server.listen(Number(CHAOS_PORT), '127.0.0.1', () => console.log(`http://127.0.0.1:${CHAOS_PORT}`))
