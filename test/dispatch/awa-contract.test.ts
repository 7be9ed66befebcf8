// Functions written to the contract of Awa's HTTP worker and to nothing else run unchanged, in sync and callback mode.

import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { toSql } from 'millrace'
import type { CallbackEvent } from 'millrace/callbacks'
import { expect, onTestFinished, test } from 'vitest'
import { useDatabase } from '../support/database.ts'
import { type Behaviour, callBack, startFunctionServer } from '../support/function-server.ts'
import { startIngress } from '../support/ingress.ts'
import { workOn } from '../support/maintenance.ts'
import { Recorder } from '../support/maintenance-recorder.ts'

const shared = useDatabase()

/** A function in callback mode, its dispatcher and its ingress, and one job that is on its way. */
async function oneJob(behaviour: Behaviour, { args = { n: 21 }, mode = 'callback' as 'callback' | 'sync' } = {}) {
  const database = workOn(shared)
  const fn = await startFunctionServer(behaviour)
  const kind = `render_${fn.url.split(':').at(-1)}`
  await database.declare([{ name: kind, target: { url: `${fn.url}/jobs`, mode } }], [], kind)
  const ingress = await startIngress(toSql(database.sql))
  const work = await database.maintain({ callbackUrl: `${ingress.url}/` })
  const id = await database.enqueue(kind, args, { max_attempts: 3 })
  return { fn, work, id, kind, ingress, job: () => database.job(id) }
}

const accepted: Behaviour = () => ({ status: 202 })

test('the dispatch is what Awa sends, and more', async () => {
  const { fn, work, id, kind, ingress } = await oneJob(accepted)
  const { body, path, headers } = await fn.received.first({})
  expect(path).toBe('/jobs')
  expect(body).toMatchObject({ job_id: Number(id), kind, args: { n: 21 }, attempt: 1, max_attempts: 3 })
  expect(body.callback_url).toBe(`${ingress.url}/api/callbacks/${body.callback_id}/complete`)
  expect(headers['content-type']).toBe('application/json')
  expect(headers['x-awa-signature']).toMatch(/^[0-9a-f]{64}$/)
  await work.events.until({ type: 'parked' })
  await callBack(await fn.received.first({}))
})

test('sync mode: no callback fields, the answer completes the job', async () => {
  const { fn, work, id, job } = await oneJob(() => ({ status: 200 }), { mode: 'sync' })
  await work.closed(id, 'completed')
  const { body, headers } = await fn.received.first({})
  expect(body).not.toHaveProperty('callback_id')
  expect(body).not.toHaveProperty('callback_url')
  expect(headers).not.toHaveProperty('x-awa-signature')
  expect(await job()).toMatchObject({ state: 'completed', attempt: 1 })
})

test('202, then complete, hours later for all that anybody knows', async () => {
  const { fn, work, job } = await oneJob(accepted)
  await work.events.until({ type: 'parked' })
  expect(await job()).toMatchObject({ state: 'waiting_external' })
  // The bearer header carries no time, so no age makes it stale; only the attempt's own deadline counts.
  const answer = await callBack(await fn.received.first({}), 'complete', { payload: { pages: 2 } })
  expect(answer).toEqual({ status: 200, body: { id: expect.any(String), state: 'completed' } })
  expect(await job()).toMatchObject({ state: 'completed', result: { pages: 2 } })
})

test('the callback may come before the 202', async () => {
  const { work, job } = await oneJob(async received => {
    expect(await callBack(received, 'complete', { payload: 'quick' })).toMatchObject({ status: 200 })
    return { status: 202 }
  })
  await work.events.until({ type: 'parked' })
  expect(await job()).toMatchObject({ state: 'completed', result: 'quick', attempt: 1 })
})

test('and even when the function then fails to answer, the job is done', async () => {
  const { work, job } = await oneJob(async received => {
    await callBack(received, 'complete', { payload: 'quick' })
    return { status: 500 }
  })
  const [closed] = await work.events.until({ type: 'closed' })
  expect(closed).toMatchObject({ state: 'completed', fresh: false })
  expect(await job()).toMatchObject({ state: 'completed', result: 'quick', attempt: 1, errors: [] })
})

test('fail is found from the callback id, and final as in Awa', async () => {
  const { fn, work, job } = await oneJob(accepted)
  await work.events.until({ type: 'parked' })
  const answer = await callBack(await fn.received.first({}), 'fail', { error: 'no paper' })
  expect(answer).toMatchObject({ status: 200, body: { state: 'failed' } })
  expect(await job()).toMatchObject({
    state: 'failed',
    attempt: 1,
    errors: [{ code: 'reported', message: 'no paper' }],
  })
})

