// The verbs that race, each as one statement about the same world, and what a committed answer of theirs promises.

import { HELD, KEPT, type Ref, type World } from './world.ts'

/** An event `payment`. */
export interface Sent {
  readonly id: string
  readonly payload: string
}

export interface Verb {
  readonly name: string
  statement(world: World): string
  /** Called in transactions of the application's own, so also with one snapshot for the whole transaction. */
  readonly callers?: true
  /** Only the leader may: it names its epoch. */
  readonly leaders?: true
  /** The jobs which, by this committed answer, may go on after an end. */
  revives?(row: Record<string, unknown>): string | undefined
  /** The jobs which, by this committed answer, are cancelled. */
  cancels?(row: Record<string, unknown>): string | undefined
  /** The events which, by this committed answer, were taken: the job and the payload of each. */
  sends?(row: Record<string, unknown>): Sent | undefined
  /** What must not be told, whatever one other does: two could end a job and empty its segment. */
  wrong?(row: Record<string, unknown>): string | undefined
  /** SQLSTATEs and constraints with which it may be refused in a race, having changed nothing. */
  readonly refused: readonly string[]
}

/** A lock was not to be had in time. */
const BUSY = '55P03'

const array = (items: readonly (string | number)[], type: string): string => `array[${items.join(',')}]::${type}[]`
const refs = (items: readonly Ref[]): string =>
  [
    array(
      items.map(item => item.segment),
      'bigint',
    ),
    array(
      items.map(item => item.id),
      'bigint',
    ),
    array(
      items.map(item => item.attempt),
      'int',
    ),
  ].join(', ')
const all = (world: World): Ref[] => Object.values(world.open)
const unfinished = (world: World): string[] => [...all(world).map(({ id }) => id), ...Object.values(world.waiting)]
const allIds = (world: World): string[] => [...unfinished(world), ...Object.values(world.ended)]

/** Every attempt of the world is there, open or with its end on record. */
const missing = (row: Record<string, unknown>): string | undefined =>
  row.state === null ? `attempt ${row.nth} was not found` : undefined

/** The outcomes are dealt to the attempts in turn. */
const closing = (name: string, outcomes: readonly string[], detail?: object): Verb => ({
  name,
  refused: [BUSY],
  wrong: missing,
  statement: world => {
    const items = all(world)
    const dealt = items.map((_, n) => `'${outcomes[n % outcomes.length]}'`).join(',')
    const details = detail ? `'${JSON.stringify(items.map(() => detail))}'::jsonb` : 'null'
    return `select * from millrace.close(${refs(items)}, array[${dealt}], ${details})`
  },
})

const enqueueing = (name: string, jobs: readonly object[]): Verb => ({
  name,
  callers: true,
  refused: ['unique_conflict'],
  statement: () => `select * from millrace.enqueue_jobs('${JSON.stringify(jobs)}')`,
  revives: row => (row.replaced === true ? String(row.id) : undefined),
})

const leading = (name: string): Verb => ({
  name,
  leaders: true,
  refused: [BUSY, 'not_leader'],
  statement: () => `select millrace.${name}(1)`,
})

const error = { error: { code: 'reported', message: 'broken' } }

const VERBS: readonly Verb[] = [
  { name: 'claim', refused: [], statement: ({ runtime }) => `select * from millrace.claim(${runtime}, 100)` },
  closing('close', ['completed']),
  closing('callback', ['retry', 'fail', 'release', 'put_back'], { ...error, delay_ms: 0 }),
  {
    name: 'heartbeat',
    refused: [],
    wrong: missing,
    statement: world =>
      `select * from millrace.heartbeat(${refs(all(world))}, array_fill(60::float8, array[${all(world).length}]))`,
  },
  { name: 'park', refused: [], statement: world => `select millrace.park(${refs(all(world))}, 60)` },
  {
    name: 'cancel',
    callers: true,
    refused: [BUSY],
    statement: world => `select * from millrace.cancel(${array(allIds(world), 'bigint')})`,
    cancels: row => (row.cancelled === true ? String(row.id) : undefined),
  },
  { name: 'rescue', refused: [BUSY], statement: () => 'select * from millrace.rescue(100)' },
  { name: 'promote', refused: [], statement: () => 'select * from millrace.promote(100)' },
  {
    name: 'retry',
    refused: [BUSY],
    statement: world => `select * from millrace.retry(${array(allIds(world), 'bigint')})`,
    revives: row => (row.retried === true ? String(row.id) : undefined),
  },
  {
    name: 'move',
    refused: [BUSY],
    statement: world => `select * from millrace.move(${array(allIds(world), 'bigint')}, 'elsewhere')`,
  },
  leading('rotate'),
  leading('survey'),
  leading('prune'),
  {
    name: 'change of leader',
    refused: [],
    statement: () =>
      `select millrace.resign('maintenance', 'one') as resigned, millrace.lead('maintenance', 'two', 3600) as epoch`,
  },
  enqueueing('enqueue', [{ kind: 'resize' }]),
  enqueueing('enqueue unique', [
    { kind: 'resize', unique_key: HELD },
    { kind: 'resize', unique_key: KEPT, on_conflict: 'replace' },
  ]),
  { name: 'attach', refused: [BUSY], statement: () => 'select millrace.attach()' },
]

const look: Verb = {
  name: 'look',
  refused: [],
  statement: world =>
    `select id, millrace.job(id) ->> 'state' as state from unnest(${array(unfinished(world), 'bigint')}) id`,
  wrong: row => (row.state === null ? `job ${row.id} was not found` : undefined),
}

export const PURGE: Verb = {
  name: 'purge',
  refused: [],
  statement: () => `select millrace.purge_dead_letters('{"all": true}', null, 10)`,
}

/** Sends every open job an event whose payload tells the transaction. */
export const SEND: Verb = {
  name: 'send',
  refused: [BUSY],
  wrong: row => (['applied', 'kept', 'ended'].includes(String(row.answer)) ? undefined : `an event was ${row.answer}`),
  sends: row => (row.answer === 'ended' ? undefined : { id: String(row.id), payload: String(row.payload) }),
  statement: world => `
    select id, pg_current_xact_id()::text as payload, e.answer
    from unnest(${array(
      all(world).map(({ id }) => id),
      'bigint',
    )}) id
    cross join lateral millrace.send_event(id, 'payment', to_jsonb(pg_current_xact_id()::text)) e`,
}

/** Lets one attempt of the world wait for that event. */
export const waiting = (which: keyof World['open']): Verb => ({
  name: `wait of ${which}`,
  refused: [BUSY],
  wrong: row => (row.answer === 'unknown' ? 'the attempt was not found' : undefined),
  statement: ({ open }) => {
    const { segment, id, attempt } = open[which]
    return `select answer from millrace.wait(${segment}, ${id}, ${attempt}, 'payment', 3600)`
  },
})

/** Every verb with every other and with itself, and those that have few to race with. */
export const PAIRS: readonly (readonly [Verb, Verb])[] = [
  ...VERBS.flatMap((a, n) => VERBS.slice(n).map(b => [a, b] as const)),
  ...['prune', 'attach', 'cancel', 'promote'].map(name => [look, verb(name)] as const),
  ...['retry', 'prune', 'callback', 'move'].map(name => [PURGE, verb(name)] as const),
]

/** The verb of that name. */
export function verb(name: string): Verb {
  const found = VERBS.find(candidate => candidate.name === name)
  if (!found) throw new Error(`No verb ${name}`)
  return found
}
