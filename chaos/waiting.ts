// What a hostile function may do instead of waiting for an event as it should.

import { setTimeout as wait } from 'node:timers/promises'
import { accept, answer, COMMON, PAST_ALL_MS, type Repertoire, reset, type Scene } from './behaviours.ts'
import type { Step } from './plans.ts'
import { checkpointOf } from './progress.ts'

/** The body of the wait. */
export const waitBody = ({ name, timeoutSeconds, onTimeout, rules }: Step, attempt: number): object => ({
  name,
  timeout_seconds: timeoutSeconds,
  on_timeout: onTimeout,
  ...rules,
  progress: { metadata: { checkpoint: checkpointOf(name, attempt) } },
})

const answerToWait = (scene: Scene) => answer(scene, 200, scene.wanted ?? {}, { 'millrace-wait': 'true' })
const ask = (scene: Scene) => scene.callbacks.wait(scene.wanted ?? {})

export const SYNC_WAIT: Repertoire = {
  ...COMMON,
  good: { weight: 60, act: answerToWait },
  slow: {
    weight: 5,
    act: async scene => {
      await wait(scene.random.int(100, 700))
      answerToWait(scene)
    },
  },
  'event comes while it asks': {
    weight: 12,
    act: async scene => {
      answerToWait(scene)
      await wait(scene.random.int(0, 15))
      await scene.sendEvent?.()
    },
  },
  'asks too late': {
    weight: 3,
    act: async scene => {
      await wait(PAST_ALL_MS)
      answerToWait(scene)
    },
  },
  'asks and resets': {
    weight: 5,
    act: async scene => {
      answerToWait(scene)
      await wait(scene.random.int(0, 2))
      reset(scene)
    },
  },
}

export const CALLBACK_WAIT: Repertoire = {
  ...COMMON,
  good: {
    weight: 40,
    act: async scene => {
      accept(scene)
      await wait(scene.random.int(0, 400))
      await ask(scene)
    },
  },
  'answers that it waits': { weight: 10, act: answerToWait },
  'asks before it answers': {
    weight: 6,
    act: async scene => {
      await ask(scene)
      accept(scene)
    },
  },
  'asks while it answers': {
    weight: 6,
    act: scene => {
      accept(scene)
      return ask(scene)
    },
  },
  'event comes while it asks': {
    weight: 12,
    act: async scene => {
      accept(scene)
      await Promise.all([ask(scene), wait(scene.random.int(0, 3)).then(scene.sendEvent)])
    },
  },
  'asks twice': {
    weight: 5,
    act: async scene => {
      accept(scene)
      await Promise.all([ask(scene), ask(scene)])
      await ask(scene)
    },
  },
  'asks, and completes': {
    weight: 3,
    act: async scene => {
      accept(scene)
      await Promise.all([ask(scene), scene.callbacks.complete()])
    },
  },
  'asks late': {
    weight: 4,
    act: async scene => {
      accept(scene)
      await wait(scene.random.chance(0.7) ? scene.random.int(1_900, 2_600) : PAST_ALL_MS)
      await ask(scene)
    },
  },
  'asks after a reset': {
    weight: 4,
    act: async scene => {
      reset(scene)
      await wait(scene.random.int(0, 1_500))
      await ask(scene)
    },
  },
  'asks, and answers 500': {
    weight: 2,
    act: async scene => {
      await ask(scene)
      answer(scene, 500)
    },
  },
  'accepts, and falls silent': { weight: 2, act: accept },
}
