// `millrace webhook create`, `update` and `rotate`.

import type { EndpointChanges, EndpointWithSecret } from '../../core/admin/endpoints.ts'
import { JOB_EVENTS, type JobEvent } from '../../core/follow-up.ts'
import { adminCommand, byOption, none, one, seconds } from './cli-admin.ts'
import { allowedTargets, allowTargetsOption } from './cli-allow-targets.ts'
import { Failure, type Options, type Run, UsageError, type ValuesOf } from './cli-command.ts'
import { sealingKeys, sealingKeysOption } from './cli-sealing-keys.ts'

const whatOptions = {
  event: { type: 'string', multiple: true, value: 'EVENT', help: `one of ${JOB_EVENTS.join(', ')}; may be repeated` },
  kind: { type: 'string', multiple: true, value: 'KIND', help: 'jobs of this kind only; may be repeated' },
  tenant: { type: 'string', value: 'TENANT', help: 'jobs of this tenant only' },
  description: { type: 'string', value: 'TEXT', help: 'for people' },
} as const satisfies Options

const signatureOption = {
  signature: { type: 'string', value: 'v1|v1a', help: 'v1: HMAC-SHA256; v1a: Ed25519, and a public key is printed' },
} as const satisfies Options

const SHOWN = 'The secret alone is printed on stdout (of v1a the public key), this one time.'

export const createCommand = adminCommand({
  name: 'webhook create',
  operands: '<name> <url>',
  summary: 'Makes an endpoint, and prints its secret.',
  details: `${SHOWN} It hears of completed, failed and cancelled jobs of every kind and tenant, unless options say otherwise.`,
  options: { ...whatOptions, ...signatureOption, ...allowTargetsOption, ...sealingKeysOption, ...byOption },
  adminOptions: values => ({ sealingKeys: sealingKeys(values), allowTargets: allowedTargets(values) }),
  async run({ positionals, values, admin, ...run }) {
    const [name, url, ...rest] = positionals
    if (name === undefined || url === undefined || rest.length > 0) {
      throw new UsageError('a name and a URL are needed: millrace webhook create acme https://acme.example/hooks')
    }
    const signature = signatureOf(values)
    shown(await admin.endpoints.create({ name, url, ...changesOf(values), ...(signature && { signature }) }), run)
  },
})

export const updateCommand = adminCommand({
  name: 'webhook update',
  operands: '<name>',
  summary: 'Changes what is given, and keeps the rest. Another URL is given a fresh chance.',
  details: 'One that a manifest declares is changed there.',
  options: {
    url: { type: 'string', value: 'URL', help: 'where to' },
    ...whatOptions,
    'all-kinds': { type: 'boolean', help: 'jobs of every kind' },
    'all-tenants': { type: 'boolean', help: "every tenant's jobs" },
    ...{ ...allowTargetsOption, ...byOption },
  },
  adminOptions: values => ({ allowTargets: allowedTargets(values) }),
  async run({ positionals, values, admin, result }) {
    const name = one(positionals, 'name')
    const { url, 'all-kinds': allKinds, 'all-tenants': allTenants } = values
    if ((allKinds && values.kind) || (allTenants && values.tenant !== undefined)) {
      throw new UsageError('--kind or --all-kinds, --tenant or --all-tenants: not both')
    }
    const changes: EndpointChanges = {
      ...(url !== undefined && { url }),
      ...changesOf(values),
      ...(allKinds && { kinds: null }),
      ...(allTenants && { tenant: null }),
    }
    if (Object.keys(changes).length === 0) throw new UsageError('nothing to change')
    const endpoint = await admin.endpoints.update(name, changes)
    if (!endpoint) throw new Failure('not_found', `there is no endpoint ${name}`)
    result(`${name} is changed`, endpoint)
  },
})

export const rotateCommand = adminCommand({
  name: 'webhook rotate',
  operands: '<name>',
  summary: 'Makes another secret and prints it; those before sign along for a while.',
  details: `${SHOWN} One that a manifest declares has its secret from there.`,
  options: {
    grace: { type: 'string', value: 'TIME', help: 'how long those before sign along (default: 1d; 0 after a leak)' },
    ...{ ...signatureOption, ...sealingKeysOption, ...byOption },
  },
  adminOptions: values => ({ sealingKeys: sealingKeys(values) }),
  async run({ positionals, values, admin, ...run }) {
    const name = one(positionals, 'name')
    const [graceSeconds, signature] = [seconds('grace', values.grace), signatureOf(values)]
    const options = { ...(graceSeconds !== undefined && { graceSeconds }), ...(signature && { signature }) }
    const endpoint = await admin.endpoints.rotate(name, options)
    if (!endpoint) throw new Failure('not_found', `there is no endpoint ${name}`)
    shown(endpoint, run)
  },
})

export const resealCommand = adminCommand({
  name: 'webhook reseal',
  operands: '',
  summary: 'Seals all secrets with the newest key: after a rotation, before the old root key goes.',
  details: `Receivers notice nothing. Secrets that were kept as they are get sealed, too. The user needs the role deployer.
Exits with 1 when a secret was sealed with a key that is not there.`,
  options: { ...sealingKeysOption, ...byOption },
  adminOptions: values => ({ sealingKeys: sealingKeys(values) }),
  async run({ positionals, admin, result }) {
    none(positionals)
    const done = await admin.endpoints.reseal()
    result(`${done.resealed} secrets are sealed anew`, done)
    if (done.unreadable.length === 0) return
    throw new Failure('secret_unreadable', `sealed with a key that is not there: ${done.unreadable.join(', ')}`)
  },
})

function changesOf({ event, kind, tenant, description }: ValuesOf<typeof whatOptions>): EndpointChanges {
  const wrong = event?.find(name => !(JOB_EVENTS as readonly string[]).includes(name))
  if (wrong !== undefined) throw new UsageError(`--event takes one of ${JOB_EVENTS.join(', ')}, not "${wrong}"`)
  return {
    ...(event && { events: event as JobEvent[] }),
    ...(kind && { kinds: kind }),
    ...(tenant !== undefined && { tenant }),
    ...(description !== undefined && { description }),
  }
}

function signatureOf({ signature }: ValuesOf<typeof signatureOption>): 'v1' | 'v1a' | undefined {
  if (signature === undefined || signature === 'v1' || signature === 'v1a') return signature
  throw new UsageError(`--signature takes v1 or v1a, not "${signature}"`)
}

/** So that it can be piped into a secret store. */
function shown(endpoint: EndpointWithSecret, { result, progress }: Pick<Run<Options>, 'result' | 'progress'>): void {
  const { name, url, secret, public_key: publicKey, secrets } = endpoint
  const before = secrets.length - 1
  progress(`${name}, ${url}: ${secret ? 'its secret is shown this one time' : 'receivers verify with its public key'}`)
  if (before > 0)
    progress(`${before} before it ${before === 1 ? 'signs' : 'sign'} along until ${secrets[1]?.expires_at}`)
  if (!secrets[0]?.sealed) progress('The database has it as it is: see millrace keys sealing')
  result(secret ?? publicKey ?? '', endpoint)
}
