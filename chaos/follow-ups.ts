// What follows the jobs of the run: declared for the engine, and known to the audit.

/** The kind of most jobs that follow others. */
export const FOLLOWING = 'noted'

const EVENTS = ['completed', 'retried', 'failed', 'cancelled', 'rescued', 'waiting'] as const

export interface FollowUp {
  readonly name: string
  /** Every kind, unless given; then what follows something itself is not followed. */
  readonly kinds?: readonly string[]
  readonly events: readonly string[]
  readonly job: object
  /** Cannot be built, which must not be in anybody's way. */
  readonly broken?: true
}

const told = { job: { $path: '$.job_id' }, state: { $path: '$.state' }, missing: { $path: '$.nowhere', default: null } }

export const FOLLOW_UPS: readonly FollowUp[] = [
  { name: 'all', kinds: ['callback_0', 'waits_0'], events: EVENTS, job: { kind: FOLLOWING, args: told } },
  { name: 'ends', events: ['failed', 'cancelled'], job: { kind: FOLLOWING, delay_seconds: 1 } },
  {
    name: 'broken',
    kinds: ['callback_0'],
    events: ['retried', 'failed'],
    job: { kind: FOLLOWING, args: { never: { $path: '$.nowhere' } } },
    broken: true,
  },
]

/** As a manifest has them. */
export const declaredFollowUps = (): object[] =>
  FOLLOW_UPS.map(({ name, kinds, events, job }) => ({ name, ...(kinds && { kinds }), events, job }))
