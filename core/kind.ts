// Declaring a kind of job once: its name, the schema of its arguments, and its defaults.

import type { StandardSchemaV1 } from '@standard-schema/spec'
import { MillraceError } from './errors.ts'

/** How long to wait after failed attempt `n`, always capped at `capSeconds` (24 h). Seconds throughout. */
export type RetryPolicy =
  /** `base × 2^(n-1)`, plus up to `jitter` (a share, 0.25) of it. The default, with a base of 2 s. */
  | {
      readonly strategy: 'exponential'
      readonly baseSeconds?: number
      readonly capSeconds?: number
      readonly jitter?: number
    }
  /** `base × n`. */
  | {
      readonly strategy: 'linear'
      readonly baseSeconds?: number
      readonly capSeconds?: number
      readonly jitter?: number
    }
  | { readonly strategy: 'fixed'; readonly baseSeconds: number; readonly jitter?: number }
  /** The n-th entry; the last one repeats. */
  | { readonly strategy: 'list'; readonly delaysSeconds: readonly number[]; readonly jitter?: number }

/** The function that does a kind's work. */
export interface HttpTarget {
  /** Absolute `http(s)` URL that takes the dispatch as a POST. */
  readonly url: string
  /** `sync`: the answer closes the attempt. `callback` (default): the answer accepts it, a signed callback closes it. */
  readonly mode?: 'sync' | 'callback'
  /** How long the answer may take, in seconds: 30. */
  readonly requestTimeoutSeconds?: number
  /** Callback mode: how long an accepted attempt may stay silent, in seconds: 3600. */
  readonly callbackTimeoutSeconds?: number
  /** Requests in flight per dispatcher, shared by all kinds with the same URL origin: 64. */
  readonly concurrency?: number
  /** Sent with every dispatch. */
  readonly headers?: Readonly<Record<string, string>>
}

/** Everything about a kind that the database knows. */
export interface KindOptions {
  /** `default` unless given; at most 200 characters. */
  readonly queue?: string
  /** 1 (first) to 4 (last); 2 unless given. */
  readonly priority?: number
  /** 1 to 1000; 25 unless given. */
  readonly maxAttempts?: number
  readonly retry?: RetryPolicy
  readonly target?: HttpTarget
}

/** A declared kind: pass it to `enqueue` for typed arguments, to `serve` for a typed handler, and to `manifest`. */
export interface Kind<Name extends string = string, Schema extends StandardSchemaV1 = StandardSchemaV1>
  extends KindOptions {
  readonly name: Name
  /** Any Standard Schema (Zod, Valibot, ArkType ...). Validates on enqueue and again in the function. */
  readonly args: Schema
}

/** What a caller of `enqueue` passes for a kind. */
export type ArgsOf<K> = K extends Kind<string, infer S> ? StandardSchemaV1.InferInput<S> : never

/** What a handler of the kind is given. */
export type ParsedArgsOf<K> = K extends Kind<string, infer S> ? StandardSchemaV1.InferOutput<S> : never

/**
 * Declares a kind.
 *
 * @throws {MillraceError} `invalid_declaration` when the name is not 1 to 200 characters or starts with `millrace.`
 * @example
 * export const renderReceipt = defineKind({
 *   name: 'render_receipt',
 *   args: v.object({ orderId: v.number() }),
 *   target: { url: 'https://receipts.example.com/jobs' },
 * })
 */
export function defineKind<const Name extends string, Schema extends StandardSchemaV1>(
  declaration: KindOptions & { readonly name: Name; readonly args: Schema },
): Kind<Name, Schema> {
  const { name } = declaration
  if (name.length < 1 || name.length > 200) {
    throw new MillraceError('invalid_declaration', `A kind's name has 1 to 200 characters, not ${name.length}`)
  }
  if (name.startsWith('millrace.')) {
    throw new MillraceError('invalid_declaration', `Kind names that start with "millrace." are Millrace's own: ${name}`)
  }
  return Object.freeze({ ...declaration })
}
