// Public entry `millrace/lambda`: invokes functions of Lambda through AWS's SDK, which has to be installed.

import {
  type InvocationType,
  InvokeCommand,
  LambdaClient,
  type LambdaClientConfig,
  LambdaServiceException,
} from '@aws-sdk/client-lambda'
import type {
  LambdaAnswer,
  LambdaInvocation,
  LambdaInvoker,
  LambdaRefusal,
} from '../../core/dispatch/lambda-invoker.ts'
import { TransportError } from '../../core/dispatch/transport.ts'

export interface LambdaInvokerOptions {
  /** `AWS_REGION`, or the profile's, unless given. Kinds may name another one. */
  readonly region?: string | undefined
  /** `AWS_ENDPOINT_URL_LAMBDA`, or AWS's own, unless given. */
  readonly endpoint?: string | undefined
  /** Found as the SDK finds them, unless given. */
  readonly credentials?: LambdaClientConfig['credentials']
}

export interface NodeLambdaInvoker extends LambdaInvoker {
  /** Closes idle connections. */
  end(): void
}

/** How many invocations go on is the dispatcher's to say. */
const SOCKETS = 1_000
const CONNECT_MS = 10_000

/**
 * Needs `lambda:InvokeFunction` on the functions of the kinds, and on no others.
 *
 * @example
 * new Maintenance({ lambdaInvoker: lambdaInvoker(), … })
 */
export function lambdaInvoker({ region, endpoint, credentials }: LambdaInvokerOptions = {}): NodeLambdaInvoker {
  const clients = new Map<string | undefined, LambdaClient>()
  const clientIn = (where: string | undefined): LambdaClient => {
    const known = clients.get(where)
    if (known) return known
    const client = new LambdaClient({
      // The dispatcher repeats; what is repeated here might run twice in one attempt.
      maxAttempts: 1,
      requestHandler: {
        connectionTimeout: CONNECT_MS,
        httpAgent: { maxSockets: SOCKETS },
        httpsAgent: { maxSockets: SOCKETS },
      },
      ...(where !== undefined && { region: where }),
      ...(endpoint !== undefined && { endpoint }),
      ...(credentials !== undefined && { credentials }),
    })
    clients.set(where, client)
    return client
  }
  return {
    invoke: invocation => invoke(clientIn(invocation.region ?? region), invocation),
    end: () => {
      for (const client of clients.values()) client.destroy()
    },
  }
}

async function invoke(client: LambdaClient, invocation: LambdaInvocation): Promise<LambdaAnswer | LambdaRefusal> {
  const { timeoutMs, signal } = invocation
  const timeout = AbortSignal.timeout(timeoutMs)
  const command = new InvokeCommand({
    FunctionName: invocation.function,
    InvocationType: invocation.type satisfies InvocationType,
    Payload: invocation.payload,
    Qualifier: invocation.qualifier,
  })
  let handed = false
  command.middlewareStack.add(
    next => args => {
      handed = true
      return next(args)
    },
    { step: 'finalizeRequest', priority: 'low' },
  )
  try {
    const answer = await client.send(command, { abortSignal: AbortSignal.any([signal, timeout]) })
    const payload = answer.Payload?.transformToString() ?? ''
    return { status: answer.StatusCode ?? 200, payload, functionError: answer.FunctionError }
  } catch (error) {
    if (error instanceof LambdaServiceException && error.$response !== undefined) return refusalIn(error)
    if (signal.aborted) throw new TransportError('aborted', 'given up by the dispatcher', handed)
    if (timeout.aborted) throw new TransportError('timeout', `no answer within ${timeoutMs} ms`, handed)
    throw lost(error as NodeJS.ErrnoException, handed)
  }
}

function refusalIn(error: LambdaServiceException): LambdaRefusal {
  const { retryAfterSeconds } = error as { retryAfterSeconds?: string }
  const seconds = Number(retryAfterSeconds)
  return {
    status: error.$metadata.httpStatusCode ?? 500,
    refused: error.name,
    message: error.message,
    retryAfterMs: retryAfterSeconds !== undefined && seconds >= 0 ? seconds * 1000 : undefined,
  }
}

/** What TLS and its certificates fail with. */
const TLS = /^(ERR_TLS_|ERR_SSL_|CERT_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|HOSTNAME_MISMATCH|EPROTO$)/

/** Before there is a connection, nothing can have arrived. */
function lost(error: NodeJS.ErrnoException, handed: boolean): TransportError {
  const { code = '', syscall, message } = error
  if (!handed) return new TransportError('identity_unavailable', `nothing could be sent to Lambda: ${message}`, false)
  const isEarly =
    syscall === 'connect' ||
    syscall === 'getaddrinfo' ||
    TLS.test(code) ||
    message.includes('did not establish a connection')
  return new TransportError(isEarly ? 'connect' : 'connection_lost', `${code} ${message}`.trim(), !isEarly)
}
