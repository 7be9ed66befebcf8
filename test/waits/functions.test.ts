// Functions that wait for events, in both modes: over a real ingress and dispatcher, and Postgres.

import { type Sql, sendEvent } from 'millrace'
import type { Job } from 'millrace/function'
import { eventKey } from 'millrace/protocol'
import { describe, expect, test } from 'vitest'
import { startFunctionServer } from '../support/function-server.ts'
import { keyring } from '../support/ingress.ts'
import { MODES, post, startWaiting } from '../support/waiting.ts'

const charge = (job: Job) => {
  const { payload, timedOut } = job.waitForEvent('payment')
  return { payload, timedOut, attempt: job.attempt }
}

describe.each(MODES)('%s mode', mode => {
  test('an event ends the wait: the job goes on with it, at no cost in attempts', async () => {
    const { sql, enqueue, waits, until } = await startWaiting(mode, charge)
    const id = await enqueue('order')
    await waits(id)
    expect(await sendEvent(sql, id, 'payment', { payload: { amount: 42 } })).toEqual({
      state: 'applied',
      jobState: 'available',
    })
    const result = { payload: { amount: 42 }, timedOut: false, attempt: 2 }
    expect(await until(id, 'completed')).toMatchObject({ result, errors: [], attempt: 2, max_attempts: 2 })
  })

  test('an event that comes first is kept for the wait', async () => {
    const told = Promise.withResolvers<void>()
    const { sql, enqueue, until } = await startWaiting(mode, async job => {
      await told.promise
      return charge(job)
    })
    const id = await enqueue('order')
    expect(await sendEvent(sql, id, 'payment', { payload: 'early' })).toEqual({ state: 'kept' })
    told.resolve()
    expect(await until(id, 'completed')).toMatchObject({ result: { payload: 'early', attempt: 2 } })
  })

  test('the event comes by the URL that the function made', async () => {
    const url = Promise.withResolvers<string>()
    const { enqueue, waits, until, ingress } = await startWaiting(mode, job => {
      url.resolve(job.eventUrl('payment'))
      return charge(job)
    })
    const id = await enqueue('order')
    await waits(id)
    expect((await url.promise).startsWith(`${ingress}/api/events/k1.${id}.`)).toBe(true)
    const answer = await post(await url.promise, { amount: 7 })
    expect(answer).toEqual({ status: 200, body: { state: 'applied', job_state: 'available' } })
    expect(await until(id, 'completed')).toMatchObject({ result: { payload: { amount: 7 } } })
  })

  test('two waits in a row, with a checkpoint each', async () => {
    const begun: unknown[] = []
    const { sql, enqueue, waits, until } = await startWaiting(mode, async job => {
      begun.push(job.progress)
      if (job.event('approval') === undefined) await job.setProgress({ percent: 10, metadata: { drafted: true } })
      const approval = job.waitForEvent('approval', { checkpoint: { draft: 'v1' } })
      const payment = job.waitForEvent('payment', { checkpoint: { approvedBy: approval.payload } })
      return [approval.payload, payment.payload, job.progress?.metadata ?? null]
    })
    const id = await enqueue('order')
    await waits(id, 'approval')
    await sendEvent(sql, id, 'approval', { payload: 'ann' })
    await waits(id, 'payment')
    await sendEvent(sql, id, 'payment', { payload: 42 })
    const metadata = { drafted: true, draft: 'v1', approvedBy: 'ann' }
    expect((await until(id, 'completed')).result).toEqual(['ann', 42, metadata])
    expect(begun).toEqual([
      undefined,
      { percent: 10, metadata: { drafted: true, draft: 'v1' } },
      { percent: 10, metadata },
    ])
  })

  test('rules: what is not meant is ignored, what is meant is transformed', async () => {
    const { sql, enqueue, waits, until } = await startWaiting(mode, job =>
      job.waitForEvent('payment', {
        filter: 'payload.type == "charge"',
        onFail: 'payload.status == "declined"',
        transform: '{"cents": payload.amount * 100.0, "items": payload.items.map(i, i.sku)}',
      }),
    )
    const id = await enqueue('order')
    await waits(id)
    expect(await sendEvent(sql, id, 'payment', { payload: { type: 'refund' } })).toEqual({ state: 'ignored' })
    expect(await sendEvent(sql, id, 'payment')).toEqual({ state: 'ignored' })
    const payload = { type: 'charge', amount: 4.5, items: [{ sku: 'a' }, { sku: 'b' }] }
    // No status: the condition fails, and what fails is not true.
    expect(await sendEvent(sql, id, 'payment', { payload })).toMatchObject({ state: 'applied' })
    expect((await until(id, 'completed')).result).toMatchObject({ payload: { cents: 450, items: ['a', 'b'] } })
  })

  test.each([
    ['on_fail', { onFail: 'payload.status == "declined"' }, 'failed', { errors: [{ code: 'event' }] }],
    [
      'on_complete',
      { onComplete: 'true', transform: 'payload.status' },
      'completed',
      { result: 'declined', attempt: 1 },
    ],
    ['default_action', { defaultAction: 'complete' } as const, 'completed', { result: { status: 'declined' } }],
  ])('rules: %s ends the job', async (_, options, state, expected) => {
    const { sql, enqueue, waits, until } = await startWaiting(mode, job => job.waitForEvent('payment', options))
    const id = await enqueue('order')
    await waits(id)
    expect(await sendEvent(sql, id, 'payment', { payload: { status: 'declined' } })).toEqual({
      state: 'applied',
      jobState: state,
    })
    expect(await until(id, state)).toMatchObject(expected)
  })

  test('rules are tried on what was kept, oldest first', async () => {
    const told = Promise.withResolvers<void>()
    const { sql, enqueue, until } = await startWaiting(mode, async job => {
      await told.promise
      return job.waitForEvent('payment', { filter: 'payload.n > 1.0', transform: 'payload.n + 0.5' })
    })
    const id = await enqueue('order')
    for (const n of [0, 1, 2, 3]) await sendEvent(sql, id, 'payment', { payload: { n } })
    told.resolve()
    expect((await until(id, 'completed')).result).toMatchObject({ payload: 2.5 })
  })

  test.each([
    ['fail', 'failed', { errors: [{ code: 'wait_timeout' }] }],
    ['resume', 'completed', { result: { payload: null, timedOut: true } }],
  ] as const)('a wait that times out: %s', async (onTimeout, state, expected) => {
    const { enqueue, waits, until, timeOut } = await startWaiting(mode, job =>
      job.waitForEvent('payment', { timeoutSeconds: 3600, onTimeout }),
    )
    const id = await enqueue('order')
    await waits(id)
    await timeOut()
    expect(await until(id, state)).toMatchObject(expected)
  })

  test('a wait that cannot be fails the attempt for good, and says why', async () => {
    const { enqueue, until } = await startWaiting(mode, job => job.waitForEvent('payment', { filter: 'payload.' }), {
      maxAttempts: 5,
    })
    const { errors } = await until(await enqueue('order'), 'failed')
    expect(errors).toHaveLength(1)
    expect(errors[0]?.message).toContain('filter: Expected IDENTIFIER')
    if (mode === 'sync') expect(errors[0]?.code).toBe('invalid_wait')
  })

  test('of two events at once one is applied, and one kept', async () => {
    const sent = Promise.withResolvers<void>()
    const { sql, enqueue, waits, until } = await startWaiting(mode, async job => {
      const result = charge(job)
      await sent.promise
      return result
    })
    const id = await enqueue('order')
    await waits(id)
    const answers = await Promise.all([1, 2].map(n => sendEvent(sql, id, 'payment', { payload: n })))
    const states = answers.map(({ state }) => state)
    expect(states.toSorted()).toEqual(['applied', 'kept'])
    sent.resolve()
    expect((await until(id, 'completed')).result).toMatchObject({ payload: states.indexOf('applied') + 1 })
  })
})

