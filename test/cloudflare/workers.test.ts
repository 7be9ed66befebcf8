// What the Workers do before any database is asked: who a client is, how often one may be refused, how many requests fly.

import { callbacksWorker, cloudflareClient } from 'millrace/cloudflare'
import { type DispatchRequest, type Transport, TransportError } from 'millrace/maintenance'
import { formatKeyring } from 'millrace/protocol'
import { expect, test } from 'vitest'
import { limitedTransport } from '../../functions/cloudflare/limited-transport.ts'
import { keyring } from '../support/ingress.ts'

const from = (address: string, url = 'https://callbacks.example/') =>
  new Request(url, { method: 'POST', headers: { 'cf-connecting-ip': address } })

test.each([
  ['192.0.2.7', '192.0.2.7'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
  ['2001:DB8::5', '2001:db8:0:0::/64'],
  ['2001:db8:1:2::', '2001:db8:1:2::/64'],
  ['::1', '0:0:0:0::/64'],
])('a client is an address, or a network of 64 bits: %s', (address, client) => {
  expect(cloudflareClient(from(address), {})).toBe(client)
})

test('without the header nobody is known', () => {
  expect(cloudflareClient(new Request('https://callbacks.example/'), {})).toBeUndefined()
})

test('the limits hold over the requests of an isolate, and refusals open no connection', async () => {
  const query = () => Promise.reject(new Error('the database was asked'))
  const worker = callbacksWorker(() => ({
    database: { query, end: async () => undefined },
    keyring: formatKeyring(keyring),
  }))
  const url = 'https://callbacks.example/api/callbacks/k1.0.1.1/complete'
  const call = (address: string) => worker.fetch(from(address, url), {}, { waitUntil: () => undefined })
  let last = await call('192.0.2.7')
  let refused = 1
  for (; last.status === 401; refused++) last = await call('192.0.2.7')
  expect([last.status, last.headers.get('retry-after')]).toEqual([429, '1'])
  expect(refused).toBeGreaterThan(100)
  expect((await call('192.0.2.8')).status).toBe(401)
})

/** Requests that are answered one by one. */
function held() {
  const answers: (() => void)[] = []
  const transport: Transport = {
    async post() {
      await new Promise<void>(resolve => answers.push(resolve))
      return { status: 200, header: () => undefined, body: '', truncated: false }
    },
  }
  const limited = limitedTransport(transport, 2)
  const post = (signal: AbortSignal) => limited.post({ signal } as DispatchRequest)
  return { answers, post }
}

test('no more requests are in flight than there are connections', async () => {
  const { answers, post } = held()
  const { signal } = new AbortController()
  const posted = Array.from({ length: 5 }, () => post(signal))
  for (let answered = 0; answered < 5; answered++) {
    await expect.poll(() => answers.length).toBe(Math.min(5, answered + 2))
    answers[answered]?.()
    await posted[answered]
  }
})

test('what waits for its turn and is given up was not sent, and takes no place', async () => {
  const { answers, post } = held()
  const [given, kept] = [new AbortController(), new AbortController()]
  const first = [post(kept.signal), post(kept.signal)]
  const waiting = post(given.signal)
  const last = post(kept.signal)
  given.abort()
  await expect.poll(() => answers.length).toBe(2)
  const error = await waiting.catch(error => error)
  expect(error).toBeInstanceOf(TransportError)
  expect(error).toMatchObject({ code: 'aborted', sent: false })
  answers[0]?.()
  await first[0]
  await expect.poll(() => answers.length).toBe(3)
  answers[2]?.()
  await last
})
