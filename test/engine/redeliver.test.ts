// Deliveries sent once more, alone and in bulk, under the id they had.

import { admin } from 'millrace/admin'
import { describe, expect, it } from 'vitest'
import type { Outcome } from '../../core/engine.ts'
import type { ClaimedJob } from '../../core/engine-rows.ts'
import { claimAll, only, ref, running, useEngine } from '../support/engine-database.ts'

const database = useEngine()

const endpoints = () => admin(database.sql).endpoints
const deliveries = () => admin(database.sql).deliveries
const completed: Outcome = { kind: 'completed' }
const fatal: Outcome = { kind: 'failed', error: { code: 'http_500', message: 'no' }, retryable: false }

/** Claims all there is and closes it. */
async function deliverAll(outcome: Outcome): Promise<ClaimedJob[]> {
  const jobs = await claimAll(database)
  await database.engine.deliver(
    jobs.map(job => {
      const { endpoint, event, message = `msg_${job.id}` } = JSON.parse(job.args)
      const status = outcome.kind === 'completed' ? 204 : 500
      return { ...ref(job), outcome, report: { endpoint, message, event: event.type, latency_ms: 1, status } }
    }),
  )
  return jobs
}

async function delivered(outcome: Outcome, endpoint = 'shop'): Promise<ClaimedJob> {
  await endpoints().test(endpoint)
  return only(await deliverAll(outcome))
}

const create = (name = 'shop') => endpoints().create({ name, url: 'https://shop.example/hooks' })

describe('one delivery', () => {
  it('that failed goes on as the same job, with all of its attempts before it', async () => {
    await create()
    const job = await delivered(fatal)
    expect(await deliveries().redeliver(job.id)).toEqual({ id: Number(job.id), problem: null })
    const again = only(await claimAll(database))
    expect(again).toMatchObject({ id: job.id, attempt: 2, max_attempts: 1 + 12, args: job.args })
    expect(await database.sql`select from millrace.dead_letter`).toHaveLength(0)
  })

  it('that has got through becomes a new job, with the message of the first, also the third time', async () => {
    await create()
    const first = await delivered(completed)
    const { id } = await deliveries().redeliver(first.id)
    const second = only(await deliverAll(completed))
    expect(second.id).toBe(String(id))
    expect(JSON.parse(second.args)).toEqual({ ...JSON.parse(first.args), message: `msg_${first.id}` })
    await deliveries().redeliver(second.id)
    expect(JSON.parse(only(await claimAll(database)).args).message).toBe(`msg_${first.id}`)
  })

  it('that waits for its retry goes now', async () => {
    await create()
    await endpoints().test('shop')
    await database.sql`update millrace.job_log set max_attempts = 5`
    const job = only(await deliverAll({ ...fatal, retryable: true, delayMs: 60_000 } as Outcome))
    expect(await deliveries().redeliver(job.id)).toEqual({ id: Number(job.id), problem: null })
    await database.engine.promote(10)
    expect(only(await claimAll(database))).toMatchObject({ id: job.id, attempt: 2 })
  })

  it('is tried again over four days', async () => {
    const waits = await database.sql<{ seconds: number }[]>`
      select extract(epoch from millrace.backoff(millrace.webhook_retries() || '{"jitter": 0}', n))::int as seconds from generate_series(1, 11) n`
    expect(waits.map(({ seconds }) => seconds)).toEqual([
      5, 60, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400, 86400,
    ])
    expect(waits.reduce((sum, { seconds }) => sum + seconds, 0) / 86400).toBeGreaterThan(4)
  })

  it('is refused where it cannot be sent', async () => {
    await create()
    const [first, second] = [await delivered(fatal), await delivered(completed)]
    await endpoints().test('shop')
    const underWay = only(await claimAll(database))
    expect(await deliveries().redeliver(underWay.id)).toEqual({ id: null, problem: 'not_retryable' })
    expect(await deliveries().redeliver(999_999)).toEqual({ id: null, problem: 'not_found' })
    const [row] = await database.sql`select millrace.enqueue('resize') as id`
    expect(await deliveries().redeliver(row?.id)).toEqual({ id: null, problem: 'not_found' })
    await endpoints().disable('shop')
    expect(await deliveries().redeliver(first.id)).toEqual({ id: null, problem: 'endpoint_disabled' })
    await endpoints().delete('shop')
    expect(await deliveries().redeliver(second.id)).toEqual({ id: null, problem: 'no_endpoint' })
  })

  it('is nothing for an endpoint that took over the name of another tenant', async () => {
    await endpoints().create({ name: 'shop', url: 'https://shop.example/hooks', tenant: 'acme' })
    const job = await running(database, { metadata: { tenant: 'acme' } })
    await database.engine.close([{ ...ref(job), outcome: completed }])
    const delivery = only(await deliverAll(fatal))
    expect(await deliveries().redeliver(delivery.id, { tenant: 'other' })).toMatchObject({ problem: 'not_found' })
    await endpoints().delete('shop')
    await endpoints().create({ name: 'shop', url: 'https://other.example/hooks', tenant: 'other' })
    expect(await deliveries().redeliver(delivery.id)).toMatchObject({ id: null, problem: 'no_endpoint' })
    expect(await deliveries().redeliverMany('shop')).toEqual({ redelivered: 0, refused: 0 })
    expect((await deliveries().list({ tenant: 'other' })).items).toEqual([])
    expect(await endpoints().get('shop')).toMatchObject({ last_failure_at: null })
    await endpoints().update('shop', { tenant: 'acme' })
    expect(await deliveries().redeliver(delivery.id, { tenant: 'acme' })).toEqual({
      id: Number(delivery.id),
      problem: null,
    })
  })
})

