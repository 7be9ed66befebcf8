// Enqueues as applications do: in transactions with rows of their own, some rolled back, some slow, some broken off.

import { setTimeout as wait } from 'node:timers/promises'
import { TENANTS } from './endpoints.ts'
import { ENQUEUED } from './manifest.ts'
import { pause } from './monkey.ts'
import type { Random } from './random.ts'
import { type Session, withSession } from './session.ts'

/** What producers know of the jobs they asked for, by token. What is in none of the sets may be committed or not. */
export interface Production {
  /** The commit was confirmed. */
  readonly confirmed: Set<number>
  /** The transaction, or the savepoint, was rolled back. */
  readonly withdrawn: Set<number>
  /** Transactions that a broken connection ended. */
  broken: number
}

export const newProduction = (): Production => ({ confirmed: new Set(), withdrawn: new Set(), broken: 0 })

const ENQUEUE = `insert into chaos.enqueued (token, job, kind)
  select (job -> 'args' ->> 'token')::bigint, e.id, job ->> 'kind'
  from millrace.enqueue_many($1::text::jsonb) with ordinality e(id, nth)
  join jsonb_array_elements($1::text::jsonb) with ordinality j(job, nth) using (nth)`

const ENDS = { commit: 80, rollback: 8, 'roll back a part': 6, 'slow commit': 4, 'break off': 2 } as const

/** One of several producers, with a connection of its own, until `until` says so. */
export async function produce(url: string, nth: number, random: Random, production: Production, until: AbortSignal) {
  let count = 0
  const jobs = () =>
    Array.from({ length: random.chance(0.6) ? 1 : random.int(2, 12) }, () => job(random, nth + 10 * ++count))
  while (!until.aborted) {
    await withSession(url, async session => {
      while (!until.aborted) {
        await transaction(session, random, jobs, production)
        await pause(random.int(20, 160), until)
      }
    }).catch(() => {
      production.broken++
    })
    await pause(100, until)
  }
}

async function transaction(session: Session, random: Random, jobs: () => Job[], production: Production): Promise<void> {
  const kept = jobs()
  const end = random.weighted(ENDS)
  await session.query('begin')
  await enqueue(session, kept)
  if (end === 'roll back a part') await dropPart(session, jobs(), production)
  if (end === 'slow commit') await wait(random.int(500, 3_000))
  if (end === 'break off') await session.query('select pg_terminate_backend(pg_backend_pid())')
  if (end === 'rollback') {
    for (const { args } of kept) production.withdrawn.add(args.token)
    await session.query('rollback')
    return
  }
  await session.query('commit')
  for (const { args } of kept) production.confirmed.add(args.token)
}

/** Enqueues in a savepoint that is rolled back. */
async function dropPart(session: Session, jobs: Job[], production: Production): Promise<void> {
  for (const { args } of jobs) production.withdrawn.add(args.token)
  await session.query('savepoint part')
  await enqueue(session, jobs)
  await session.query('rollback to savepoint part')
}

const enqueue = (session: Session, jobs: Job[]) => session.query(ENQUEUE, [JSON.stringify(jobs)])

interface Job {
  readonly kind: string
  readonly args: { readonly token: number }
  readonly metadata?: { readonly tenant: string }
  readonly queue?: string
  readonly priority?: number
  readonly delay_seconds?: number
  readonly unique_key?: string
  readonly unique_states?: readonly string[]
  readonly unique_for_seconds?: number
  readonly on_conflict?: 'existing' | 'replace'
}

const job = (random: Random, token: number): Job => ({
  kind: random.weighted(ENQUEUED),
  args: { token },
  ...(random.chance(0.2) && { metadata: { tenant: random.pick(TENANTS) } }),
  ...(random.chance(0.2) && { queue: random.pick(['queue_0', 'queue_1', 'queue_2']) }),
  ...(random.chance(0.3) && { priority: random.int(1, 4) }),
  ...(random.chance(0.15) && { delay_seconds: random.int(1, 30) / 10 }),
  ...(random.chance(0.15) && unique(random)),
})

const LIVE = ['scheduled', 'available', 'running', 'retryable', 'waiting_external']

/** Exclusive keys are held by at most one job that has not ended, which the audit checks. */
export const EXCLUSIVE = 'exclusive '

function unique(random: Random): Partial<Job> {
  const nth = random.int(0, 5)
  const sort = random.weighted({ exclusive: 2, debounced: 1, throttled: 1 })
  if (sort === 'exclusive') return { unique_key: EXCLUSIVE + nth, unique_states: LIVE }
  if (sort === 'throttled') return { unique_key: `throttled ${nth}`, unique_for_seconds: 2 }
  return { unique_key: `debounced ${nth}`, on_conflict: 'replace', delay_seconds: random.int(0, 10) / 10 }
}
