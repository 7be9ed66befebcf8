// The transport of long-running Node processes: undici with a keep-alive pool per origin.

import { Agent, type Dispatcher } from 'undici'
import {
  ANSWER_LIMIT,
  type Answer,
  type DispatchRequest,
  noBinding,
  type Transport,
  TransportError,
} from '../../core/dispatch/transport.ts'
import { type GuardedConnections, guardedConnector } from './address-guard.ts'

export interface UndiciTransport extends Transport {
  /** Closes idle connections and waits for the busy ones. */
  end(): Promise<void>
}

export interface UndiciTransportOptions extends GuardedConnections {
  /** Per origin at most: 256. How many are used is the dispatcher's to say. */
  readonly connections?: number | undefined
}

/**
 * Sends over TLS to public addresses, and to what `allow` names besides: `undiciTransport({ allow: ['loopback'] })`.
 *
 * @throws {MillraceError} `invalid_configuration`
 */
export function undiciTransport({ connections = 256, ...guarded }: UndiciTransportOptions = {}): UndiciTransport {
  const agent = new Agent({ connections, pipelining: 1, connect: guardedConnector(guarded) })
  return {
    post(request) {
      const refusal = noBinding(request)
      if (refusal) return Promise.reject(refusal)
      return new Promise((resolve, reject) => new Exchange(agent, request, resolve, reject))
    },
    end: () => agent.close(),
  }
}

const aborts = new WeakMap<AbortSignal, Set<() => void>>()

/** What to call when the signal fires: all requests share one, and a listener each would be looked for among all. */
function whenAborted(signal: AbortSignal): Set<() => void> {
  const known = aborts.get(signal)
  if (known) return known
  const calls = new Set<() => void>()
  signal.addEventListener('abort', () => {
    for (const call of [...calls]) call()
  })
  aborts.set(signal, calls)
  return calls
}

/** One request and its answer. Below `request()`, because streams and abort signals cost more than the rest of a call. */
class Exchange implements Dispatcher.DispatchHandler {
  readonly #request: DispatchRequest
  readonly #resolve: (answer: Answer) => void
  readonly #reject: (error: TransportError) => void
  readonly #timer: ReturnType<typeof setTimeout>
  #controller: Dispatcher.DispatchController | undefined
  /** Once a connection has taken the request on, the function may have seen it. */
  #sent = false
  #over = false
  #status = 0
  #headers: Record<string, string | string[] | undefined> = {}
  #chunks: Uint8Array[] = []
  #size = 0

  constructor(
    agent: Agent,
    request: DispatchRequest,
    resolve: (answer: Answer) => void,
    reject: (error: TransportError) => void,
  ) {
    this.#request = request
    this.#resolve = resolve
    this.#reject = reject
    const { origin, path, headers, body, timeoutMs, signal } = request
    this.#timer = setTimeout(() => this.#giveUp('timeout', `no answer within ${timeoutMs} ms`), timeoutMs)
    whenAborted(signal).add(this.#aborted)
    if (signal.aborted) this.#aborted()
    else agent.dispatch({ origin, path, method: 'POST', headers, body, headersTimeout: 0, bodyTimeout: 0 }, this)
  }

  /** A request that was given up while it waited for a connection must not leave any more. */
  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    if (this.#over) controller.abort(new Error('given up before it was sent'))
    else this.#sent = true
  }

  onResponseStart(
    _: Dispatcher.DispatchController,
    status: number,
    headers: Record<string, string | string[] | undefined>,
  ) {
    this.#status = status
    this.#headers = headers
  }

  onResponseData(_: Dispatcher.DispatchController, chunk: Uint8Array): void {
    this.#size += chunk.length
    if (this.#size <= ANSWER_LIMIT) this.#chunks.push(chunk)
    else this.#answer()
  }

  onResponseEnd(): void {
    this.#answer()
  }

  onResponseError(_: Dispatcher.DispatchController | undefined, error: Error & { code?: string }): void {
    const message = `${error.code ?? ''} ${error.message}`.trim()
    if (error instanceof TransportError) this.#fail(error.code, error.message)
    else this.#fail(this.#sent ? 'connection_lost' : 'connect', message)
  }

  readonly #aborted = (): void => this.#giveUp('aborted', 'given up by the dispatcher')

  #answer(): void {
    this.#settled()
    const truncated = this.#size > ANSWER_LIMIT
    this.#resolve({
      status: this.#status,
      header: name => [this.#headers[name]].flat()[0],
      body: Buffer.concat(this.#chunks).toString(),
      truncated,
    })
    if (truncated) this.#controller?.abort(new Error('the answer is too long'))
  }

  #giveUp(code: string, message: string): void {
    this.#fail(code, message)
    this.#controller?.abort(new Error(message))
  }

  #fail(code: string, message: string): void {
    this.#settled()
    this.#reject(new TransportError(code, message, this.#sent))
  }

  #settled(): void {
    this.#over = true
    clearTimeout(this.#timer)
    whenAborted(this.#request.signal).delete(this.#aborted)
  }
}
