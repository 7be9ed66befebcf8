// Identity tokens of the service account that a machine, a container or a function on Google Cloud runs as.

import type { IdentityTokens } from '../../core/dispatch/authorize.ts'
import { answerFrom, cachedTokens } from './token-cache.ts'

export interface MetadataOptions {
  /** `http://metadata.google.internal` unless given. */
  readonly baseUrl?: string | undefined
  readonly fetch?: typeof fetch | undefined
}

const FLAVOR = { 'metadata-flavor': 'Google' }

/** From the platform's metadata server (https://cloud.google.com/compute/docs/instances/verifying-instance-identity). */
export function metadataTokens({ baseUrl, fetch: fetchIt = fetch }: MetadataOptions = {}): IdentityTokens {
  const path = '/computeMetadata/v1/instance/service-accounts/default/identity'
  const url = new URL(path, baseUrl ?? 'http://metadata.google.internal').href
  return cachedTokens(async audience => {
    const query = new URLSearchParams({ audience, format: 'full' })
    const answer = await answerFrom(`${url}?${query}`, { headers: FLAVOR }, fetchIt)
    // Whatever else sits at that address does not say this of itself.
    if (answer.headers.get('metadata-flavor') !== 'Google')
      throw new Error(`${new URL(url).host} is no metadata server`)
    return (await answer.text()).trim()
  })
}
