// What can be broken, and how likely each of it is.

import type { Cast } from './cast.ts'
import type { Member } from './member.ts'
import { type Pranks, pause } from './monkey.ts'
import type { Server } from './postgres.ts'
import type { Random } from './random.ts'
import { withSession } from './session.ts'

/** Others than the last to be ready are left alone: a process that is killed again before it works shows nothing. */
const ready = (members: readonly Member[]): readonly Member[] => members.filter(member => member.isReady())

const WEIGHTS = {
  maintenanceKills: 4,
  maintenanceDrains: 2,
  maintenanceFreezes: 1.5,
  ingressKills: 2,
  ingressDrains: 1,
  ingressFreezes: 1,
  functionKills: 0.5,
  endpointKills: 0.5,
  backendsTerminated: 4,
  oldSnapshots: 1,
}

export function pranks(cast: Cast, server: Server, random: Random, until: AbortSignal): Pranks {
  const signal = (members: readonly Member[], name: NodeJS.Signals) => async () => pick(members, random).signal(name)
  const freeze = (members: readonly Member[]) => async () => {
    const member = pick(members, random)
    member.signal('SIGSTOP')
    // Some wake up after others have given them up.
    await pause(random.int(300, 6_000), until)
    member.signal('SIGCONT')
  }
  return {
    weights: { ...WEIGHTS, ...(server.crash && { backendsKilled: 0.3 }) },
    play: {
      maintenanceKills: signal(cast.maintenance, 'SIGKILL'),
      maintenanceDrains: signal(cast.maintenance, 'SIGTERM'),
      maintenanceFreezes: freeze(cast.maintenance),
      ingressKills: signal(cast.ingresses, 'SIGKILL'),
      ingressDrains: signal(cast.ingresses, 'SIGTERM'),
      ingressFreezes: freeze(cast.ingresses),
      functionKills: signal(cast.functions, 'SIGKILL'),
      endpointKills: signal(cast.endpoints, 'SIGKILL'),
      backendsTerminated: () => terminate(server.url, random.int(1, 4)),
      backendsKilled: () => killBackend(server.url),
      oldSnapshots: () => holdSnapshot(server.url, random.int(2_000, 12_000), until),
    },
  }
}

function pick(members: readonly Member[], random: Random): Member {
  const there = ready(members)
  if (there.length === 0) throw new Error('nobody to play with')
  return random.pick(there)
}

const OTHERS = `select pid from pg_stat_activity
  where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()
  order by random()`

const terminate = (url: string, count: number): Promise<void> =>
  withSession(url, async session => {
    await session.query(`select pg_terminate_backend(pid) from (${OTHERS} limit ${count}) unlucky`)
  })

/** The server then ends all the others too, and recovers from its log. */
const killBackend = (url: string): Promise<void> =>
  withSession(url, async session => {
    const { rows } = await session.query<{ pid: number }>(`${OTHERS} limit 1`)
    for (const { pid } of rows) process.kill(pid, 'SIGKILL')
  })

/** Nothing that dies from now on can be cleaned up, and no transaction since then counts as seen by all. */
const holdSnapshot = (url: string, ms: number, until: AbortSignal): Promise<void> =>
  withSession(url, async session => {
    await session.query('begin isolation level repeatable read')
    await session.query('select pg_current_xact_id(), count(*) from millrace.segment')
    await pause(ms, until)
    await session.query('rollback')
  })
