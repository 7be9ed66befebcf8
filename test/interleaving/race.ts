// Races: a database with the world in it, sessions, and one game after the other, each checked against the invariants.

import postgres from 'postgres'
import { afterAll, beforeAll } from 'vitest'
import { useDatabase } from '../support/database.ts'
import { PROBE } from './probe.ts'
import { type Player, play, type Told } from './schedule.ts'
import type { Sent, Verb } from './verbs.ts'
import { buildWorld, type World } from './world.ts'

/** A verb as one player plays it. */
export interface Part {
  readonly verb: Verb
  readonly end: Player['end']
  readonly isolation: 'read committed' | 'repeatable read'
}

export interface Arena {
  readonly world: World
  readonly url: string
  /** A session that is nobody else's. */
  readonly referee: postgres.Sql
  /** Back to the world. */
  restore(): Promise<void>
  /** What is wrong now, and once everything has run to its end. */
  judge(promised?: Promised): Promise<string[]>
  /** Plays one order of the parts' steps; answers what is wrong, with the schedule, or undefined. */
  game(parts: readonly Part[], order: readonly number[]): Promise<string | undefined>
}

/** What committed answers have promised, by job. */
export interface Promised {
  /** These may go on after an end. */
  readonly revived?: readonly string[]
  /** These are cancelled. */
  readonly cancelled?: readonly string[]
  /** These events were taken. */
  readonly sent?: readonly Sent[]
}

interface Session {
  readonly client: postgres.Sql
  readonly pid: number
}

/** Emptied logs keep their dead rows until the next truncation. */
const VACATE_EVERY = 50

/** So many games are judged quickly: without a rescue, and without a look at the jobs as users see them. */
const RESCUE_EVERY = 4

export function useArena(players: number, prepare?: (sql: postgres.Sql, world: World) => Promise<void>): Arena {
  const database = useDatabase()
  let world: World | undefined
  let sessions: Session[] = []
  let played = 0
  beforeAll(async () => {
    const { sql } = database
    await sql.unsafe(`alter database ${database.name} set deadlock_timeout = '100ms'`)
    await sql.unsafe(PROBE)
    world = await buildWorld(sql)
    await prepare?.(sql, world)
    await sql`select probe.save()`
    // The first one observes and restores, the second one is the referee's.
    sessions = await Promise.all(Array.from({ length: players + 2 }, () => open(database.url)))
    // For good, since every change of it makes the session forget its plans.
    await sessions[0]?.client.unsafe('set session_replication_role = replica')
  })
  afterAll(async () => {
    await Promise.all(sessions.map(({ client }) => client.end({ timeout: 1 })))
  })

  const restore = async () => {
    played += 1
    const { client } = sessions[0] as Session
    if (played % VACATE_EVERY === 0) await client.unsafe('call probe.vacate()')
    await client.unsafe('select probe.restore()')
  }
  const judge = (promised: Promised = {}, rescues = true) =>
    verdict((sessions[1] as Session).client, promised, world as World, rescues)
  const game = async (parts: readonly Part[], order: readonly number[]): Promise<string | undefined> => {
    const [observer, , ...free] = sessions as [Session, Session, ...Session[]]
    await restore()
    const log: string[] = []
    const told = await play(
      parts.map((part, n) => player(part, n, free[n] as Session, world as World)),
      order,
      observer.client,
      log,
    )
    const promised = {
      revived: promises(parts, told, verb => verb.revives),
      cancelled: promises(parts, told, verb => verb.cancels),
      sent: promises(parts, told, verb => verb.sends),
    }
    const problems = [...surprises(parts, told), ...(await judge(promised, played % RESCUE_EVERY === 0))]
    return problems.length === 0 ? undefined : report(parts, log, told, problems)
  }
  return {
    game,
    restore,
    judge,
    get referee() {
      return (sessions[1] as Session).client
    },
    get world() {
      return world as World
    },
    get url() {
      return database.url
    },
  }
}

async function open(url: string): Promise<Session> {
  const client = postgres(url, { max: 1, fetch_types: false, onnotice: () => undefined })
  const [row] = await client<{ pid: number }[]>`select pg_backend_pid() as pid`
  return { client, pid: row?.pid ?? 0 }
}

