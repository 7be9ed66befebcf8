// What closing a delivery does besides: the log, and the health of its endpoint, in one transaction.

import { toSql } from 'millrace'
import { admin, type DeliveryFilter } from 'millrace/admin'
import { describe, expect, it } from 'vitest'
import type { Delivered, DeliverItem } from '../../core/delivery-report.ts'
import type { Outcome } from '../../core/engine.ts'
import type { ClaimedJob } from '../../core/engine-rows.ts'
import { MaintenanceEngine } from '../../core/maintenance-engine.ts'
import { claimAll, only, ref, useEngine } from '../support/engine-database.ts'

const database = useEngine()
const url = 'https://shop.example/hooks'

const endpoints = () => admin(database.sql).endpoints
const deliveries = () => admin(database.sql).deliveries
const failed: Outcome = { kind: 'failed', error: { code: 'http_500', message: 'no' }, retryable: true, delayMs: 0 }
const fatal: Outcome = { ...failed, retryable: false }

/** A delivery that is claimed; at its first attempt, which is its last. */
const delivery = async (endpoint = 'shop'): Promise<ClaimedJob> => {
  await endpoints().test(endpoint)
  return only(await claimAll(database))
}

const item = (job: ClaimedJob, outcome: Outcome, report: Partial<DeliverItem['report']> = {}): DeliverItem => {
  const { endpoint, event, message = `msg_${job.id}` } = JSON.parse(job.args)
  const sent = outcome.kind === 'completed' ? { status: 204 } : { status: 500, response: 'no' }
  return { ...ref(job), outcome, report: { endpoint, message, event: event.type, latency_ms: 12, ...sent, ...report } }
}

const deliver = async (...items: DeliverItem[]): Promise<Delivered[]> => database.engine.deliver(items)
const health = async (name = 'shop') => {
  const { state, failing_since, disabled_reason } = (await endpoints().get(name)) ?? {}
  return { state, failing: typeof failing_since === 'string', disabled_reason }
}
/** As if nothing had got through for that long. */
const failingFor = (seconds: number) =>
  database.sql`update millrace.endpoint set failing_since = failing_since - make_interval(secs => ${seconds})`

