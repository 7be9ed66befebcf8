// What is declared to the engine: kinds and where they are called, queues, a schedule, follow-ups and webhook endpoints.

import { ENDPOINTS, pathOf, type Signing } from './endpoints.ts'
import { declaredFollowUps, FOLLOWING } from './follow-ups.ts'

/** Two of each mode, one at each function service. */
const KINDS = ['sync_0', 'sync_1', 'callback_0', 'callback_1'] as const
/** The same of jobs that wait for events: in callback mode, and in sync mode. */
const WAITING = { waits_0: 'callback', waits_1: 'sync' } as const

/** What producers enqueue, and how often. */
export const ENQUEUED = { sync_0: 3, sync_1: 3, callback_0: 3, callback_1: 3, waits_0: 2, waits_1: 2 } as const

/** Whatever happens, none of its occurrences is missed, and none comes twice. */
export const EVERY_SECOND = {
  name: 'every second',
  expression: '* * * * * *',
  kind: 'sync_1',
  missed: 'catch_up',
  overlap: 'allow',
}

/** Functions by their number; endpoints that are steady, and others. */
export interface Addresses {
  readonly functions: readonly string[]
  readonly endpoints: readonly [steady: string, shaky: string]
}

export function manifestOf(addresses: Addresses, secrets: Readonly<Record<string, Signing>>): object {
  return {
    kinds: kinds(addresses.functions),
    queues: [
      { name: 'queue_0', weight: 2 },
      { name: 'queue_1', shards: 3 },
      { name: 'queue_2', max_running: 20, rate: 100 },
    ],
    schedules: [EVERY_SECOND],
    follow_ups: declaredFollowUps(),
    subscriptions: ENDPOINTS.map(({ name, tenant, kinds, events, signature, shaky }) => ({
      ...{ name, events, secret: secrets[name]?.declared },
      ...(tenant && { tenant }),
      ...(kinds && { kinds }),
      ...(signature && { signature }),
      url: addresses.endpoints[shaky ? 1 : 0] + pathOf(name),
    })),
  }
}

type Mode = 'sync' | 'callback'

function kinds(functionUrls: readonly string[]): object[] {
  const of = (name: string, mode: Mode, path: string, nth: number, more: object = {}) => ({
    name,
    queue: `queue_${nth}`,
    max_attempts: 8,
    ...more,
    retry: { strategy: 'fixed', base_seconds: 0.3, jitter: 0.5 },
    target: {
      url: `${functionUrls[nth]}/${path}`,
      mode,
      request_timeout_seconds: 1,
      ...(mode === 'callback' && { callback_timeout_seconds: 2 }),
    },
  })
  const limited = { time_limit_seconds: 4 }
  return [
    ...KINDS.map(name => {
      const [mode, nth] = name.split('_') as [Mode, string]
      return of(name, mode, mode, Number(nth), name === 'callback_1' ? limited : {})
    }),
    // No time limit ends a wait.
    ...Object.entries(WAITING).map(([name, mode], nth) => of(name, mode, `waits-${mode}`, nth, limited)),
    of(FOLLOWING, 'sync', 'sync', 1),
  ]
}
