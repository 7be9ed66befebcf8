// What a receiver needs of the world around it.

/** Replaced in tests only. */
export interface ReceiverPort {
  fetch(url: string, init: RequestInit): Promise<Response>
  /** Milliseconds. */
  now(): number
  /** Resolves after `ms`, or as soon as `signal` fires. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
  /** 0 to 1. */
  random(): number
}

// Timers hold 32 bits of milliseconds; longer sleeps are made of several.
const LONGEST_TIMER_MS = 2 ** 31 - 1

export const platformPort: ReceiverPort = {
  // Looked up on every call, because Workers refuse a fetch that is detached from its global.
  fetch: (url, init) => fetch(url, init),
  now: () => Date.now(),
  random: () => Math.random(),
  async sleep(ms, signal) {
    for (let left = ms; left > 0 && signal?.aborted !== true; left -= LONGEST_TIMER_MS) {
      await timer(Math.min(left, LONGEST_TIMER_MS), signal)
    }
  },
}

function timer(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise(resolve => {
    const done = () => {
      clearTimeout(id)
      signal?.removeEventListener('abort', done)
      resolve()
    }
    const id = setTimeout(done, ms)
    signal?.addEventListener('abort', done)
  })
}