describe('in bulk', () => {
  /** Three that failed and two that got through, and one of another endpoint. */
  async function history() {
    await create()
    await create('other')
    await delivered(fatal, 'other')
    const jobs: ClaimedJob[] = []
    for (const outcome of [fatal, completed, fatal, completed, fatal]) jobs.push(await delivered(outcome))
    return jobs.map(({ id }) => id)
  }
  const waiting = async () => (await claimAll(database)).map(({ id, args }) => JSON.parse(args).message ?? `msg_${id}`)

  it('goes what failed at an endpoint, once', async () => {
    const [first, , third, , fifth] = await history()
    expect(await deliveries().redeliverMany('shop')).toEqual({ redelivered: 3, refused: 0 })
    expect(await deliveries().redeliverMany('shop')).toEqual({ redelivered: 0, refused: 0 })
    expect(await waiting()).toEqual([first, third, fifth].map(id => `msg_${id}`))
  })

  it('may be everything, each event once, also where it was sent again before', async () => {
    const ids = await history()
    await deliveries().redeliver(ids[1] as string)
    await deliveries().redeliver(ids[0] as string)
    await deliverAll(completed)
    expect(await deliveries().redeliverMany('shop', { onlyFailed: false })).toMatchObject({ refused: 0 })
    expect((await waiting()).toSorted()).toEqual(ids.map(id => `msg_${id}`).toSorted())
  })

  it('goes what is of a time', async () => {
    const ids = await history()
    const at = async (id = '') => (await deliveries().list({ job: id })).items[0]?.at
    const [since, until] = [await at(ids[1]), await at(ids[3])]
    expect(await deliveries().redeliverMany('shop', { since, until })).toEqual({ redelivered: 1, refused: 0 })
    expect(await waiting()).toEqual([`msg_${ids[2]}`])
  })

  it('goes a bounded chunk at a time; what it sends again is not sent once more', async () => {
    await history()
    const chunk = async (cursor: string | null) => {
      const [row] =
        await database.sql`select millrace.redeliver_many('shop', only_failed => false, cursor => ${cursor}, max_deliveries => 2) as done`
      await deliverAll(completed)
      return row?.done as { redelivered: number; cursor: string | null }
    }
    const counts: number[] = []
    for (let cursor: string | null = null, more = true; more; more = cursor !== null) {
      const done = await chunk(cursor)
      counts.push(done.redelivered)
      cursor = done.cursor
    }
    expect(counts).toEqual([2, 2, 1])
  })

  it('refuses nothing silently', async () => {
    await history()
    await endpoints().disable('shop')
    expect(await deliveries().redeliverMany('shop')).toEqual({ redelivered: 0, refused: 3 })
  })
})
