// What a job waits for, and what is sent to it: follows from seed and job id, so that its function and the sender agree.

import { type Random, randomFor } from './random.ts'

/** `ok`: the rules of a wait have use for it. */
export interface Sending {
  /** Only once the job waits for it. */
  readonly late: boolean
  readonly afterMs: number
  readonly action: 'event' | 'resume' | 'complete' | 'fail' | 'retry'
  readonly ok: boolean
}

export interface Step {
  readonly name: string
  readonly timeoutSeconds: number
  readonly onTimeout: 'fail' | 'retry' | 'resume'
  readonly rules: Readonly<Record<string, string>>
  readonly sendings: readonly Sending[]
}

/** Waits that last until an event comes; others time out soon. */
export const PATIENT_SECONDS = 600
const NAMES = ['payment', 'approved by somebody/ünusual', 'third'] as const
/** Sent to jobs at their beginning, or long after they have asked. */
const LATEST_MS = 8_000

export function planOf(seed: string | number, job: string): readonly Step[] {
  const random = randomFor(seed, 'waits', job)
  const count = random.weighted({ one: 5, two: 4, three: 1 })
  return NAMES.slice(0, { one: 1, two: 2, three: 3 }[count]).map(name => stepOf(name, random))
}

function stepOf(name: string, random: Random): Step {
  const patient = random.chance(0.65)
  const ruled = random.chance(0.4)
  const sending = (latest: number): Sending => ({
    late: random.chance(0.4),
    afterMs: random.int(0, latest),
    action: random.weighted({ event: 75, resume: 15, complete: 5, fail: 3, retry: 4 }),
    ok: true,
  })
  const sendings = patient ? [sending(LATEST_MS)] : random.chance(0.5) ? [sending(3_000)] : []
  const again = sendings.filter(() => random.chance(0.25)).map(one => ({ ...one, afterMs: one.afterMs + 300 }))
  const useless: Sending[] = ruled && random.chance(0.5) ? [{ ...sending(LATEST_MS), action: 'event', ok: false }] : []
  return {
    name,
    timeoutSeconds: patient ? PATIENT_SECONDS : random.int(3, 25) / 10,
    onTimeout: random.pick(['fail', 'retry', 'resume'] as const),
    rules: ruled
      ? { filter: 'payload.ok == true', ...(random.chance(0.5) && { transform: '{"nonce": payload.nonce}' }) }
      : {},
    sendings: [...sendings, ...again, ...useless],
  }
}
