// Webhook endpoints of the run: declared for the engine, and known to those who answer for them and to the audit.

import {
  deriveSealingKeyring,
  generateWebhookKeyPair,
  generateWebhookSecret,
  type Keyring,
  seal,
} from 'millrace/protocol'

const ENDS = ['completed', 'failed', 'cancelled'] as const
export const TENANTS = ['a', 'b'] as const

export interface Endpoint {
  readonly name: string
  readonly tenant?: (typeof TENANTS)[number]
  readonly kinds?: readonly string[]
  readonly events: readonly string[]
  readonly signature?: 'v1a'
  /** At an origin of its own, which is slowed down without the others. */
  readonly shaky?: true
  /** What it makes of a delivery, and how often. */
  readonly moods: Readonly<Record<string, number>>
}

export const ENDPOINTS: readonly Endpoint[] = [
  {
    name: 'chaos',
    kinds: ['sync_0', 'callback_1'],
    events: ENDS,
    moods: { takes: 75, 'error 500': 10, resets: 5, 'takes and resets': 5 },
  },
  {
    name: 'a steady',
    tenant: 'a',
    events: [...ENDS, 'retried', 'rescued', 'waiting'],
    moods: { takes: 90, 'error 500': 5, 'error 502': 0.3, hangs: 0.3 },
  },
  {
    name: 'a gone',
    tenant: 'a',
    kinds: ['sync_1', 'waits_0', 'waits_1'],
    events: ENDS,
    signature: 'v1a',
    shaky: true,
    moods: { takes: 75, 'error 410': 5 },
  },
  {
    name: 'b slow',
    tenant: 'b',
    events: ENDS,
    shaky: true,
    moods: { takes: 60, hangs: 1, 'error 429': 4, 'error 500': 10, 'takes and resets': 5 },
  },
  // Operators switch it off, too.
  { name: 'b off', tenant: 'b', events: [...ENDS, 'retried'], shaky: true, moods: { takes: 50, 'error 500': 50 } },
]

export interface Signing {
  /** What signs, as it is declared: sealed under the root key for some. */
  readonly declared: string
  /** What verifies. */
  readonly verifies: string
}

/** New secrets for all of them, by their names. */
export async function newSecrets(root: Keyring): Promise<Readonly<Record<string, Signing>>> {
  const sealing = deriveSealingKeyring(root)
  const entries = ENDPOINTS.map(async ({ name, tenant, signature }) => {
    const pair = signature && (await generateWebhookKeyPair())
    const secret = pair?.privateKey ?? generateWebhookSecret()
    const declared = tenant === undefined ? secret : await seal(sealing, name, secret)
    return [name, { declared, verifies: pair?.publicKey ?? secret }] as const
  })
  return Object.fromEntries(await Promise.all(entries))
}

export const pathOf = (name: string): string => `/${encodeURIComponent(name)}`
