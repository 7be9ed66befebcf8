// Somebody with admin rights and no plan: cancels, retries, moves, pauses and resumes at random.

import { OPEN } from './ledger.ts'
import { pause } from './monkey.ts'
import type { Random } from './random.ts'
import { type Session, withSession } from './session.ts'

const SOME_OPEN = `select id ${OPEN} and kind not like 'millrace.%' order by random() limit $1::int`
const SOME_ENDED = `select distinct id from (
  select id from chaos.outcome where state in ('f', 'x') order by random() limit $1::int) o`

interface Deed {
  readonly weight: number
  /** The engine's function that it needs. */
  readonly verb: string
  readonly text: string
}

const DEEDS: Readonly<Record<string, Deed>> = {
  cancels: {
    weight: 5,
    verb: 'cancel',
    text: `insert into chaos.cancelled select id from millrace.cancel(array(${SOME_OPEN})) where cancelled`,
  },
  retries: {
    weight: 3,
    verb: 'retry',
    // One that waited for its retry anyway begins no new life.
    text: `insert into chaos.retried select id from millrace.retry(array(${SOME_ENDED})) where retried and state = 'available'`,
  },
  moves: {
    weight: 2,
    verb: 'move',
    text: `select millrace.move(array(${SOME_OPEN}), 'queue_' || (random() * 2)::int, 1 + (random() * 3)::int)`,
  },
  pauses: { weight: 1, verb: 'pause_queue', text: `select millrace.pause_queue('queue_' || $1::int % 3)` },
  resumes: {
    weight: 2,
    verb: 'resume_queue',
    // All of them: segments in which jobs wait to be claimed are not pruned.
    text: 'select millrace.resume_queue(name) from millrace.queue where paused_at is not null and $1::int > 0',
  },
  endpointsDisabled: {
    weight: 0.5,
    verb: 'endpoint_disable',
    text: `select millrace.endpoint_disable('b off') where $1::int > 0`,
  },
  endpointsEnabled: {
    weight: 0.5,
    verb: 'endpoint_enable',
    text: 'select millrace.endpoint_enable(name) from millrace.endpoint where disabled_at is not null and $1::int > 0',
  },
  redeliveries: {
    weight: 0.7,
    verb: 'redeliver_many',
    // Now and then of what has got through, too.
    text: `select millrace.redeliver_many(name, now() - interval '5 seconds', only_failed => $1::int > 1)
      from millrace.endpoint where disabled_at is null`,
  },
}

/** Until `until` says so; in the end nothing is paused. */
export async function operate(url: string, random: Random, events: Record<string, number>, until: AbortSignal) {
  const weights = await withSession(url, known)
  while (!until.aborted) {
    await withSession(url, async session => {
      while (!until.aborted) {
        await pause(random.int(100, 500), until)
        const deed = random.weighted(weights)
        const did = await transaction(session, DEEDS[deed]?.text ?? '', random)
        events[deed] = (events[deed] ?? 0) + did
      }
    }).catch(() => undefined)
    await pause(100, until)
  }
}

/** Answers how many rows it was about; none when it was rolled back. */
async function transaction(session: Session, text: string, random: Random): Promise<number> {
  await session.query('begin')
  const { rowCount } = await session.query(text, [random.int(1, 6)])
  const keep = random.chance(0.8)
  await session.query(keep ? 'commit' : 'rollback')
  return keep ? (rowCount ?? 0) : 0
}

/** Lets everything go on, and ends what would never end by itself. */
export const resumeAll = (url: string, schedule: string): Promise<void> =>
  withSession(url, async session => {
    if (await knows(session, 'resume_queue'))
      await session.query('select millrace.resume_queue(name) from millrace.queue where paused_at is not null')
    await session.query('select millrace.pause_schedule($1)', [schedule])
  })

const knows = async (session: Session, verb: string): Promise<boolean> => {
  const { rows } = await session.query<{ known: boolean }>('select to_regproc($1) is not null as known', [
    `millrace.${verb}`,
  ])
  return rows[0]?.known ?? false
}

/** The weights of the deeds that this version of the engine has. */
async function known(session: Session): Promise<Record<string, number>> {
  const weights: Record<string, number> = {}
  for (const [name, { verb, weight }] of Object.entries(DEEDS)) if (await knows(session, verb)) weights[name] = weight
  return weights
}
