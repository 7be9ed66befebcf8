// A database of its own with the maintenance role at work on it, in this process and on real connections.

import { defineManifest, type Kind, type KindOptions, type Sql, type Subscription, syncManifest, toSql } from 'millrace'
import { Maintenance, type MaintenanceEvent, type MaintenanceOptions, SqlEngine } from 'millrace/maintenance'
import { cloneDatabase, type TestDatabase } from 'millrace/testing'
import * as v from 'valibot'
import { inject, onTestFinished } from 'vitest'
import { type PostgresSql, postgresSql } from '../../functions/node/postgres-sql.ts'
import { undiciTransport } from '../../functions/node/undici-transport.ts'
import { keyring } from './ingress.ts'
import { Recorder } from './maintenance-recorder.ts'

/** Retries at once, so that no test waits for a backoff. */
const AT_ONCE = { strategy: 'fixed', baseSeconds: 0 } as const

export type KindToDeclare = KindOptions & { readonly name: string }

export interface Maintaining extends Partial<Omit<MaintenanceOptions, 'listener'>> {
  /** LISTENs; polls unless true. */
  readonly listen?: boolean
  /** ... but no notification reaches it. */
  readonly deaf?: boolean
  /** Another way to the database, such as through a proxy. */
  readonly databaseUrl?: string
  /** Comes between maintenance and its connections. */
  readonly wrap?: (sql: PostgresSql) => Sql
}

const withArgs = (kind: KindToDeclare): Kind => ({ retry: AT_ONCE, ...kind, args: v.any() })

/** A fresh database, dropped when the test is over. */
export async function freshDatabase() {
  const { url: server, template } = inject('postgres')
  const database = await cloneDatabase(server, template)
  onTestFinished(database.drop)
  return workOn(database)
}

/** What tests do to a database of jobs. */
export function workOn({ sql, url, name }: Pick<TestDatabase, 'sql' | 'url' | 'name'>) {
  const engine = new SqlEngine(toSql(sql))

  const declare = (kinds: readonly KindToDeclare[], subscriptions: readonly Subscription[] = [], source = 'default') =>
    syncManifest(sql, defineManifest({ kinds: kinds.map(withArgs), subscriptions }), { source })

  const enqueue = async (kind: string, args: unknown = {}, options: object = {}): Promise<string> => {
    const [row] =
      await sql`select millrace.enqueue_many(${JSON.stringify([{ kind, args, ...options }])}::text::jsonb) as id`
    return String(row?.id)
  }

  const enqueueMany = async (kind: string, count: number): Promise<string[]> => {
    const rows =
      await sql`select millrace.enqueue(${kind}, jsonb_build_object('n', n)) as id from generate_series(1, ${count}) n`
    return rows.map(({ id }) => String(id))
  }

  /** `job` with its error texts at hand. */
  const job = async (id: string) => {
    const found = await engine.job(id)
    if (found === undefined) throw new Error(`No job ${id}`)
    return found
  }

  /** Lets deferred jobs come due, as if the time had passed. */
  const passTime = () => sql`update millrace.deferred set run_at = now()`

  /** How many attempts ended in each way: c, f, r, s as in the table. */
  const outcomes = async (): Promise<Record<string, number>> => {
    const rows = await sql`select state::text, count(*)::int as attempts from millrace.outcome_log group by state`
    return Object.fromEntries(rows.map(({ state, attempts }) => [state, attempts]))
  }

  /** Works until it is stopped or the test is over. */
  const maintain = async (options: Maintaining = {}) => {
    const maintenance = await startMaintenance(url, options)
    onTestFinished(() => maintenance.stop())
    return maintenance
  }

  return { sql, url, name, engine, declare, enqueue, enqueueMany, job, passTime, outcomes, maintain }
}

/** The maintenance role, until it is stopped. */
export async function startMaintenance(url: string, options: Maintaining = {}) {
  const { listen = false, deaf = false, wrap = same, ...rest } = options
  const connections = postgresSql(options.databaseUrl ?? url, {
    max: 4,
    applicationName: options.name ?? 'maintenance',
    patienceSeconds: 5,
  })
  const transport = undiciTransport({ allow: ['loopback'] })
  const events = new Recorder<MaintenanceEvent>()
  const maintenance = new Maintenance({
    sql: wrap(connections),
    listener: deaf ? { listen: async () => async () => undefined } : listen ? connections : undefined,
    transport,
    keyring,
    onEvent: events.push,
    pulseMs: 100,
    asleepPulseMs: 100,
    ...rest,
  })
  await maintenance.start()
  let stopping: Promise<void> | undefined
  /** Drains, once. */
  const stop = (timeoutMs = 2_000) => {
    stopping ??= maintenance.stop(timeoutMs).finally(async () => {
      await transport.end()
      await connections.end(1)
    })
    return stopping
  }
  /** Resolves with the event of a job's end that is put on record by this process. */
  const closed = (job: string, state?: string) =>
    events.first({ type: 'closed', job, ...(state && { state }) }) as Promise<
      Extract<MaintenanceEvent, { type: 'closed' }>
    >
  return { events, stop, closed }
}

const same = (sql: PostgresSql): Sql => sql
