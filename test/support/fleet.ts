// A deployment that can be rolled: two of each role behind real HTTP, each with the keyring it was deployed with.

import { toSql } from 'millrace'
import { callbacks } from 'millrace/callbacks'
import { defineKind, handle, type ReceiverEvent, serve } from 'millrace/function'
import { deriveDispatchKeyring, formatKeyring, type Keyring } from 'millrace/protocol'
import * as v from 'valibot'
import { onTestFinished } from 'vitest'
import { SqlEngine } from '../../core/sql-engine.ts'
import { listen } from './http-server.ts'
import { freshDatabase } from './maintenance.ts'
import { Recorder } from './maintenance-recorder.ts'

/** An answer that one of the two public doors has given. */
interface Answered {
  readonly door: 'callback' | 'dispatch'
  readonly status: number
}

interface Ended extends Pick<ReceiverEvent & { type: 'finished' }, 'jobId' | 'conclusion'> {
  readonly id: number
}

type Fetch = (request: Request) => Promise<Response>

/** Replaces one process by another. */
type Roll = (keyring: Keyring) => Promise<void>

/** The kind `work`; its handler holds a job with `until` back until {@link Fleet.release} is called with that word. */
const work = defineKind({ name: 'work', args: v.object({ until: v.optional(v.string()) }) })

export async function startFleet(initial: Keyring) {
  const database = await freshDatabase()
  const answers = new Recorder<Answered>()
  const ended = new Recorder<Ended>()
  const started = new Recorder<{ until: string | undefined }>()
  const gates = new Map<string, PromiseWithResolvers<void>>()
  const gate = (name: string) => {
    const found = gates.get(name) ?? Promise.withResolvers<void>()
    gates.set(name, found)
    return found
  }
  onTestFinished(() => {
    for (const { resolve } of gates.values()) resolve()
  })

  /** A load balancer: any of the processes that are there now. */
  const balanced = async (door: Answered['door'], start: (keyring: Keyring) => Fetch) => {
    const processes = [start(initial), start(initial)]
    const url = await listen(async request => {
      const fetch = processes[Math.floor(Math.random() * processes.length)] as Fetch
      const response = await fetch(request)
      answers.push({ door, status: response.status })
      return response
    })
    const rolls = processes.map(
      (_, n): Roll =>
        async keyring =>
          void processes.splice(n, 1, start(keyring)),
    )
    return { url, rolls }
  }

  const ingress = await balanced('callback', keyring => {
    const app = callbacks({ store: new SqlEngine(toSql(database.sql)), keyring })
    return async request => app.fetch(request)
  })

  // A function that is replaced goes on with what it has begun, under the dispatch keys it was deployed with.
  const functions = await balanced('dispatch', keyring => {
    const receiver = serve({
      kinds: [
        handle(work, async ({ until }) => {
          started.push({ until })
          if (until !== undefined) await gate(until).promise
        }),
      ],
      dispatchKeys: formatKeyring(deriveDispatchKeyring(keyring)),
      heartbeatSeconds: 3,
      onEvent: event => {
        if (event.type === 'finished') ended.push({ id: Number(event.jobId), ...event })
      },
    })
    return receiver.fetch
  })

  const maintain = (keyring: Keyring) => database.maintain({ keyring, callbackUrl: ingress.url, listen: true })
  const maintenance = await Promise.all([maintain(initial), maintain(initial)])
  const replaceMaintenance = maintenance.map(
    (_, n): Roll =>
      async keyring => {
        const [before] = maintenance.splice(n, 1, await maintain(keyring))
        await before?.stop()
      },
  )

  await database.declare([{ name: 'work', target: { url: functions.url, concurrency: 500 } }])
  return {
    database,
    answers,
    ended,
    started,
    rolls: [...ingress.rolls, ...functions.rolls, ...replaceMaintenance],
    release: (until: string) => gate(until).resolve(),
  }
}
