// How a job comes into each state of the table, always with one attempt behind it.

import type { Outcome } from '../../core/engine.ts'
import type { ClaimedJob } from '../../core/engine-rows.ts'
import {
  claimAll,
  close,
  completed,
  type EngineDatabase,
  enqueue,
  failed,
  fatal,
  only,
} from '../support/engine-database.ts'
import { settled } from '../support/settled.ts'

export const KEY = 'the-key'

/** A job, and the attempt that was handed out last. */
export interface Subject {
  readonly id: string
  readonly last: Pick<ClaimedJob, 'segment' | 'id' | 'attempt'>
}

type Build = (database: EngineDatabase) => Promise<Subject>

const later = 3_600_000

async function afterOne(database: EngineDatabase, outcome: Outcome, queue = 'default'): Promise<Subject> {
  const id = only(await enqueue(database.sql, 1, { queue, unique_key: KEY, max_attempts: 9 }))
  const first = only(await claimAll(database))
  await close(database, first, outcome)
  return { id, last: first }
}

const again = (): Outcome => failed('broken', later)

async function available(database: EngineDatabase, queue?: string): Promise<Subject> {
  const subject = await afterOne(database, again(), queue)
  await database.sql`update millrace.deferred set run_at = now()`
  await database.engine.promote(1)
  return subject
}

async function running(database: EngineDatabase, queue?: string): Promise<Subject> {
  const { id } = await available(database, queue)
  return { id, last: only(await claimAll(database)) }
}

async function ended(database: EngineDatabase, outcome: Outcome, queue?: string): Promise<Subject> {
  const subject = await running(database, queue)
  await close(database, subject.last as ClaimedJob, outcome)
  return subject
}

/** Opens the next segment and marks the last one as drained, if it is. */
async function seal({ sql }: EngineDatabase): Promise<void> {
  await sql`update millrace.setting set value = 0 where name = 'rotate_seconds'`
  await sql`select millrace.rotate()`
  await settled(sql)
  await sql`select millrace.survey()`
}

async function pruned(database: EngineDatabase, subject: Subject): Promise<Subject> {
  const { sql } = database
  await seal(database)
  await sql`update millrace.setting set value = 0 where name in ('retention_seconds', 'failed_retention_seconds')`
  const [row] = await sql`select millrace.prune() as pruned`
  if (row?.pruned === null) throw new Error('not pruned')
  return subject
}

const sealed =
  (build: Build): Build =>
  async database => {
    const subject = await build(database)
    await seal(database)
    return subject
  }

export const STATES: Readonly<Record<string, Build>> = {
  scheduled: sealed(database => afterOne(database, { kind: 'snoozed', delayMs: later })),
  available: sealed(available),
  running: sealed(running),
  waiting: sealed(async database => {
    const subject = await running(database)
    await database.engine.park([subject.last], 3600)
    return subject
  }),
  'for an event': sealed(async database => {
    const subject = await running(database)
    await database.engine.wait({ ...subject.last, name: 'payment', timeoutSeconds: 3600, onTimeout: 'fail' })
    return subject
  }),
  retryable: sealed(database => afterOne(database, again())),
  completed: sealed(database => ended(database, completed)),
  failed: sealed(database => ended(database, fatal)),
  'failed, no letter': sealed(async database => {
    await database.sql`insert into millrace.queue (name, dead_letters) values ('plain', false)`
    return ended(database, fatal, 'plain')
  }),
  cancelled: sealed(async database => {
    const subject = await running(database)
    await database.sql`select millrace.cancel(array[${subject.id}::text::bigint])`
    return subject
  }),
  'dead letter': async database => pruned(database, await ended(database, fatal)),
  archived: async database => {
    await database.sql`insert into millrace.queue (name, retention_seconds) values ('kept', 86400)`
    return pruned(database, await ended(database, completed, 'kept'))
  },
  unknown: async database => pruned(database, await ended(database, completed)),
}
