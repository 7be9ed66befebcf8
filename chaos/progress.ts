// What a job that waits for events brings along, as its function sees it and as it is on record.

import type { Step } from './plans.ts'

/** What a job brings along: the events it went on with (their nonces), and the checkpoint. */
export interface Seen {
  readonly checkpoint: string | null
  readonly events: Readonly<Record<string, string | null>>
}

/** As it stands in a dispatch, and in the engine's tables. */
export interface Progress {
  readonly metadata?: { readonly checkpoint?: string } | null
  readonly events?: Readonly<
    Record<string, { readonly payload?: { nonce?: string } | null; readonly timed_out?: boolean }>
  >
}

/** In place of the nonce of an event that did not come. */
export const TIMED_OUT = 'timed out'

export const seenIn = (progress: Progress | null | undefined): Seen => ({
  checkpoint: progress?.metadata?.checkpoint ?? null,
  events: Object.fromEntries(
    Object.entries(progress?.events ?? {}).map(([name, { payload, timed_out }]) => [
      name,
      timed_out ? TIMED_OUT : (payload?.nonce ?? null),
    ]),
  ),
})

/** The next one, or none: then there is nothing left to wait for. */
export const nextStep = (plan: readonly Step[], { events }: Seen): Step | undefined =>
  plan.find(({ name }) => !Object.hasOwn(events, name))

/** What the next attempt must bring along. */
export const checkpointOf = (name: string, attempt: number): string => `${name}:${attempt}`
