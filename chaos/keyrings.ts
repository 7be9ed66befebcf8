// The root keyrings of the run: everybody begins with one key, and a second one replaces it in two steps.

import { activateKey, addKey, generateKeyring, type Keyring, type SigningKey } from 'millrace/protocol'

export interface Keyrings {
  readonly first: Keyring
  /** What a process that is started now gets. */
  take(member: string): Keyring
  /** From now on processes get the keyring of the next step. */
  advance(): void
  /** Whether a process has been started since the last step. */
  isUpToDate(member: string): boolean
  /** Keys under which something was signed, or may be from now on. */
  signing(): readonly SigningKey[]
}

export function newKeyrings(): Keyrings {
  const first = generateKeyring('old')
  const both = addKey(first, 'new')
  const steps = [first, both, activateKey(both)] as const
  const taken = new Map<string, number>()
  let step = 0
  return {
    first,
    take(member) {
      taken.set(member, step)
      return steps[step] as Keyring
    },
    advance: () => {
      step = Math.min(step + 1, steps.length - 1)
    },
    isUpToDate: member => taken.get(member) === step,
    signing: () => [...first.keys, ...(step === 2 ? steps[2].keys.slice(0, 1) : [])],
  }
}
