// A transport that keeps so many requests in flight, since a Worker has no more connections than that.

import { type DispatchRequest, type Transport, TransportError } from '../../core/dispatch/transport.ts'

/** Requests wait for their turn before their time begins, so that what waits is not taken for what a function is slow to answer. */
export function limitedTransport(transport: Transport, most: number): Transport {
  const waiting: (() => void)[] = []
  let inFlight = 0

  const turn = async ({ signal }: DispatchRequest): Promise<void> => {
    if (signal.aborted) throw givenUp()
    if (inFlight < most) {
      inFlight++
      return
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    waiting.push(resolve)
    const abort = () => {
      const at = waiting.indexOf(resolve)
      if (at >= 0) waiting.splice(at, 1)
      reject(givenUp())
    }
    signal.addEventListener('abort', abort, { once: true })
    await promise.finally(() => signal.removeEventListener('abort', abort))
  }

  /** Whoever is next has the place at once. */
  const release = (): void => {
    const next = waiting.shift()
    if (next === undefined) inFlight--
    else next()
  }

  return {
    async post(request) {
      await turn(request)
      try {
        return await transport.post(request)
      } finally {
        release()
      }
    },
  }
}

const givenUp = (): TransportError => new TransportError('aborted', 'given up by the dispatcher', false)
