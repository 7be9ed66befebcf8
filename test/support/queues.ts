// Queues with limits, and what is open in them.

import type { Client, EngineDatabase } from './engine-database.ts'

export interface QueueRow {
  readonly weight?: number
  readonly shards?: number
  readonly max_running?: number | null
  readonly rate?: number | null
  readonly burst?: number | null
  readonly key_rate?: number | null
  readonly key_burst?: number | null
}

/** Declares a queue, or changes what is declared of it. */
export async function setQueue(sql: Client, name: string, row: QueueRow): Promise<void> {
  const names = Object.keys(row)
  await sql.unsafe(
    `insert into millrace.queue (name, ${names.join(', ')}) values ($1, ${names.map((_, n) => `$${n + 2}`).join(', ')})
     on conflict (name) do update set ${names.map(column => `${column} = excluded.${column}`).join(', ')}`,
    [name, ...Object.values(row)],
  )
}

/** How many attempts of a queue are claimed and have no end, counted by reading everything. */
export async function openIn(sql: Client, queue: string): Promise<number> {
  const [row] = await sql<{ n: number }[]>`
    select count(distinct (j.id, j.attempt))::int as n
    from millrace.claim_log c
    cross join lateral unnest(c.ids, c.attempts) u(id, attempt)
    join millrace.job_log j on j.slot = c.slot and j.id = u.id and j.attempt = u.attempt
    join millrace.lane l on l.id = j.lane and l.queue = ${queue}
    where not exists (select from millrace.outcome_log o where o.id = u.id and o.attempt = u.attempt)`
  return row?.n ?? 0
}

/** Lets a queue's bucket fill for some seconds, as if its last claims had been that long ago. */
export async function wait({ sql }: EngineDatabase, seconds: number): Promise<void> {
  await sql`update millrace.limit_log set at = at - make_interval(secs => ${seconds})`
}

/** The same for the keys of queues with a key rate. */
export async function waitForKeys({ sql }: EngineDatabase, seconds: number): Promise<void> {
  await sql`
    update millrace.rate_bucket
    set free_at = free_at - make_interval(secs => ${seconds}), next_at = next_at - make_interval(secs => ${seconds})`
}

/** Seals the first segment and empties it: what is open in it is carried. */
export async function prune({ sql }: EngineDatabase): Promise<void> {
  await sql`insert into millrace.segment (number) values (1)`
  await sql`update millrace.setting set value = 0 where name like '%retention_seconds'`
  // Prune carries what is unclaimed, too, should it ever be called too early.
  await sql`update millrace.segment set drained = number = 0`
  const rows = await sql`select millrace.prune() ->> 'segment' as segment`
  await sql`
    update millrace.setting set value = case name when 'retention_seconds' then 86400 when 'failed_retention_seconds' then 259200 else 2592000 end
    where name like '%retention_seconds'`
  if (rows[0]?.segment !== '0') throw new Error('Nothing was pruned')
}