test('a heartbeat keeps an attempt alive beyond its time-out', async () => {
  const { fn, work, id, job } = await oneJob(accepted)
  await work.events.until({ type: 'parked' })
  const received = await fn.received.first({})
  const answer = await callBack(received, 'heartbeat', { timeout_seconds: 600 })
  expect(answer).toMatchObject({ status: 200, body: { state: 'waiting_external' } })
  // The first deadline passes; that of the heartbeat has not.
  await shared.sql`update millrace.park_log set deadline = now() - interval '1 second' where ids @> array[${id}::bigint]`
  const [rescued] = await shared.sql`select parked as attempts from millrace.rescue(10)`
  expect(rescued).toEqual({ attempts: 0 })
  await callBack(received)
  expect(await job()).toMatchObject({ state: 'completed', attempt: 1 })
})

test('duplicate callbacks change nothing: the same again is fine, another outcome is a conflict', async () => {
  const { fn, work, job } = await oneJob(accepted)
  await work.events.until({ type: 'parked' })
  const received = await fn.received.first({})
  const answers = await Promise.all(
    Array.from({ length: 8 }, (_, n) => callBack(received, 'complete', { payload: n }).then(({ status }) => status)),
  )
  expect(answers).toEqual(Array(8).fill(200))
  expect((await callBack(received, 'fail', { error: 'too late' })).status).toBe(409)
  const { state, result } = await job()
  expect(state).toBe('completed')
  expect((await callBack(received, 'complete', { payload: 99 })).body).toMatchObject({ state: 'completed', result })
})

test('an attempt that was given up cannot close the one that followed it', async () => {
  const { fn, work, id, job } = await oneJob(accepted)
  await work.events.until({ type: 'parked' })
  await shared.sql`update millrace.park_log set deadline = now() where ids @> array[${id}::bigint]`
  const [first, second] = await fn.received.until({}, 2)
  expect(second?.body).toMatchObject({ job_id: Number(id), attempt: 2 })
  await work.events.until({ type: 'parked', attempt: 2 })
  expect((await callBack(first as never)).status).toBe(409)
  expect((await callBack(second as never)).status).toBe(200)
  expect(await job()).toMatchObject({ state: 'completed', attempt: 2 })
})

test('the callback may come from another process than the one that was called', async () => {
  const { fn, work, job } = await oneJob(accepted)
  await work.events.until({ type: 'parked' })
  const { body, headers } = await fn.received.first({})
  const script = `fetch(process.argv[1], { method: 'POST', headers: { 'x-awa-signature': process.argv[2] } })
    .then(({ status }) => { process.exitCode = status === 200 ? 0 : 1 })`
  const child = spawn(process.execPath, ['-e', script, String(body.callback_url), String(headers['x-awa-signature'])])
  expect(await once(child, 'exit')).toEqual([0, null])
  expect(await job()).toMatchObject({ state: 'completed', result: null })
})

const hasPython = spawnSync('python3', ['-c', '']).status === 0
if (!hasPython) console.warn('python3 is not there: the function written in Python is skipped')

test.skipIf(!hasPython)('a function in Python, with its standard library only', async () => {
  const child = spawn('python3', [fileURLToPath(new URL('../support/function-server-awa.py', import.meta.url))], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const ended = once(child, 'exit')
  onTestFinished(async () => {
    child.stdin.end()
    await ended
  })
  const [port] = (await once(createInterface({ input: child.stdout }), 'line')) as [string]
  const database = workOn(shared)
  const url = `http://127.0.0.1:${port}/`
  await database.declare(
    [
      { name: 'py_sync', target: { url, mode: 'sync' } },
      { name: 'py_callback', target: { url } },
    ],
    [],
    'python',
  )
  const heard = new Recorder<CallbackEvent>()
  const ingress = await startIngress(toSql(shared.sql), { onEvent: heard.push })
  const work = await database.maintain({ callbackUrl: ingress.url })
  const ids = [
    await database.enqueue('py_sync', { n: 1 }),
    await database.enqueue('py_callback', { n: 21 }),
    await database.enqueue('py_callback', { fail: true }),
  ] as const
  await work.closed(ids[0], 'completed')
  await heard.until({ status: 200 }, 3)
  expect(await database.job(ids[1])).toMatchObject({ state: 'completed', result: { double: 42 } })
  expect(await database.job(ids[2])).toMatchObject({ state: 'failed', errors: [{ message: 'no paper' }] })
  expect(heard.all.map(({ outcome }) => outcome).toSorted()).toEqual(['completed', 'failed', 'waiting_external'])
})
