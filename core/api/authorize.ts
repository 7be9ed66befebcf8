// Who may call a route: the key that a request brings, its scope, and whose tenant it is of.

import { apiKeyHash } from '../api-key.ts'
import { translatingErrors } from '../database-errors.ts'
import { quoteIdentifier } from '../sql.ts'
import type { ApiKeyCache, FoundKey } from './key-cache.ts'
import { type ApiKey, type ConfiguredKey, configuredKey, presentedToken } from './keys.ts'
import { Problem, unauthorized } from './problem.ts'
import type { Route, Services } from './route.ts'

/** Answers the key. @throws {Problem} 401 without a right one, 403 when it may not do this */
export type Authorize = (header: string | undefined, route?: Route) => Promise<ApiKey>

export const authorizing =
  (configured: readonly ConfiguredKey[], cache: ApiKeyCache, { sql, schema }: Services): Authorize =>
  async (header, route) => {
    const token = presentedToken(header)
    if (token === undefined) throw unauthorized()
    const key = configuredKey(configured, apiKeyHash(token)) ?? (await cache.find(token, lookUp))
    if (key === undefined) throw unauthorized()
    if (route !== undefined) allow(key, route)
    return key

    async function lookUp(hash: string): Promise<FoundKey | undefined> {
      const statement = `select ${quoteIdentifier(schema)}.api_key_by_hash($1::text) as found`
      const [row] = await translatingErrors(() => sql.query<{ found: FoundKey | null }>(statement, [hash]))
      return row?.found ?? undefined
    }
  }

/** A route that does not say how it treats tenants is not for them. */
function allow({ scopes, tenant }: ApiKey, { scope, tenants }: Route): void {
  if (scope && !scopes.has(scope)) throw new Problem('forbidden', `This key lacks the scope ${scope}`)
  if (tenant !== undefined && tenants === undefined) throw new Problem('forbidden', 'This key is of one tenant')
}
