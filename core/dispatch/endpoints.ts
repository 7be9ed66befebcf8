// Webhook endpoints as deliveries need them: there may be very many, so they are looked up by name when something is to be
// delivered, those of a moment in one statement, and kept for a while.

import type { EndpointRow } from '../delivery-report.ts'
import { grouped } from '../grouping.ts'
import type { Keyring } from '../protocol/keyring.ts'
import { unseal } from '../protocol/sealing.ts'
import type { SqlEngine } from '../sql-engine.ts'

/** Where deliveries go, and the secrets that sign them; without any, none that is needed can be read. */
export interface Endpoint extends Pick<EndpointRow, 'name' | 'url' | 'tenant'> {
  readonly secrets: readonly string[]
  readonly disabled: string | undefined
}

interface Kept {
  readonly endpoint: Promise<Endpoint | undefined>
  readonly at: number
}

/** Secrets that sign for a grace period only stop in time, whatever else is kept for longer. */
const KEPT_MS = 30_000
const MOST_KEPT = 10_000

export class Endpoints {
  readonly #lookUp: (name: string) => Promise<EndpointRow | undefined>
  readonly #sealingKeys: Keyring
  #kept = new Map<string, Kept>()

  constructor(engine: SqlEngine, sealingKeys: Keyring) {
    this.#sealingKeys = sealingKeys
    this.#lookUp = grouped(names => lookUpAll(engine, names), { key: name => name, isItemsFault: () => false })
  }

  /** Undefined: there is none of this name. Rejects when the database does not answer. */
  of(name: string): Promise<Endpoint | undefined> {
    const kept = this.#kept.get(name)
    if (kept !== undefined && performance.now() - kept.at < KEPT_MS) return kept.endpoint
    const endpoint = this.#read(name)
    if (this.#kept.size >= MOST_KEPT) this.#kept.clear()
    this.#kept.set(name, { endpoint, at: performance.now() })
    const forgetMissing = () => {
      if (this.#kept.get(name)?.endpoint === endpoint) this.#kept.delete(name)
    }
    endpoint.then(found => found ?? forgetMissing(), forgetMissing)
    return endpoint
  }

  /** They may have changed. What is being looked up is used, and not kept. */
  forget(): void {
    this.#kept = new Map()
  }

  async #read(name: string): Promise<Endpoint | undefined> {
    const row = await this.#lookUp(name)
    if (row === undefined) return undefined
    const read = await Promise.all(
      row.secrets.map(secret => unseal(this.#sealingKeys, name, secret).catch(() => undefined)),
    )
    // Without the newest one, whoever has only that could verify nothing. An older one was to go anyway.
    const secrets = read[0] === undefined ? [] : read.filter(secret => secret !== undefined)
    return {
      name,
      tenant: row.tenant,
      url: row.url,
      disabled: row.disabled_reason ?? undefined,
      secrets: [...new Set(secrets)],
    }
  }
}

async function lookUpAll(engine: SqlEngine, names: readonly string[]): Promise<(EndpointRow | undefined)[]> {
  const rows = new Map((await engine.deliveryRoutes(names)).map(row => [row.name, row]))
  return names.map(name => rows.get(name))
}
