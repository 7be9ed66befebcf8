// Replaces the root key as operators do: a keyring with the new key for everybody, one by one, and then one in which it signs.

import type { Cast } from './cast.ts'
import { pause } from './monkey.ts'

/** After these parts of the run. */
const BEGINS = [0.2, 0.5] as const
const LOOK_MS = 50

export async function rotateKeys(
  cast: Cast,
  seconds: number,
  events: Record<string, number>,
  until: AbortSignal,
): Promise<void> {
  const began = performance.now()
  for (const [nth, part] of BEGINS.entries()) {
    await pause(Math.max(0, part * seconds * 1000 - (performance.now() - began)), until)
    if (until.aborted) return
    cast.keyrings.advance()
    await renewAll(cast, until)
    if (until.aborted) return
    events[nth === 0 ? 'keysAdded' : 'keysActivated'] = 1
  }
}

/** Whoever others have ended meanwhile has begun again with it. */
async function renewAll({ maintenance, ingresses, functions, keyrings }: Cast, until: AbortSignal): Promise<void> {
  for (const member of [...maintenance, ...functions, ...ingresses]) {
    if (keyrings.isUpToDate(member.name)) continue
    member.signal(functions.includes(member) ? 'SIGKILL' : 'SIGTERM')
    while (!keyrings.isUpToDate(member.name) && !until.aborted) await pause(LOOK_MS, until)
    if (until.aborted) return
  }
}