describe('the log', () => {
  it('has a row for each attempt, with what went out and what came back', async () => {
    await endpoints().create({ name: 'shop', url })
    const job = await delivery()
    expect(await deliver(item(job, { kind: 'completed' }, { about: 42, response: 'thanks' }))).toEqual([
      { state: 'completed', fresh: true },
    ])
    const { items } = await deliveries().list({})
    expect(items).toEqual([
      {
        ...{ id: expect.any(Number), at: expect.any(String), job: Number(job.id), attempt: 1, endpoint: 'shop' },
        ...{ message: `msg_${job.id}`, event: 'webhook.test', about: 42, state: 'delivered', status: 204, code: null },
        ...{ latency_ms: 12, response: 'thanks' },
      },
    ])
    expect(await endpoints().get('shop')).toMatchObject({ last_success_at: items[0]?.at, last_failure_at: null })
  })

  it('has no second row when a call is repeated, and one when somebody else was quicker', async () => {
    await endpoints().create({ name: 'shop', url })
    const job = await delivery()
    await deliver(item(job, failed))
    expect(await deliver(item(job, failed))).toEqual([expect.objectContaining({ fresh: false })])
    expect((await deliveries().list({})).items).toHaveLength(1)

    const other = await delivery()
    await database.sql`select from millrace.cancel(array[${other.id}::bigint])`
    await deliver(item(other, failed))
    expect((await deliveries().list({ job: other.id })).items).toMatchObject([{ state: 'cancelled', status: 500 }])
  })

  it('is written with the outcome, or neither is', async () => {
    await endpoints().create({ name: 'shop', url })
    const job = await delivery()
    const session = await database.connect()
    await session`begin`
    await session`select from millrace.deliver(array[${job.segment}::bigint], array[${job.id}::bigint], array[1], '{completed}', null,
      '[{"endpoint": "shop", "message": "msg_1", "event": "webhook.test", "latency_ms": 1, "status": 204}]')`
    await session`rollback`
    expect((await deliveries().list({})).items).toEqual([])
    expect(await database.engine.job(job.id)).toMatchObject({ state: 'running' })
  })

  it('leaves out what was put off unsent, until that counts as an attempt', async () => {
    await endpoints().create({ name: 'shop', url })
    const unsent = { latency_ms: undefined, status: undefined, code: 'secret_unreadable' }
    const putBack: Outcome = { kind: 'put_back', error: { code: 'secret_unreadable', message: '' }, delayMs: 0 }
    await deliver(item(await delivery(), putBack, unsent))
    expect((await deliveries().list({})).items).toEqual([])
    await database.sql`update millrace.deferred set put_back = jsonb_build_object('since', now() - interval '2 days')`
    await database.engine.promote(1)
    expect(await deliver(item(only(await claimAll(database)), putBack, unsent))).toMatchObject([{ state: 'failed' }])
    expect((await deliveries().list({})).items).toMatchObject([
      { state: 'failed', code: 'secret_unreadable', latency_ms: null },
    ])
  })

  it('has attempts whose dispatcher died, so that they are redelivered with the others', async () => {
    await endpoints().create({ name: 'shop', url })
    const job = await delivery()
    await database.sql`update millrace.runtime set lost_at = now() - interval '1 second'`
    expect(await database.engine.rescue(10)).toMatchObject({ lost: 1 })
    expect((await deliveries().list({})).items).toMatchObject([
      { job: Number(job.id), state: 'failed', code: 'dispatcher_lost', event: 'webhook.test', latency_ms: null },
    ])
    expect(await deliveries().redeliverMany('shop')).toEqual({ redelivered: 1, refused: 0 })
  })

  it('cuts an answer off', async () => {
    await endpoints().create({ name: 'shop', url })
    await deliver(item(await delivery(), failed, { response: 'x'.repeat(1_500) }))
    expect((await deliveries().list({})).items[0]?.response).toHaveLength(1_000)
  })

  it('is read newest first, a page at a time, whatever is asked for', async () => {
    await endpoints().create({ name: 'shop', url, tenant: 'acme' })
    await endpoints().create({ name: 'other', url })
    const jobs: ClaimedJob[] = []
    for (const [n, name] of ['shop', 'other', 'shop', 'shop'].entries()) {
      const job = await delivery(name)
      jobs.push(job)
      await deliver(item(job, n === 3 ? fatal : { kind: 'completed' }, { about: 100 + n }))
    }
    const ids = jobs.map(({ id }) => Number(id))
    const found = async (filter: DeliveryFilter): Promise<(number | undefined)[]> => {
      const all: number[] = []
      for (let cursor: string | null | undefined; cursor !== null; ) {
        const page = await deliveries().list(filter, { limit: 1, cursor })
        all.push(...page.items.map(({ job }) => job))
        cursor = page.cursor
      }
      return all.map(job => ids.indexOf(job))
    }
    expect(await found({})).toEqual([3, 2, 1, 0])
    expect(await found({ endpoint: 'shop' })).toEqual([3, 2, 0])
    expect(await found({ endpoint: 'shop', state: 'delivered' })).toEqual([2, 0])
    expect(await found({ state: 'failed' })).toEqual([3])
    expect(await found({ tenant: 'acme' })).toEqual([3, 2, 0])
    expect(await found({ job: ids[1] as number })).toEqual([1])
    expect(await found({ job: ids[1] as number, endpoint: 'shop' })).toEqual([])
    expect(await found({ about: 102 })).toEqual([2])
    const at = (await deliveries().list({ job: ids[1] as number })).items[0]?.at as string
    expect(await found({ since: at })).toEqual([3, 2, 1])
    expect(await found({ until: at })).toEqual([0])
    expect(await found({ endpoint: 'shop', since: at, until: '2999-01-01' })).toEqual([3, 2])
  })

  it.each([{ state: 'lost' }, { since: 'whenever' }, { jobb: 1 }, { job: 'x' }])('is not read by %j', async filter => {
    await expect(deliveries().list(filter as never)).rejects.toMatchObject({ code: 'invalid_request' })
  })

  it('forgets what is over, and secrets that sign no more', async () => {
    await endpoints().create({ name: 'shop', url })
    await endpoints().rotate('shop', { graceSeconds: 1 })
    await deliver(item(await delivery(), { kind: 'completed' }))
    await deliver(item(await delivery(), { kind: 'completed' }))
    const oldest = (await deliveries().list({})).items[1]
    await database.sql`update millrace.delivery set at = at - interval '31 days' where id = ${oldest?.id ?? 0}`
    await database.sql`update millrace.endpoint_secret set expires_at = now() where expires_at is not null`
    const [lead] = await database.sql`select millrace.lead('maintenance', 'test', 60) as epoch`
    await new MaintenanceEngine(toSql(database.sql)).expire(String(lead?.epoch), 1)
    expect((await deliveries().list({})).items).toHaveLength(1)
    expect(await database.sql`select from millrace.endpoint_secret`).toHaveLength(1)
  })
})

