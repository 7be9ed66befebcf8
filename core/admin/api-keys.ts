// Keys of the API that the database keeps: made, listed, rotated, revoked.

import { generateApiKey, type Scope, storedApiKey } from '../api-key.ts'
import { checkId, type Id } from '../job-id.ts'
import { arrayLiteral } from '../sql.ts'
import type { Calls, Page, PageOptions } from './calls.ts'

export interface NewApiKey {
  /** 1 to 100 characters, of one key at a time: it stands in the audit log. */
  readonly name: string
  readonly scopes: readonly Scope[]
  /** It may do with this tenant's jobs and endpoints only. */
  readonly tenant?: string | undefined
  /** It is good for ever unless given. */
  readonly expiresSeconds?: number | undefined
}

/** Times are ISO 8601. */
export interface ApiKeyView {
  readonly id: number
  readonly name: string
  /** How it begins. */
  readonly hint: string
  readonly scopes: readonly Scope[]
  readonly tenant: string | null
  readonly created_at: string
  readonly created_by: string
  readonly expires_at: string | null
  readonly expired: boolean
  /** To the hour. */
  readonly used_at: string | null
}

/** With the key itself, this one time. */
export interface ApiKeyWithSecret extends ApiKeyView {
  readonly key: string
}

export class ApiKeys {
  readonly #calls: Calls

  constructor(calls: Calls) {
    this.#calls = calls
  }

  /** @throws {MillraceError} `invalid_request`, `api_key_exists` */
  async create({ name, scopes, tenant, expiresSeconds }: NewApiKey): Promise<ApiKeyWithSecret> {
    const key = generateApiKey()
    const { hash, hint } = storedApiKey(key)
    const call = 'api_key_create($1::text, $2::text, $3::text, $4::text::text[], $5::text, $6::text::float8, $7::text)'
    const params = [name, hash, hint, arrayLiteral(scopes), tenant ?? null, expiresSeconds ?? null, this.#calls.by]
    return { ...((await this.#calls.value(call, params)) as ApiKeyView), key }
  }

  /**
   * Another key with the same name and rights; the one before is good for `graceSeconds` more, a day unless given. Undefined:
   * there is none, or it has expired.
   *
   * @throws {MillraceError} `invalid_request`
   */
  async rotate(id: Id, { graceSeconds = 86_400 }: { readonly graceSeconds?: number | undefined } = {}) {
    const key = generateApiKey()
    const { hash, hint } = storedApiKey(key)
    const call = 'api_key_rotate($1::text::bigint, $2::text, $3::text, $4::text::float8, $5::text)'
    const made = await this.#calls.value<ApiKeyView>(call, [checkId(id), hash, hint, graceSeconds, this.#calls.by])
    return made && { ...made, key }
  }

  /** For good. Processes that serve the API may take it for another ten seconds. False: there is none. */
  async revoke(id: Id): Promise<boolean> {
    const params = [checkId(id), this.#calls.by]
    return (await this.#calls.value<boolean>('api_key_revoke($1::text::bigint, $2::text)', params)) ?? false
  }

  /** Undefined: there is none. */
  async get(id: Id): Promise<ApiKeyView | undefined> {
    return this.#calls.value('get_api_key($1::text::bigint)', [checkId(id)])
  }

  /** One page, newest first; expired ones stay on it for 30 days. @throws {MillraceError} `invalid_request` */
  async list({ limit, cursor }: PageOptions = {}): Promise<Page<ApiKeyView>> {
    const call = 'list_api_keys($1::text, $2::text::int)'
    return (await this.#calls.value(call, [cursor ?? null, limit ?? null])) as Page<ApiKeyView>
  }
}
