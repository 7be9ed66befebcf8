// Webhook endpoints, as operators keep them beside those that manifests declare.

import { MillraceError } from '../errors.ts'
import type { JobEvent } from '../follow-up.ts'
import { checkId, type Id } from '../job-id.ts'
import type { Keyring } from '../protocol/keyring.ts'
import { seal, unseal } from '../protocol/sealing.ts'
import { generateWebhookSecret } from '../protocol/webhook.ts'
import { generateWebhookKeyPair } from '../protocol/webhook-ed25519.ts'
import type { TargetGuard } from '../target-guard.ts'
import type { Calls, Page, PageOptions } from './calls.ts'
import { checkEndpointUrl } from './endpoint-url.ts'

export interface EndpointChanges {
  /** Absolute `http(s)` URL. Another one is given a fresh chance. */
  readonly url?: string
  /** Only jobs of this tenant (`metadata.tenant`) are told of; null: of every one. */
  readonly tenant?: string | null
  /** Names; null: every kind. */
  readonly kinds?: readonly string[] | null
  readonly events?: readonly JobEvent[]
  readonly description?: string | null
}

export interface SecretOptions {
  /** `whsec_…` or `whsk_…`; a random one, unless given. */
  readonly secret?: string
  /** Which sort of secret to make: v1 (HMAC-SHA256) unless given, or v1a (Ed25519). */
  readonly signature?: 'v1' | 'v1a'
}

export interface NewEndpoint extends EndpointChanges, SecretOptions {
  /** 1 to 200 characters. */
  readonly name: string
  readonly url: string
}

/** Times are ISO 8601. */
export interface EndpointView {
  readonly name: string
  readonly tenant: string | null
  readonly kinds: readonly string[] | null
  readonly events: readonly JobEvent[]
  readonly url: string
  readonly signature: 'v1' | 'v1a'
  readonly description: string | null
  /** The manifest that declares it, and where it is changed; null: made here. */
  readonly source: string | null
  readonly state: 'enabled' | 'failing' | 'disabled'
  readonly created_at: string
  /** Nothing has got through since. */
  readonly failing_since: string | null
  readonly disabled_at: string | null
  /** `gone`: it answered 410; `failing`: nothing has got through for too long. */
  readonly disabled_reason: 'operator' | 'gone' | 'failing' | null
  readonly last_success_at: string | null
  readonly last_failure_at: string | null
  /** Those that sign, the newest first. */
  readonly secrets: readonly {
    readonly created_at: string
    readonly expires_at: string | null
    readonly sealed: boolean
  }[]
}

/** With what its receiver has to be given, this one time. */
export interface EndpointWithSecret extends EndpointView {
  /** The secret that was made, of an endpoint with v1. */
  readonly secret?: string
  /** `whpk_…` that was made, of an endpoint with v1a. */
  readonly public_key?: string
}

export interface EndpointFilter {
  readonly tenant?: string | undefined
  readonly source?: string | undefined
  readonly state?: EndpointView['state'] | undefined
}

export interface EndpointRules {
  /** With them secrets are sealed on their way into the database. */
  readonly sealingKeys?: Keyring | undefined
  /** With it URLs are refused that show where nothing will be sent. */
  readonly guard?: TargetGuard | undefined
}

interface StoredSecret {
  readonly id: number
  readonly endpoint: string
  readonly secret: string
}

export class Endpoints {
  readonly #calls: Calls
  readonly #rules: EndpointRules

  constructor(calls: Calls, rules: EndpointRules = {}) {
    this.#calls = calls
    this.#rules = rules
  }