test('an answer with Millrace-Wait in callback mode waits as well, and one that is malformed fails for good', async () => {
  const { sql, enqueue, until, declare, maintenance } = await startWaiting('callback', charge)
  const headers = { 'millrace-wait': 'true' }
  const server = await startFunctionServer(({ body }) =>
    body.attempt > 1 ? { status: 500 } : { status: 202, headers, body: (body.args as { wait: object }).wait },
  )
  await declare([
    { name: 'plain', target: { url: server.url, mode: 'callback' }, maxAttempts: 1 },
    { name: 'plain_sync', target: { url: server.url, mode: 'sync' }, maxAttempts: 1 },
  ])
  for (const kind of ['plain', 'plain_sync']) {
    const id = await enqueue(kind, { wait: { name: 'approval', default_action: 'complete' } })
    await maintenance.events.first({ type: 'waiting', job: id, name: 'approval' })
    await sendEvent(sql, id, 'approval', { payload: 'yes' })
    expect(await until(id, 'completed')).toMatchObject({ result: 'yes' })
    const broken = await until(await enqueue(kind, { wait: { nam: 'approval' } }), 'failed')
    expect(broken.errors).toMatchObject([{ code: 'invalid_wait', message: expect.stringContaining('name') }])
  }
})

test('sync mode: a dispatcher that cannot reach the database does not forget the wait', async () => {
  let left = 3
  const wrap = (sql: Sql): Sql => ({
    query: async (text, params) => {
      if (text.includes('.wait(') && left-- > 0) throw new Error('the database is away')
      return sql.query(text, params)
    },
  })
  const { sql, enqueue, waits, until, maintenance } = await startWaiting('sync', charge, {}, { wrap })
  const id = await enqueue('order')
  await waits(id)
  expect(maintenance.events.of({ type: 'error', during: 'wait' })).toHaveLength(3)
  await sendEvent(sql, id, 'payment')
  expect(await until(id, 'completed')).toMatchObject({ attempt: 2, result: { payload: null } })
})

test('without an ingress there are no URLs for events, but waits and events by name as ever', async () => {
  const { sql, enqueue, waits, until } = await startWaiting(
    'sync',
    job => {
      expect(() => job.eventUrl('payment')).toThrow(expect.objectContaining({ code: 'invalid_configuration' }))
      return charge(job)
    },
    {},
    { callbackUrl: undefined },
  )
  const id = await enqueue('order')
  await waits(id)
  await sendEvent(sql, id, 'payment', { payload: 1 })
  expect(await until(id, 'completed')).toMatchObject({ result: { payload: 1 } })
})

test('a function is told at which URL events come in, and with which key their tokens are made', async () => {
  const { enqueue, declare, ingress } = await startWaiting('sync', charge)
  const server = await startFunctionServer()
  await declare([{ name: 'plain', target: { url: server.url, mode: 'sync' } }])
  const id = await enqueue('plain')
  const { body, headers } = await server.received.first(() => true)
  expect(body).toMatchObject({ events_url: `${ingress}/api/events` })
  expect(headers['millrace-event-key']).toBe(eventKey(keyring.keys[0], id))
})
