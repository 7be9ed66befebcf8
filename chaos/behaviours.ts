// What a hostile function may do with a dispatch, and how likely each of it is.

import type { IncomingMessage, ServerResponse } from 'node:http'
import { setTimeout as wait } from 'node:timers/promises'
import type { Callbacks } from './callback-client.ts'
import type { Random } from './random.ts'

export interface Scene {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly random: Random
  /** About to say by an answer that the attempt is done; answers the result to send. */
  readonly done: () => object
  readonly callbacks: Callbacks
  /** The body of the wait that this attempt should end with, if any. */
  readonly wanted?: object | undefined
  /** Sends the event for which it waits then. */
  readonly sendEvent?: () => Promise<void>
}

type Act = (scene: Scene) => unknown

/** Weights: about two thirds of the calls go well. */
export type Repertoire = Readonly<Record<string, { readonly weight: number; readonly act: Act }>>

export const answer = ({ response }: Scene, status: number, body: object | string = {}, headers: object = {}) => {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(text)
}
export const reset = ({ request }: Scene) => request.socket.resetAndDestroy()
const crash = () => process.kill(process.pid, 'SIGKILL')
const text = { 'content-type': 'text/plain' }
const HUGE = 1_200_000

/** Longer than every time-out of the kinds. */
export const PAST_ALL_MS = 3_500

/** Answers that mean the same in both modes, and ways to give none. */
export const COMMON: Repertoire = {
  hang: { weight: 3, act: () => undefined },
  reset: { weight: 4, act: reset },
  crash: { weight: 0.4, act: crash },
  'not HTTP': { weight: 2, act: ({ request }) => request.socket.end('\0\xff what?\r\n\r\n') },
  'half an answer': {
    weight: 2,
    act: scene => {
      scene.response.writeHead(500, { 'content-length': '100' }).write('half')
      setTimeout(() => reset(scene), 50)
    },
  },
  'error 500': { weight: 4, act: scene => answer(scene, 500, 'broken\0\ud800', text) },
  'error 503': { weight: 2, act: scene => answer(scene, 503) },
  'final 404': { weight: 1, act: scene => answer(scene, 404) },
  'final 500': { weight: 0.5, act: scene => answer(scene, 500, {}, { 'millrace-no-retry': 'true' }) },
  'huge error': { weight: 1, act: scene => answer(scene, 500, 'x'.repeat(HUGE), text) },
}

/** Rare: each of them stops a whole origin for a second. */
const THROTTLES: Repertoire = {
  'throttle 429': { weight: 0.15, act: scene => answer(scene, 429, {}, { 'retry-after': '1' }) },
  'throttle 503': { weight: 0.15, act: scene => answer(scene, 503, {}, { 'retry-after': '1' }) },
}

export const SYNC: Repertoire = {
  ...COMMON,
  ...THROTTLES,
  good: { weight: 60, act: scene => answer(scene, 200, scene.done()) },
  slow: {
    weight: 5,
    act: async scene => {
      await wait(scene.random.int(100, 700))
      answer(scene, 200, scene.done())
    },
  },
  'too late': {
    weight: 2,
    act: async scene => {
      await wait(PAST_ALL_MS)
      answer(scene, 200, scene.done())
    },
  },
  'done and reset': {
    weight: 3,
    act: async scene => {
      answer(scene, 200, scene.done())
      await wait(scene.random.int(0, 2))
      reset(scene)
    },
  },
  'huge result': { weight: 1, act: scene => answer(scene, 200, { ...scene.done(), huge: 'x'.repeat(HUGE) }) },
  'broken JSON': {
    weight: 2,
    act: scene => {
      scene.done()
      answer(scene, 200, '{"nonce":')
    },
  },
  'JSON Postgres cannot hold': { weight: 1, act: scene => answer(scene, 200, { ...scene.done(), no: '\0' }) },
}

export const accept = (scene: Scene) => answer(scene, 202, { accepted: true })

export const CALLBACK: Repertoire = {
  ...COMMON,
  ...THROTTLES,
  good: {
    weight: 45,
    act: async scene => {
      accept(scene)
      await wait(scene.random.int(0, 400))
      await scene.callbacks.complete()
    },
  },
  'calls back before it answers': {
    weight: 6,
    act: async scene => {
      await scene.callbacks.complete()
      accept(scene)
    },
  },
  'calls back while it answers': {
    weight: 6,
    act: scene => {
      accept(scene)
      return scene.callbacks.complete()
    },
  },
  'calls back twice': {
    weight: 5,
    act: async scene => {
      accept(scene)
      await Promise.all([scene.callbacks.complete(), scene.callbacks.complete()])
      await scene.callbacks.complete()
    },
  },
  'contradicts itself': {
    weight: 5,
    act: async scene => {
      accept(scene)
      const says = [scene.callbacks.complete, () => scene.callbacks.fail({ retryable: scene.random.chance(0.5) })]
      await Promise.all((scene.random.chance(0.5) ? says : says.toReversed()).map(say => say()))
    },
  },
  'calls back late': {
    weight: 4,
    act: async scene => {
      accept(scene)
      // About when it is given up, or long after.
      await wait(scene.random.chance(0.7) ? scene.random.int(1_900, 2_600) : PAST_ALL_MS)
      await scene.callbacks.complete()
    },
  },
  'calls back after a reset': {
    weight: 3,
    act: async scene => {
      reset(scene)
      await wait(scene.random.int(0, 2_000))
      await scene.callbacks.complete()
    },
  },
  'calls back after an error': {
    weight: 2,
    act: async scene => {
      answer(scene, 500)
      await wait(scene.random.int(0, 300))
      await scene.callbacks.complete()
    },
  },
  'hangs, and calls back': {
    weight: 2,
    act: async scene => {
      await wait(scene.random.int(0, 1_500))
      await scene.callbacks.complete()
    },
  },
  'heartbeats, and is done': {
    weight: 4,
    act: async scene => {
      accept(scene)
      for (let beats = scene.random.int(1, 4); beats > 0; beats--) {
        await scene.callbacks.heartbeat(1.5)
        await wait(700)
      }
      await scene.callbacks.complete()
    },
  },
  'heartbeats, and falls silent': {
    weight: 2,
    act: async scene => {
      accept(scene)
      await scene.callbacks.heartbeat(1)
    },
  },
  'falls silent': { weight: 3, act: accept },
  'fails for now': {
    weight: 4,
    act: async scene => {
      accept(scene)
      await scene.callbacks.fail({ retryable: true })
    },
  },
  'fails for good': {
    weight: 1,
    act: async scene => {
      accept(scene)
      await scene.callbacks.fail({})
    },
  },
  'asks for later': {
    weight: 2,
    act: async scene => {
      accept(scene)
      await scene.callbacks.fail({ retryable: true, retry_after_seconds: 1 })
    },
  },
}

/** Its name, or `good` in a function that behaves. */
export function choose(repertoire: Repertoire, random: Random, healthy: boolean): string {
  if (healthy) return 'good'
  return random.weighted(Object.fromEntries(Object.entries(repertoire).map(([name, { weight }]) => [name, weight])))
}
