// `millrace webhook test`, `deliveries` and `redeliver`: what was sent, and sent once more.

import type { Admin } from '../../core/admin/admin.ts'
import type { PageOptions } from '../../core/admin/calls.ts'
import type { DeliveryFilter, DeliveryView, RedeliverOptions } from '../../core/admin/deliveries.ts'
import { waitFor } from '../../core/wait-for.ts'
import { adminCommand, byOption, confirm, ids, instant, none, one, seconds, yesOption } from './cli-admin.ts'
import { Failure, type Options, UsageError, type ValuesOf } from './cli-command.ts'
import { pageOptions, printList } from './cli-list.ts'
import { type Column, facts, moment, printable } from './cli-table.ts'

const columns: readonly Column<DeliveryView>[] = [
  { title: 'AT', of: delivery => moment(delivery.at) },
  { title: 'JOB', of: ({ job }) => job, right: true },
  { title: 'ATTEMPT', of: ({ attempt }) => attempt, right: true },
  { title: 'ENDPOINT', of: ({ endpoint }) => endpoint, shrinks: true },
  { title: 'EVENT', of: ({ event }) => event },
  { title: 'ABOUT', of: ({ about }) => about, right: true },
  { title: 'STATE', of: ({ state }) => state },
  { title: 'ANSWER', of: ({ status, code }) => status ?? code },
  { title: 'MS', of: ({ latency_ms }) => latency_ms, right: true },
  { title: 'RESPONSE', of: ({ response }) => response, shrinks: true },
]

const timeOptions = {
  since: { type: 'string', value: 'TIME', help: 'at or after: ISO 8601, or how long ago, such as 2h' },
  until: { type: 'string', value: 'TIME', help: 'before' },
} as const satisfies Options

const STATES: readonly string[] = [
  ...(['delivered', 'retrying', 'put_back', 'failed', 'cancelled'] satisfies DeliveryView['state'][]),
]

export const testCommand = adminCommand({
  name: 'webhook test',
  operands: '<name>',
  summary: 'Sends an endpoint a webhook.test, once, and prints the job that delivers it.',
  details: 'Exit status under --wait: 1 if it was not delivered.',
  options: {
    wait: { type: 'boolean', help: 'wait for its end, and show what was answered' },
    timeout: { type: 'string', value: 'TIME', help: '--wait: for so long (default: 60s)' },
    ...byOption,
  },
  async run({ positionals, values, admin, sql, schema, result }) {
    const name = one(positionals, 'name')
    const timeoutSeconds = seconds('timeout', values.timeout) ?? 60
    const job = await admin.endpoints.test(name)
    if (job === undefined) throw missing(name)
    if (!values.wait) return result(String(job), { job })
    await waitFor(sql, String(job), { schema, timeoutSeconds })
    const [delivery] = (await admin.deliveries.list({ job }, { limit: 1 })).items
    if (!delivery) throw new Failure('not_found', `the delivery ${job} is not on the log`)
    result(describe(delivery), delivery)
    if (delivery.state !== 'delivered') throw new Failure('undelivered', `${name} was not reached, or refused it`)
  },
})

export const deliveriesCommand = adminCommand({
  name: 'webhook deliveries',
  operands: '[name]',
  summary: 'Lists attempts to deliver, newest first: of one endpoint, or of all.',
  options: {
    about: { type: 'string', value: 'ID', help: 'that tell of this job' },
    job: { type: 'string', value: 'ID', help: 'of this delivery' },
    tenant: { type: 'string', value: 'TENANT', help: 'to endpoints of this tenant' },
    state: { type: 'string', value: 'STATE', help: STATES.join(', ') },
    ...{ ...timeOptions, ...pageOptions },
  },
  async run({ positionals, admin, ...run }) {
    if (positionals.length > 0) one(positionals, 'name')
    const [endpoint] = positionals
    const { tenant, about, job } = run.values
    ids(
      [about, job].filter(id => id !== undefined),
      0,
    )
    const filter = { endpoint, tenant, about, job, state: stateIn(run.values.state), ...timesIn(run.values) }
    const ask = (page: PageOptions) => admin.deliveries.list(filter, page)
    await printList(run, { ask, columns, none: 'No such deliveries' })
  },
})

