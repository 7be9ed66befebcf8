// The maintenance role as a Durable Object: a slice of work at each alarm, and in between nothing at all.
//
// asleep --(alarm)--> at work --(the next due instant is known, or it failed)--> asleep, with an alarm for then
//   wake() asleep: sets the alarm to now. At work: another slice follows at once. While slices fail: the alarm stays.
// The platform runs one alarm handler of an object at a time, sets an alarm again whose handler died, and keeps alarms over
// restarts. Should two objects be at work for one database, by name or by a fault of the platform, they share the work as any
// maintenance processes do: a job is claimed by one, and one leads.

import type { MaintenanceObjectOptions } from './maintenance-options.ts'
import { type Memory, NEW_MEMORY, restAfter } from './rest.ts'
import { runSlice } from './slice.ts'

/** What is used of a Durable Object's storage. */
interface ObjectStorage {
  get(key: string): Promise<unknown>
  put(key: string, value: unknown): Promise<void>
  getAlarm(): Promise<number | null>
  setAlarm(at: number): Promise<void>
}

/** What is used of a Durable Object's state. */
export interface ObjectState {
  readonly storage: ObjectStorage
}

/** The platform's own calls. */
export interface MaintenanceObject {
  fetch(request: Request): Promise<Response>
  alarm(): Promise<void>
}

const LONGEST_SLEEP_SECONDS = 600
/** An alarm that is late by so much was lost. */
const OVERDUE_MS = 60_000

/**
 * Makes the class, to be exported under the name that the Worker's configuration has in `new_sqlite_classes`. `options` is
 * asked for each slice. See docs/cloudflare.md.
 *
 * @example
 * export const MillraceMaintenance = maintenanceObject<Env>(env => ({
 *   database: postgresDatabase(env.DB.connectionString),
 *   keyring: env.MILLRACE_KEYS,
 *   callbackUrl: env.MILLRACE_CALLBACK_URL,
 * }))
 */
export function maintenanceObject<Env extends object>(
  options: (env: Env) => MaintenanceObjectOptions,
): new (
  state: ObjectState,
  env: Env,
) => MaintenanceObject {
  return class implements MaintenanceObject {
    readonly #storage: ObjectStorage
    readonly #env: Env
    #memory: Memory | undefined
    #isAtWork = false
    #isWoken = false

    constructor(state: ObjectState, env: Env) {
      this.#storage = state.storage
      this.#env = env
    }

    async fetch(request: Request): Promise<Response> {
      const { pathname } = new URL(request.url)
      if (pathname === '/wake') await this.#wake()
      else if (pathname === '/check') await this.#check()
      else return new Response(null, { status: 404 })
      return new Response(null, { status: 204 })
    }

    async alarm(): Promise<void> {
      this.#isAtWork = true
      this.#isWoken = false
      try {
        await this.#work()
      } finally {
        this.#isAtWork = false
      }
    }

    async #work(): Promise<void> {
      const before = await this.#remember()
      const settings = options(this.#env)
      const result = await runSlice(settings, this.#env, Date.now() >= before.dutyAt)
      const longestMs = (settings.longestSleepSeconds ?? LONGEST_SLEEP_SECONDS) * 1_000
      const now = Date.now()
      const { memory, inMs } = restAfter(result, before, now, longestMs)
      const isHurried = this.#isWoken && !result.failed
      // In one go: whoever wakes it from here on sets the alarm after this.
      this.#isAtWork = false
      this.#memory = isHurried ? { ...memory, fruitless: 0 } : memory
      await Promise.all([
        this.#storage.put('memory', this.#memory),
        this.#storage.setAlarm(isHurried ? now : Math.round(now + inMs)),
      ])
    }

    async #wake(): Promise<void> {
      this.#isWoken = true
      if (this.#isAtWork) return
      const { failures } = await this.#remember()
      const alarm = await this.#storage.getAlarm()
      if (alarm !== null && (failures > 0 || alarm <= Date.now())) return
      if (!this.#isAtWork) await this.#storage.setAlarm(Date.now())
    }

    /** Alarms get lost when their handler failed for long, and there is none before the first one. */
    async #check(): Promise<void> {
      if (this.#isAtWork) return
      const alarm = await this.#storage.getAlarm()
      if (alarm === null || alarm < Date.now() - OVERDUE_MS) await this.#storage.setAlarm(Date.now())
    }

    async #remember(): Promise<Memory> {
      this.#memory ??= ((await this.#storage.get('memory')) as Memory | undefined) ?? NEW_MEMORY
      return this.#memory
    }
  }
}