const player = ({ verb, end, isolation }: Part, n: number, session: Session, world: World): Player => ({
  ...session,
  name: `${'ABC'[n]} (${verb.name})`,
  // Also gives it a transaction id, which the cursors go by, and in repeatable read its snapshot.
  begin: `begin isolation level ${isolation}; select pg_current_xact_id()`,
  statement: verb.statement(world),
  end,
})

/** Errors that nobody has announced, answers that are wrong, and leaders' writes by somebody who was deposed before. */
const surprises = (parts: readonly Part[], told: readonly Told[]): string[] => [
  ...told.flatMap(({ error }, n) =>
    error && !announced(parts[n] as Part, error) ? [`${error.code} ${error.message}`] : [],
  ),
  ...told.flatMap(({ rows }, n) =>
    parts.length > 2 ? [] : (rows ?? []).flatMap(row => parts[n]?.verb.wrong?.(row) ?? []),
  ),
  ...told.flatMap(change => {
    if (!change.committed || change.rows?.[0]?.epoch !== '2') return []
    return told.flatMap(({ beganAt, error }, n) =>
      parts[n]?.verb.leaders && beganAt > change.endedAt && error?.constraint !== 'not_leader'
        ? [`${parts[n]?.verb.name} wrote as a deposed leader`]
        : [],
    )
  }),
]

function announced({ verb, isolation }: Part, { code, constraint = '' }: NonNullable<Told['error']>): boolean {
  const refused = isolation === 'repeatable read' ? [...verb.refused, '40001'] : verb.refused
  return refused.includes(code) || refused.includes(constraint)
}

const promises = <T>(
  parts: readonly Part[],
  told: readonly Told[],
  which: (verb: Verb) => ((row: Record<string, unknown>) => T | undefined) | undefined,
): T[] =>
  told.flatMap(({ rows, committed }, n) =>
    committed ? (rows ?? []).flatMap(row => which((parts[n] as Part).verb)?.(row) ?? []) : [],
  )

/** What the tables say, at once and after everything has run to its end. */
async function verdict(
  referee: postgres.Sql,
  { revived = [], cancelled = [], sent = [] }: Promised,
  world: World,
  rescues: boolean,
): Promise<string[]> {
  for (const [table, ids] of Object.entries({ revived, cancelled }))
    if (ids.length > 0) await referee.unsafe(`insert into probe.${table} values ${ids.map(id => `(${id})`).join(',')}`)
  if (sent.length > 0)
    await referee.unsafe(
      `insert into probe.sent values ${sent.map(({ id, payload }) => `(${id}, '${payload}')`).join(',')}`,
    )
  const now = await referee<
    { problem: string }[]
  >`select problem from (select probe.problems_now() as problem union all select probe.event_problems()) now`
  await referee.unsafe(`call probe.drain(${world.drainer}, ${rescues})`)
  const after = await referee<{ problem: string }[]>`select problem from probe.problems(${rescues}) problem`
  return [...now.map(({ problem }) => `before the drain: ${problem}`), ...after.map(({ problem }) => problem)]
}

const report = (
  parts: readonly Part[],
  log: readonly string[],
  told: readonly Told[],
  problems: readonly string[],
): string =>
  [
    parts.map(({ verb, end, isolation }) => `${verb.name} (${isolation}, ${end})`).join(' against '),
    ...log.map(line => `  ${line}`),
    ...told.map(({ rows, error }, n) => `  ${'ABC'[n]} was told ${error ? error.message : JSON.stringify(rows)}`),
    ...problems.map(problem => `  => ${problem}`),
  ].join('\n')

/** Parts, and an order of their steps. */
export interface Game {
  readonly parts: readonly Part[]
  readonly order: readonly number[]
}

/** Plays them one after the other; answers the reports of those that went wrong. */
export async function playAll(arena: Arena, games: Iterable<Game>): Promise<string[]> {
  const reports: string[] = []
  for (const { parts, order } of games) {
    const wrong = await arena.game(parts, order)
    if (wrong) reports.push(wrong)
  }
  return reports
}
