// Races: a database with the world in it, sessions, and one game after the other, each checked against the invariants.

import postgres from 'postgres'
import { afterAll, beforeAll } from 'vitest'
import { useDatabase } from '../support/database.ts'
import { PROBE } from './probe.ts'
import { type Player, play, type Told } from './schedule.ts'
import type { Verb } from './verbs.ts'
import { buildWorld, type World } from './world.ts'

/** A verb as one player plays it. */
export interface Part {
  readonly verb: Verb
  readonly end: Player['end']
  readonly isolation: 'read committed' | 'repeatable read'
}

export interface Arena {
  readonly world: World
  readonly sql: postgres.Sql
  /** Plays one order of the parts' steps; answers what is wrong, with the schedule, or undefined. */
  game(parts: readonly Part[], order: readonly number[]): Promise<string | undefined>
}

interface Session {
  readonly client: postgres.Sql
  readonly pid: number
}

/** Emptied logs keep their dead rows until the next truncation. */
const VACATE_EVERY = 50

/** So many games are judged quickly: without a rescue, and without a look at the jobs as users see them. */
const RESCUE_EVERY = 4

export function useArena(players: number, prepare?: (sql: postgres.Sql) => Promise<void>): Arena {
  const database = useDatabase()
  let world: World | undefined
  let sessions: Session[] = []
  let played = 0
  beforeAll(async () => {
    const { sql } = database
    await sql.unsafe(`alter database ${database.name} set deadlock_timeout = '100ms'`)
    await sql.unsafe(PROBE)
    world = await buildWorld(sql)
    await prepare?.(sql)
    await sql`select probe.save()`
    // One more for the observer, one for what comes in between.
    sessions = await Promise.all(Array.from({ length: players + 2 }, () => open(database.url)))
  })
  afterAll(async () => {
    await Promise.all(sessions.map(({ client }) => client.end({ timeout: 1 })))
  })

  const game = async (parts: readonly Part[], order: readonly number[]): Promise<string | undefined> => {
    const [observer, referee, ...free] = sessions as [Session, Session, ...Session[]]
    played += 1
    if (played % VACATE_EVERY === 0) await referee.client.unsafe('call probe.vacate()')
    await referee.client.unsafe('select probe.restore()')
    const log: string[] = []
    const told = await play(
      parts.map((part, n) => player(part, n, free[n] as Session, world as World)),
      order,
      observer.client,
      log,
    )
    const problems = [
      ...surprises(parts, told),
      ...(await judge(referee.client, parts, told, world as World, played % RESCUE_EVERY === 0)),
    ]
    return problems.length === 0 ? undefined : report(parts, log, told, problems)
  }
  return {
    game,
    get world() {
      return world as World
    },
    get sql() {
      return database.sql
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

/** Errors that nobody has announced, and leaders' writes by somebody who was deposed before. */
function* surprises(parts: readonly Part[], told: readonly Told[]): Generator<string> {
  for (const [n, { error }] of told.entries()) {
    const part = parts[n] as Part
    const allowed = [...part.verb.refused, ...(part.isolation === 'repeatable read' ? ['40001'] : [])]
    if (error && !allowed.includes(error.code) && !allowed.includes(error.constraint ?? ''))
      yield `${part.verb.name} failed: ${error.code} ${error.message}`
  }
  for (const [n, change] of told.entries()) {
    if (!change.committed || change.rows?.[0]?.epoch !== '2') continue
    for (const [m, write] of told.entries())
      if (
        m !== n &&
        parts[m]?.verb.leaders &&
        write.beganAt > change.endedAt &&
        write.error?.constraint !== 'not_leader'
      )
        yield `${parts[m]?.verb.name} wrote as a deposed leader`
  }
}

/** What the tables say, at once and after everything has run to its end. */
async function judge(
  referee: postgres.Sql,
  parts: readonly Part[],
  told: readonly Told[],
  world: World,
  rescues: boolean,
): Promise<string[]> {
  const revived = told.flatMap(({ rows, committed }, n) =>
    committed ? (rows ?? []).flatMap(row => parts[n]?.verb.revives?.(row) ?? []) : [],
  )
  if (revived.length > 0)
    await referee.unsafe(`insert into probe.revived values ${revived.map(id => `(${id})`).join(',')}`)
  const now = await referee<{ problem: string }[]>`select problem from probe.problems_now() problem`
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