export const redeliverCommand = adminCommand({
  name: 'webhook redeliver',
  operands: '[name]',
  summary: 'Sends again what failed at an endpoint, or single deliveries by --job, under the same webhook-id.',
  details: `Asks first, unless it goes by --job. In parts of 100, each of which stays done. Exit status: 1 if one of them was not sent
again: a failed one goes as long as it is a dead letter, one that got through as long as its job is readable.`,
  options: {
    job: { type: 'string', multiple: true, value: 'ID', help: 'this delivery; may be repeated' },
    ...timeOptions,
    'delivered-too': { type: 'boolean', help: 'also what has got through, each event once' },
    ...{ ...byOption, ...yesOption },
  },
  async run({ positionals, admin, result, ...run }) {
    const { values, progress } = run
    if (values.job) {
      none(positionals)
      const jobs = await redelivered(admin, ids(values.job), progress)
      return result(jobs.join('\n'), { redelivered: jobs.length, jobs })
    }
    const name = one(positionals, 'name')
    const options: RedeliverOptions = { ...timesIn(values), onlyFailed: !values['delivered-too'] }
    await checkEnabled(admin, name)
    await confirm(`This sends again ${described(name, options)}.`, run)
    const done = await inParts(admin, name, options, progress)
    result(`${done.redelivered} sent again`, done)
    if (done.refused > 0) throw new Failure('not_redelivered', `${done.refused} not sent again`)
  },
})

/** @throws {Failure} `not_found`, `endpoint_disabled` */
async function checkEnabled(admin: Admin, name: string): Promise<void> {
  const endpoint = await admin.endpoints.get(name)
  if (endpoint === undefined) throw missing(name)
  if (endpoint.state === 'disabled') {
    throw new Failure('endpoint_disabled', `${name} is disabled`, `millrace webhook enable ${name}`)
  }
}

async function inParts(admin: Admin, name: string, options: RedeliverOptions, progress: (line: string) => void) {
  const done = { redelivered: 0, refused: 0 }
  for (let cursor: string | null | undefined; cursor !== null; ) {
    const part = await admin.deliveries.redeliverSome(name, options, { cursor })
    done.redelivered += part.redelivered
    done.refused += part.refused
    cursor = part.cursor
    if (cursor !== null) progress(`${done.redelivered} sent again so far, ${done.refused} not`)
  }
  return done
}

/** @throws {Failure} after the first that is not sent again; those before it are */
async function redelivered(admin: Admin, jobs: readonly string[], progress: (line: string) => void) {
  const done: number[] = []
  for (const job of jobs) {
    const { id, problem } = await admin.deliveries.redeliver(job)
    if (id === null) throw new Failure(problem ?? 'not_redelivered', `delivery ${job} is not sent again`)
    if (String(id) !== job) progress(`${job} is sent again as ${id}`)
    done.push(id)
  }
  return done
}

function described(name: string, { since, until, onlyFailed }: RedeliverOptions): string {
  const times = [...(since ? [`since ${since}`] : []), ...(until ? [`until ${until}`] : [])]
  return [onlyFailed ? 'all that failed' : 'every event that was sent', `to ${name}`, ...times].join(' ')
}

function stateIn(text: string | undefined): DeliveryFilter['state'] {
  if (text === undefined || STATES.includes(text)) return text as DeliveryFilter['state']
  throw new UsageError(`--state takes ${STATES.join(', ')}, not "${text}"`)
}

const timesIn = (values: ValuesOf<typeof timeOptions>) => ({
  since: instant('since', values.since)?.toISOString(),
  until: instant('until', values.until)?.toISOString(),
})

const missing = (name: string): Failure => new Failure('not_found', `there is no endpoint ${name}`)

const describe = (delivery: DeliveryView): string =>
  facts([
    ['job', delivery.job],
    ['state', delivery.state],
    ['answer', delivery.status ?? delivery.code],
    ['latency', delivery.latency_ms === null ? null : `${delivery.latency_ms} ms`],
    ['response', delivery.response && printable(delivery.response)],
  ]).join('\n')