describe('an endpoint', () => {
  it('fails from the first failure until something gets through', async () => {
    await endpoints().create({ name: 'shop', url })
    await deliver(item(await delivery(), failed))
    expect(await health()).toEqual({ state: 'failing', failing: true, disabled_reason: null })
    expect((await endpoints().list({ state: 'failing' })).items).toHaveLength(1)
    await deliver(item(await delivery(), { kind: 'completed' }))
    expect(await health()).toEqual({ state: 'enabled', failing: false, disabled_reason: null })
  })

  it('is not written to while it fares as before', async () => {
    await endpoints().create({ name: 'shop', url })
    const version = async () => (await database.sql`select xmin::text as v from millrace.endpoint`)[0]?.v
    const healthy = await version()
    await deliver(item(await delivery(), { kind: 'completed' }))
    expect(await version()).toBe(healthy)
    await deliver(item(await delivery(), failed))
    const failing = await version()
    expect(failing).not.toBe(healthy)
    await deliver(item(await delivery(), failed))
    expect(await version()).toBe(failing)
  })

  it('is disabled at the next failure once nothing has got through for days', async () => {
    await endpoints().create({ name: 'shop', url })
    await deliver(item(await delivery(), failed))
    await failingFor(431_990)
    expect(await deliver(item(await delivery(), failed))).toEqual([
      expect.not.objectContaining({ disabled: 'failing' }),
    ])
    await failingFor(10)
    expect(await deliver(item(await delivery(), failed))).toEqual([expect.objectContaining({ disabled: 'failing' })])
    expect(await health()).toEqual({ state: 'disabled', failing: true, disabled_reason: 'failing' })
    expect(await endpoints().enable('shop')).toMatchObject({ state: 'enabled', failing_since: null })
  })

  it('is not disabled by a batch in which something got through', async () => {
    await endpoints().create({ name: 'shop', url })
    await deliver(item(await delivery(), failed))
    await failingFor(500_000)
    const [one, two] = [await delivery(), await delivery()]
    await deliver(item(one, failed), item(two, { kind: 'completed' }))
    expect(await health()).toMatchObject({ state: 'enabled', failing: false })
  })

  it('is disabled by a 410, which is told once', async () => {
    await endpoints().create({ name: 'shop', url })
    const [one, two] = [await delivery(), await delivery()]
    const gone = { status: 410 }
    expect(await deliver(item(one, fatal, gone))).toEqual([
      expect.objectContaining({ state: 'failed', disabled: 'gone' }),
    ])
    expect(await deliver(item(two, fatal, gone))).toEqual([expect.not.objectContaining({ disabled: 'gone' })])
    expect(await health()).toMatchObject({ state: 'disabled', disabled_reason: 'gone' })
  })

  it('is not the worse for what was not sent, nor for what was put back', async () => {
    await endpoints().create({ name: 'shop', url })
    const [one, two] = [await delivery(), await delivery()]
    await deliver(item(one, fatal, { latency_ms: undefined, status: undefined, code: 'endpoint_disabled' }))
    await deliver(
      item(two, { kind: 'put_back', error: { code: 'http_429', message: '' }, delayMs: 0 }, { status: 429 }),
    )
    expect(await health()).toMatchObject({ state: 'enabled' })
    expect((await deliveries().list({})).items.map(({ state }) => state)).toEqual(['put_back', 'failed'])
  })

  it('that an operator has disabled stays so', async () => {
    await endpoints().create({ name: 'shop', url })
    const [one, two] = [await delivery(), await delivery()]
    await endpoints().disable('shop')
    await deliver(item(one, fatal, { status: 410 }), item(two, { kind: 'completed' }))
    expect(await health()).toMatchObject({ disabled_reason: 'operator' })
  })

  it('may be gone when its delivery is closed', async () => {
    await endpoints().create({ name: 'shop', url })
    const job = await delivery()
    await endpoints().delete('shop')
    expect(await deliver(item(job, { kind: 'completed' }))).toEqual([{ state: 'completed', fresh: true }])
    expect((await deliveries().list({ endpoint: 'shop' })).items).toHaveLength(1)
  })

  it('may be minded by many dispatchers at once', async () => {
    const names = ['a', 'b', 'c', 'd']
    for (const name of names) await endpoints().create({ name, url })
    const jobs = await Promise.all(names.flatMap(name => Array.from({ length: 10 }, () => endpoints().test(name))))
    const claimed = await claimAll(database)
    expect(claimed).toHaveLength(jobs.length)
    const batches = claimed.map((_, n) =>
      claimed.slice(n, n + 4).map(one => item(one, n % 2 === 0 ? failed : { kind: 'completed' })),
    )
    const closed = (await Promise.all(batches.map(batch => database.engine.deliver(batch)))).flat()
    expect(closed.filter(({ fresh }) => fresh)).toHaveLength(claimed.length)
    const [row] = await database.sql`select count(*)::int as rows from millrace.delivery`
    expect(row).toEqual({ rows: claimed.length })
  })
})
