// The transport over `fetch`, for any platform. It cannot tell whether a failed request was seen, so it assumes that.

import { readBody } from '../read-body.ts'
import { type AllowedTargets, type TargetGuard, targetGuard } from '../target-guard.ts'
import { bindingOf } from '../target-url.ts'
import {
  ANSWER_LIMIT,
  type Answer,
  type DispatchRequest,
  noBinding,
  type Transport,
  TransportError,
} from './transport.ts'

export interface FetchTransportOptions {
  readonly allow?: AllowedTargets | undefined
  /** The platform's unless given. */
  readonly fetch?: typeof fetch | undefined
  /** Service bindings by name, for targets such as `binding://NAME/path`. */
  readonly bindings?: ((name: string) => ServiceBinding | undefined) | undefined
}

/** What is used of a Worker's binding to another one. */
export interface ServiceBinding {
  fetch(url: string, init: RequestInit): Promise<Response>
}

/** Who is bound sees a URL; that it is at this host means nothing. */
const BINDING_ORIGIN = 'https://binding'

/**
 * Sends over TLS to what the URL does not show to be other than public, and to what `allow` names besides. What a name
 * resolves to is not to be seen through `fetch`: on Node use `undiciTransport`, which checks that as well.
 *
 * @throws {MillraceError} `invalid_configuration`
 */
export function fetchTransport({ allow, fetch: fetchIt, bindings }: FetchTransportOptions = {}): Transport {
  const guard = targetGuard(allow)
  return {
    async post(request) {
      const bound = bindings?.(bindingOf(request.origin) ?? '')
      const refusal = bound === undefined ? refusalOf(guard, request) : undefined
      if (refusal) throw refusal
      const timeout = AbortSignal.timeout(request.timeoutMs)
      const send: ServiceBinding['fetch'] = (url, init) =>
        bound === undefined ? (fetchIt ?? fetch)(url, init) : bound.fetch(url, init)
      try {
        const response = await send((bound === undefined ? request.origin : BINDING_ORIGIN) + request.path, {
          method: 'POST',
          headers: request.headers,
          body: request.body as BodyInit,
          redirect: 'manual',
          signal: AbortSignal.any([timeout, request.signal]),
        })
        return await answerOf(response)
      } catch (error) {
        throw failure(error, timeout, request)
      }
    },
  }
}

function refusalOf(guard: TargetGuard, request: DispatchRequest): TransportError | undefined {
  const { protocol, hostname } = new URL(request.origin)
  return noBinding(request) ?? guard.refusalOfUrl(protocol, hostname)
}

async function answerOf(response: Response): Promise<Answer> {
  const limited = await readBody(response as unknown as Request, ANSWER_LIMIT).catch(error => {
    if (error?.code !== 'body_too_large') throw error
    return undefined
  })
  return {
    status: response.status,
    header: name => response.headers.get(name) ?? undefined,
    body: limited ? new TextDecoder().decode(limited) : '',
    truncated: limited === undefined,
  }
}

function failure(error: unknown, timeout: AbortSignal, { signal, timeoutMs }: DispatchRequest): TransportError {
  if (signal.aborted) return new TransportError('aborted', 'given up by the dispatcher', true)
  if (timeout.aborted) return new TransportError('timeout', `no answer within ${timeoutMs} ms`, true)
  return new TransportError('connection_lost', error instanceof Error ? error.message : String(error), true)
}
