// `millrace webhook`: the endpoints that are told what becomes of jobs.

import type { PageOptions } from '../../core/admin/calls.ts'
import type { EndpointFilter, EndpointView } from '../../core/admin/endpoints.ts'
import { type AdminRun, adminCommand, byOption, confirm, none, one, yesOption } from './cli-admin.ts'
import { Failure, type Group, type Options, UsageError } from './cli-command.ts'
import { pageOptions, printList } from './cli-list.ts'
import { type Column, facts, moment, table } from './cli-table.ts'
import { createCommand, resealCommand, rotateCommand, updateCommand } from './cli-webhook-change.ts'
import { deliveriesCommand, redeliverCommand, testCommand } from './cli-webhook-deliveries.ts'

const columns: readonly Column<EndpointView>[] = [
  { title: 'NAME', of: ({ name }) => name, shrinks: true },
  { title: 'STATE', of: stateOf },
  { title: 'TENANT', of: ({ tenant }) => tenant, shrinks: true },
  { title: 'EVENTS', of: ({ events }) => events.join(','), shrinks: true },
  { title: 'KINDS', of: ({ kinds }) => kinds?.join(','), shrinks: true },
  { title: 'URL', of: ({ url }) => url, shrinks: true },
  { title: 'DELIVERED', of: endpoint => moment(endpoint.last_success_at) },
  { title: 'FAILED', of: endpoint => moment(endpoint.last_failure_at) },
]

const listCommand = adminCommand({
  name: 'webhook list',
  operands: '',
  summary: 'Lists endpoints by name.',
  options: {
    tenant: { type: 'string', value: 'TENANT', help: 'of this tenant' },
    source: { type: 'string', value: 'SOURCE', help: 'declared by the manifest of this source' },
    state: { type: 'string', value: 'STATE', help: 'enabled, failing (the last one did not get through) or disabled' },
    ...pageOptions,
  },
  async run({ positionals, admin, ...run }) {
    none(positionals)
    const { tenant, source, state } = run.values
    if (state !== undefined && !isState(state)) {
      throw new UsageError(`--state takes ${STATES.join(', ')}, not "${state}"`)
    }
    const ask = (page: PageOptions) => admin.endpoints.list({ tenant, source, state }, page)
    await printList(run, { ask, columns, none: 'No such endpoints' })
  },
})

const showCommand = adminCommand({
  name: 'webhook show',
  operands: '<name>',
  summary: 'Shows an endpoint; never its secrets.',
  options: {},
  async run({ positionals, admin, result }) {
    const name = one(positionals, 'name')
    const endpoint = there(name, await admin.endpoints.get(name))
    result(describe(endpoint), endpoint)
  },
})

const deleteCommand = adminCommand({
  name: 'webhook delete',
  operands: '<name>',
  summary: 'Deletes an endpoint with its secrets; what is on its way to it fails.',
  details: 'Asks first. One that a manifest declares is deleted there.',
  options: { ...byOption, ...yesOption },
  async run({ positionals, admin, result, ...run }) {
    const name = one(positionals, 'name')
    await confirm(`This deletes the endpoint ${name}, and what is on its way to it fails.`, run)
    if (!(await admin.endpoints.delete(name))) throw missing(name)
    result(`${name} is deleted`, { name, deleted: true })
  },
})

const switchCommand = (verb: 'enable' | 'disable', summary: string) =>
  adminCommand({
    name: `webhook ${verb}`,
    operands: '<name>',
    summary,
    options: byOption,
    async run({ positionals, admin, result }: AdminRun<Options>) {
      const name = one(positionals, 'name')
      const endpoint = there(name, await admin.endpoints[verb](name))
      result(`${name} is ${verb}d`, endpoint)
    },
  })

export const webhookGroup: Group = {
  name: 'webhook',
  summary: 'Makes, lists, tries and switches off endpoints of webhooks; shows deliveries, and sends them again.',
  commands: [
    ...[listCommand, showCommand, createCommand, updateCommand, deleteCommand, rotateCommand, resealCommand],
    switchCommand('enable', 'Gives an endpoint a fresh chance. What was not sent meanwhile: webhook redeliver.'),
    switchCommand('disable', 'From now on what is to be delivered becomes dead letters, unsent.'),
    ...[testCommand, deliveriesCommand, redeliverCommand],
  ],
}

const STATES: readonly string[] = ['enabled', 'failing', 'disabled'] satisfies EndpointView['state'][]

const isState = (text: string): text is NonNullable<EndpointFilter['state']> => STATES.includes(text)

const missing = (name: string): Failure => new Failure('not_found', `there is no endpoint ${name}`)

/** @throws {Failure} `not_found` */
function there<T>(name: string, found: T | undefined): T {
  if (found === undefined) throw missing(name)
  return found
}

function stateOf({ state, disabled_reason: reason }: EndpointView): string {
  return reason === null || reason === 'operator' ? state : `${state} (${reason})`
}

function describe(endpoint: EndpointView): string {
  const lines = facts([
    ['endpoint', endpoint.name],
    ['url', endpoint.url],
    ['state', stateOf(endpoint)],
    ['tenant', endpoint.tenant],
    ['events', endpoint.events.join(', ')],
    ['kinds', endpoint.kinds?.join(', ') ?? 'every one'],
    ['description', endpoint.description],
    ['declared by', endpoint.source],
    ['created', moment(endpoint.created_at)],
    ['failing since', moment(endpoint.failing_since)],
    ['disabled', moment(endpoint.disabled_at)],
    ['last delivered', moment(endpoint.last_success_at)],
    ['last failed', moment(endpoint.last_failure_at)],
    ['signature', endpoint.signature],
  ])
  const secrets = table(endpoint.secrets, [
    { title: 'SECRET', of: ({ created_at }) => moment(created_at) },
    { title: 'SIGNS UNTIL', of: ({ expires_at }) => (expires_at === null ? 'it is replaced' : moment(expires_at)) },
    { title: 'SEALED', of: ({ sealed }) => (sealed ? 'yes' : 'no') },
  ])
  return [...lines, '', ...secrets].join('\n')
}
