// Direct invocations as Web requests: the envelope in which a dispatcher sends a job, and the one that takes the answer back.

import { MillraceError } from '../../core/errors.ts'
import { INVOKE } from '../../core/wire.ts'

/** What `lambda:InvokeFunction` brings from a dispatcher. */
export interface LambdaInvocationEvent {
  readonly millrace: 1
  readonly headers: Readonly<Record<string, string>>
  /** The dispatch, as it was signed. */
  readonly body: string
}

export interface LambdaInvocationAnswer {
  readonly millrace: 1
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

export const isInvocation = (event: object): event is LambdaInvocationEvent => 'millrace' in event

/** Signed for the function by its name, which the runtime knows. */
export function invocationRequest({ millrace, headers, body }: LambdaInvocationEvent): Request {
  if (millrace !== 1 || typeof body !== 'string')
    throw new MillraceError('invalid_request', `An envelope of version ${millrace} is not known here`)
  const name = process.env.AWS_LAMBDA_FUNCTION_NAME ?? ''
  return new Request(`https://lambda.invalid/${name}`, { method: INVOKE, headers, body })
}

/**
 * @throws {MillraceError} for an event whose signature will not do. Nobody hears that answer, and nobody can be called back:
 * an error at least shows in what Lambda counts.
 */
export async function invocationAnswer(
  response: Response,
  { body: dispatch }: LambdaInvocationEvent,
): Promise<LambdaInvocationAnswer> {
  const body = await response.text()
  if (response.status === 401 && expectsCallback(dispatch)) throw new MillraceError('invalid_signature', body)
  return { millrace: 1, status: response.status, headers: Object.fromEntries(response.headers), body }
}

function expectsCallback(dispatch: string): boolean {
  try {
    return JSON.parse(dispatch).callback_id !== undefined
  } catch {
    return false
  }
}
