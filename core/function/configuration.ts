// What a receiver is set up with: handlers by kind, and where its keys come from.

import type { PayloadCodec } from '../codec.ts'
import { MillraceError } from '../errors.ts'
import { type Keyring, parseKeyring } from '../protocol/keyring.ts'
import type { Handler } from './handler.ts'

/** @throws {MillraceError} `invalid_configuration` when a kind has two handlers */
export function handlersByKind(handlers: readonly Handler[]): ReadonlyMap<string, Handler> {
  const byKind = new Map(handlers.map(handler => [handler.kind.name, handler]))
  if (byKind.size === handlers.length) return byKind
  throw new MillraceError('invalid_configuration', 'A kind has two handlers in one receiver')
}

export interface KeyOptions {
  /**
   * The dispatch keyring, `kid:hex…`, as `millrace keys dispatch` prints it; or where to find it in the platform's
   * environment (`env => env.MILLRACE_DISPATCH_KEYS` on Workers).
   */
  readonly dispatchKeys?: string | ((env: never) => string) | undefined
  /**
   * Without dispatch keys, runs whatever is sent to and comes from loopback, and nothing else. For development only: callbacks
   * then go wherever the sender says.
   */
  readonly allowUnsigned?: boolean
}

/** Fails closed: without keys nothing is served unless that was asked for in so many words. */
export function keySource({ dispatchKeys, allowUnsigned = false }: KeyOptions): (env: unknown) => Keyring | undefined {
  if (dispatchKeys === undefined) {
    if (allowUnsigned) return () => undefined
    throw new MillraceError('invalid_configuration', 'A receiver needs the dispatch keys', {
      hint: 'Pass what `millrace keys dispatch` prints as dispatchKeys, or, for development only, allowUnsigned: true',
    })
  }
  if (typeof dispatchKeys === 'string') {
    const keyring = parseKeyring(dispatchKeys)
    return () => keyring
  }
  let known: { text: string; keyring: Keyring } | undefined
  return env => {
    const text = dispatchKeys(env as never) ?? ''
    if (known?.text !== text) known = { text, keyring: parseKeyring(text) }
    return known.keyring
  }
}

export interface CodecOptions {
  /**
   * Decodes arguments and checkpoints, encodes results and checkpoints; or what makes one of the platform's environment
   * (`env => claimCheck({ store: r2BlobStore(env.PAYLOADS) })` on Workers).
   */
  readonly codec?: PayloadCodec | ((env: never) => PayloadCodec) | undefined
}

export const codecSource =
  ({ codec }: CodecOptions): ((env: unknown) => PayloadCodec | undefined) =>
  env =>
    typeof codec === 'function' ? codec(env as never) : codec
