// The transport of long-running Node processes: undici with a keep-alive pool per origin.

import { Agent, type Dispatcher } from 'undici'
import {
  ANSWER_LIMIT,
  type Answer,
  type DispatchRequest,
  type Transport,
  TransportError,
} from '../../core/dispatch/transport.ts'

/** Errors that come up before a request can have left. */
const BEFORE_SENDING = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
  'ERR_TLS_CERT_ALTNAME_INVALID',
  'ERR_SSL_WRONG_VERSION_NUMBER',
])

export interface UndiciTransport extends Transport {
  /** Closes idle connections and waits for the busy ones. */
  end(): Promise<void>
}

/** `connections` per origin at most: 256. How many are used is the dispatcher's to say. */
export function undiciTransport({ connections = 256 } = {}): UndiciTransport {
  const agent = new Agent({ connections, pipelining: 1, connect: { timeout: 10_000 } })
  return {
    post: request => post(agent, request),
    end: () => agent.close(),
  }
}

async function post(agent: Agent, request: DispatchRequest): Promise<Answer> {
  const { origin, path, headers, body, timeoutMs, signal } = request
  const timeout = AbortSignal.timeout(timeoutMs)
  try {
    const answer = await agent.request({
      origin,
      path,
      method: 'POST',
      headers,
      body,
      headersTimeout: 0,
      bodyTimeout: 0,
      signal: AbortSignal.any([signal, timeout]),
    })
    return await answerOf(answer)
  } catch (error) {
    throw failure(error, timeout, request)
  }
}

async function answerOf({ statusCode, headers, body }: Dispatcher.ResponseData): Promise<Answer> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of body) {
    size += chunk.length
    if (size > ANSWER_LIMIT) break
    chunks.push(chunk)
  }
  return {
    status: statusCode,
    header: name => [headers[name]].flat()[0],
    body: Buffer.concat(chunks).toString(),
    truncated: size > ANSWER_LIMIT,
  }
}

function failure(error: unknown, timeout: AbortSignal, { signal, timeoutMs }: DispatchRequest): TransportError {
  const { code = '', message } = error as Error & { code?: string }
  if (signal.aborted) return new TransportError('aborted', 'given up by the dispatcher', true)
  if (timeout.aborted) return new TransportError('timeout', `no answer within ${timeoutMs} ms`, true)
  const before = BEFORE_SENDING.has(code) || /^(CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_)/.test(code)
  return new TransportError(before ? 'connect' : 'connection_lost', `${code} ${message}`.trim(), !before)
}
