// `millrace health`: whether the engine can work, check by check.

import { setTimeout as pause } from 'node:timers/promises'
import type { Admin } from '../../core/admin/admin.ts'
import { translateError } from '../../core/database-errors.ts'
import { type AppliedMigration, planMigration } from '../../core/migrate-plan.ts'
import { quoteIdentifier } from '../../core/sql.ts'
import { type AdminRun, adminCommand, none, seconds } from './cli-admin.ts'
import { Failure, type Options } from './cli-command.ts'
import { duration, table } from './cli-table.ts'
import { packageMigrations } from './migrations.ts'

interface Check {
  readonly name: 'database' | 'schema' | 'cluster' | 'leader' | 'dispatchers' | 'lag'
  readonly ok: boolean
  readonly message: string
}

/** What programs want as numbers, as far as it was found out. */
type Facts = Record<string, unknown>

const options = {
  'max-lag': { type: 'string', value: 'TIME', help: 'fail if a job of a queue that is not paused waits for longer' },
  ticks: { type: 'boolean', help: 'work is done by `millrace tick`: nobody has to lead or dispatch just now' },
  timeout: { type: 'string', value: 'TIME', help: 'fail if the database does not answer within (default: 10s)' },
} as const satisfies Options

type Given = Pick<AdminRun<typeof options>, 'sql' | 'schema' | 'admin' | 'values'>

export const healthCommand = adminCommand({
  name: 'health',
  operands: '',
  summary: 'Checks that the engine can work; the exit status is 1 if it cannot.',
  details: `database: it answers. schema: it is as this version wants it. cluster: it is not a restored copy whose open jobs are yet to be
taken over. leader, dispatchers: there is one. lag: how long the job that waits longest has been ready.`,
  options,
  async run({ positionals, result, ...given }) {
    none(positionals)
    const facts: Facts = {}
    const checks: Check[] = []
    const timeout = seconds('timeout', given.values.timeout) ?? 10
    const expired = new AbortController()
    await Promise.race([
      look(given, checks, facts),
      pause(timeout * 1_000, undefined, { signal: expired.signal }).then(() => {
        checks.push({ name: 'database', ok: false, message: `no answer within ${timeout} s` })
      }),
    ]).finally(() => expired.abort())
    const failing = checks.filter(({ ok }) => !ok).map(({ name }) => name)
    result(text(checks), { ok: failing.length === 0, failing, ...facts, checks })
    if (failing.length > 0) throw new Failure('unhealthy', `failing: ${failing.join(', ')}`)
  },
})

const text = (checks: readonly Check[]): string =>
  table(
    checks,
    [
      { title: '', of: ({ ok }) => (ok ? 'ok' : 'FAILS') },
      { title: '', of: ({ name }) => name },
      { title: '', of: ({ message }) => message },
    ],
    { header: false },
  ).join('\n')

/** Each check makes sense only once those before it are passed. */
async function look(given: Given, checks: Check[], facts: Facts): Promise<void> {
  const steps = { database, schema, cluster, leader, dispatchers, lag } as const
  for (const [name, step] of Object.entries(steps)) {
    const message = await step(given, facts).catch(error => new Failing(messageOf(error)))
    const ok = !(message instanceof Failing)
    checks.push({ name: name as Check['name'], ok, message: ok ? message : message.message })
    if (!ok && (name === 'database' || name === 'schema')) return
  }
}

const hasCode = (error: unknown, code: string): boolean => (error as { code?: unknown }).code === code

/** The answer of a check that is not passed. */
class Failing extends Error {}

const messageOf = (error: unknown): string =>
  error instanceof Error ? error.message || String((error as { code?: unknown }).code) : String(error)

async function database({ sql }: Given, facts: Facts): Promise<string> {
  const began = performance.now()
  const [row] = await sql.query<{ version: string }>(`select current_setting('server_version') as version`)
  facts.server_version = row?.version
  return `Postgres ${row?.version} answers in ${Math.ceil(performance.now() - began)} ms`
}

async function schema({ sql, schema }: Given, facts: Facts): Promise<string> {
  const files = await packageMigrations()
  const version = (numbers: readonly number[]) => Math.max(0, ...numbers)
  const applied = await sql
    .query<AppliedMigration>(`select number, name, checksum from ${quoteIdentifier(schema)}.migrations()`)
    .catch(error => {
      throw hasCode(translateError(error), 'schema_missing')
        ? new Failing('there is none, or an old one: millrace migrate')
        : error
    })
  facts.schema_version = version(applied.map(({ number }) => number))
  facts.expected_schema_version = files.filter(({ path }) => path.startsWith('tables/')).length
  const steps = planMigration(files, { migrations: applied }, schema)
  if (steps.length > 0) throw new Failing(`lacks ${steps.map(({ label }) => label).join(', ')}: millrace migrate`)
  return `version ${facts.schema_version}, up to date`
}

async function cluster({ sql, schema }: Given, facts: Facts): Promise<string> {
  const [row] = await sql.query<{ restored: boolean }>(`select ${quoteIdentifier(schema)}.is_restored() as restored`)
  facts.restored = row?.restored === true
  if (facts.restored) throw new Failing('restored from another server: the first claim takes the open jobs over')
  return 'the open jobs are of this server'
}

async function leader({ admin, values }: Given, facts: Facts): Promise<string> {
  const leaders = await admin.runtimes.leaders()
  const alive = leaders.find(({ alive, name }) => alive && name === 'maintenance')
  facts.leader = alive?.holder ?? null
  if (alive) return `${alive.holder}, epoch ${alive.epoch}`
  if (values.ticks) return 'nobody leads just now'
  throw new Failing('nobody leads: schedules, retention and batches stand still')
}

async function dispatchers({ admin, values }: Given, facts: Facts): Promise<string> {
  const all = await admin.runtimes.list()
  const alive = all.filter(({ alive }) => alive).length
  Object.assign(facts, { live_runtimes: alive, lost_runtimes: all.length - alive })
  if (alive === 0 && !values.ticks) throw new Failing('nobody sends jobs')
  return `${alive} alive${all.length > alive ? `, ${all.length - alive} lost` : ''}`
}

async function lag({ admin, values }: { admin: Admin; values: Given['values'] }, facts: Facts): Promise<string> {
  const most = seconds('max-lag', values['max-lag']) ?? Number.POSITIVE_INFINITY
  const queues = (await admin.queues.list()).filter(queue => queue.paused_at === null && queue.lag_seconds !== null)
  const worst = queues.sort((a, b) => (b.lag_seconds ?? 0) - (a.lag_seconds ?? 0))[0]
  facts.oldest_lag_seconds = worst?.lag_seconds ?? 0
  if (!worst) return 'no job waits'
  const message = `${duration(worst.lag_seconds ?? 0)} in queue ${worst.queue}`
  if ((worst.lag_seconds ?? 0) > most) throw new Failing(`${message}, more than ${values['max-lag']}`)
  return message
}
