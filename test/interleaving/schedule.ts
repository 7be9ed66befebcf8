// Drives two or more sessions through begin, statement and commit in a given order. A statement that has to wait for another
// session lets the others go on.

import { setTimeout } from 'node:timers/promises'
import type postgres from 'postgres'

export interface Player {
  readonly name: string
  readonly client: postgres.Sql
  readonly pid: number
  readonly begin: string
  readonly statement: string
  readonly end: 'commit' | 'rollback'
}

export interface Told {
  readonly rows?: readonly Record<string, unknown>[]
  readonly error?: { readonly code: string; readonly constraint: string | undefined; readonly message: string }
  /** Its transaction is on record. */
  readonly committed: boolean
  /** Places among the steps of all: when the statement began, and when the transaction had ended. */
  readonly beganAt: number
  readonly endedAt: number
}

export type Step = 'begin' | 'statement' | 'end'
const STEPS: readonly Step[] = ['begin', 'statement', 'end']

/** All orders of the steps of `players` players, each as the numbers of the players whose turn it is. */
export const orders = (players: number): number[][] => merges(Array.from({ length: players }, () => STEPS.length))

/** All ways to deal the turns, of which each player has so many. */
export function merges(left: readonly number[]): number[][] {
  if (left.every(n => n === 0)) return [[]]
  return left.flatMap((n, who) => (n === 0 ? [] : merges(left.with(who, n - 1)).map(rest => [who, ...rest])))
}

interface Track {
  readonly player: Player
  /** What it has still to do. */
  readonly steps: Step[]
  /** What it waits for. */
  running?: Promise<void> | undefined
  rows?: readonly Record<string, unknown>[]
  error?: Told['error']
  beganAt: number
  endedAt: number
}

/** Plays one order; `log` is given every step as it happens. */
export async function play(
  players: readonly Player[],
  order: readonly number[],
  observer: postgres.Sql,
  log: string[],
): Promise<Told[]> {
  const tracks = players.map((player): Track => ({ player, steps: [...STEPS], beganAt: 0, endedAt: 0 }))
  const turns = [...order]
  let clock = 0
  const go = async (track: Track): Promise<void> => {
    const step = track.steps.shift() as Step
    log.push(`${track.player.name}: ${step === 'end' ? track.player.end : step}`)
    clock += 1
    if (step === 'statement') track.beganAt = clock
    const running = perform(track, step).then(() => {
      track.running = undefined
      clock += 1
      if (step === 'end') track.endedAt = clock
      if (track.error && step === 'statement') log.push(`${track.player.name} failed: ${track.error.message}`)
    })
    track.running = running
    if (await waits(track, observer)) log.push(`${track.player.name} waits`)
  }
  while (turns.length > 0) {
    await refresh(tracks, observer)
    const place = turns.findIndex(who => !tracks[who]?.running)
    if (place === -1) {
      await Promise.race(tracks.map(track => track.running).filter(running => running !== undefined))
      continue
    }
    const [who] = turns.splice(place, 1)
    await go(tracks[who as number] as Track)
  }
  await Promise.all(tracks.map(track => track.running))
  return tracks.map(({ rows, error, beganAt, endedAt, player }) => ({
    ...(rows && { rows }),
    ...(error && { error }),
    committed: !error && player.end === 'commit',
    beganAt,
    endedAt,
  }))
}

async function perform(track: Track, step: Step): Promise<void> {
  const { player } = track
  try {
    if (step === 'begin') await player.client.unsafe(player.begin)
    if (step === 'statement') track.rows = [...(await player.client.unsafe(player.statement))]
    if (step === 'end') await player.client.unsafe(track.error ? 'rollback' : player.end)
  } catch (error) {
    const { code, constraint_name: constraint, message } = error as postgres.PostgresError
    track.error = { code, constraint, message }
    if (step === 'end') await player.client.unsafe('rollback')
  }
}

/** True once what it does waits for another session, false once it is done. */
async function waits(track: Track, observer: postgres.Sql): Promise<boolean> {
  // Most steps are done before the observer is asked, and asking costs those that are not.
  for (let pause = 1; track.running; pause = Math.min(2 * pause, 8)) {
    await Promise.race([track.running, setTimeout(pause)])
    if (!track.running) break
    const settled = track.running.then(() => false)
    if (await Promise.race([settled, blocked(track.player.pid, observer)])) return track.running !== undefined
  }
  return false
}

async function blocked(pid: number, observer: postgres.Sql): Promise<boolean> {
  const [row] = await observer`select cardinality(pg_blocking_pids(${pid})) > 0 as blocked`
  return row?.blocked === true
}

/** Those that waited and need to no more come to their next step before the others go on. */
async function refresh(tracks: readonly Track[], observer: postgres.Sql): Promise<void> {
  for (const track of tracks) if (track.running) await waits(track, observer)
}