  /** @throws {MillraceError} `invalid_endpoint`, `endpoint_exists` */
  async create({
    name,
    url,
    tenant,
    kinds,
    events,
    description,
    ...options
  }: NewEndpoint): Promise<EndpointWithSecret> {
    checkEndpointUrl(url, this.#rules.guard)
    const { text, signature, made } = await this.#secret(name, options)
    const call = `endpoint_create($1::text, $2::text, $3::text, $4::text, ${texts('$5')}, ${texts('$6')}, $7::text, $8::text, $9::text)`
    const params = [
      name,
      url,
      text,
      tenant ?? null,
      list(kinds),
      list(events),
      signature,
      description ?? null,
      this.#calls.by,
    ]
    return { ...((await this.#calls.value(call, params)) as EndpointView), ...made }
  }

  /** Undefined: there is none. @throws {MillraceError} `invalid_endpoint`, `endpoint_declared` */
  async update(name: string, changes: EndpointChanges): Promise<EndpointView | undefined> {
    if (changes.url !== undefined) checkEndpointUrl(changes.url, this.#rules.guard)
    return this.#calls.value('endpoint_update($1::text, $2::text::jsonb, $3::text)', [
      name,
      JSON.stringify(changes),
      this.#calls.by,
    ])
  }

  /** With its secrets; what is on its way to it becomes dead letters. False: there is none. @throws {MillraceError} `endpoint_declared` */
  async delete(name: string): Promise<boolean> {
    return (await this.#calls.value<boolean>('endpoint_delete($1::text, $2::text)', [name, this.#calls.by])) ?? false
  }

  /**
   * From now on another secret signs; those before sign along for `graceSeconds` (a day). Undefined: there is no such endpoint.
   *
   * @throws {MillraceError} `invalid_endpoint`, `endpoint_declared`
   */
  async rotate(
    name: string,
    { graceSeconds = 86_400, ...options }: SecretOptions & { readonly graceSeconds?: number } = {},
  ): Promise<EndpointWithSecret | undefined> {
    const { signature: before } = (await this.get(name)) ?? {}
    if (before === undefined) return undefined
    const sort = options.secret === undefined ? { signature: before } : {}
    const { text, signature, made } = await this.#secret(name, { ...sort, ...options })
    const call = 'endpoint_rotate($1::text, $2::text, $3::text::float8, $4::text, $5::text)'
    const view = await this.#calls.value<EndpointView>(call, [name, text, graceSeconds, signature, this.#calls.by])
    return view && { ...view, ...made }
  }

  /** Forgives what was; undefined: there is none. */
  async enable(name: string): Promise<EndpointView | undefined> {
    return this.#calls.value('endpoint_enable($1::text, $2::text)', [name, this.#calls.by])
  }

  /** From now on deliveries become dead letters, unsent; undefined: there is none. */
  async disable(name: string): Promise<EndpointView | undefined> {
    return this.#calls.value('endpoint_disable($1::text, $2::text)', [name, this.#calls.by])
  }

  /** Sends a `webhook.test`, once; answers the delivery's job. Undefined: there is none. @throws {MillraceError} `endpoint_disabled` */
  async test(name: string): Promise<number | undefined> {
    return asNumber(await this.#calls.value<Id>('endpoint_test($1::text, $2::text)', [name, this.#calls.by]))
  }

  async get(name: string): Promise<EndpointView | undefined> {
    return this.#calls.value('get_endpoint($1::text)', [name])
  }

  /** One page, by name. @throws {MillraceError} `invalid_request` */
  async list(filter: EndpointFilter = {}, { limit, cursor }: PageOptions = {}): Promise<Page<EndpointView>> {
    const call = 'list_endpoints($1::text::jsonb, $2::text, $3::text::int)'
    return (await this.#calls.value(call, [
      JSON.stringify(filter),
      cursor ?? null,
      limit ?? null,
    ])) as Page<EndpointView>
  }

  /**
   * Seals every secret with the first of the sealing keys that is not yet: after a rotation of the root keys, before the old one
   * goes, and where secrets were kept as they are. Changes nothing for receivers. `unreadable`: endpoints of which a secret
   * was sealed with a key that is not among them.
   *
   * @throws {MillraceError} `invalid_configuration` without sealing keys
   */
  async reseal(): Promise<{ readonly resealed: number; readonly unreadable: readonly string[] }> {
    const { sealingKeys } = this.#rules
    if (!sealingKeys) throw new MillraceError('invalid_configuration', 'Without sealing keys nothing can be sealed')
    let resealed = 0
    const unreadable = new Set<string>()
    for (const { id, endpoint, secret } of await this.#calls.rows<StoredSecret>('endpoint_secrets()')) {
      const plain = await unseal(sealingKeys, endpoint, secret).catch(() => undefined)
      if (plain === undefined) unreadable.add(endpoint)
      const text = await seal(sealingKeys, endpoint, plain ?? '')
      if (plain === undefined || text === secret) continue
      const params = [id, secret, text, this.#calls.by]
      const call = 'endpoint_reseal($1::text::bigint, $2::text, $3::text, $4::text)'
      if (await this.#calls.value<boolean>(call, params)) resealed++
    }
    return { resealed, unreadable: [...unreadable] }
  }

  /** What goes into the database, and what its maker is told of it. */
  async #secret(name: string, { secret, signature = secret?.startsWith('whsk_') ? 'v1a' : 'v1' }: SecretOptions) {
    const { text, made } = secret === undefined ? await newSecret(signature) : { text: secret, made: {} }
    const { sealingKeys } = this.#rules
    return { signature, made, text: sealingKeys ? await seal(sealingKeys, name, text) : text }
  }
}

async function newSecret(signature: 'v1' | 'v1a'): Promise<{ text: string; made: Partial<EndpointWithSecret> }> {
  if (signature === 'v1a') {
    const { privateKey, publicKey } = await generateWebhookKeyPair()
    return { text: privateKey, made: { public_key: publicKey } }
  }
  const secret = generateWebhookSecret()
  return { text: secret, made: { secret } }
}

/** Of a JSON array, which may be null. */
const texts = (param: string): string =>
  `case when ${param}::text is not null then array(select jsonb_array_elements_text(${param}::text::jsonb)) end`

const list = (names: readonly string[] | null | undefined): string | null => (names ? JSON.stringify(names) : null)

const asNumber = (id: Id | undefined): number | undefined => (id === undefined ? undefined : Number(checkId(id)))
