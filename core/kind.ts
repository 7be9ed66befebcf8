// Declaring a kind of job once: its name, the schema of its arguments, and its defaults.

import type { StandardSchemaV1 } from '@standard-schema/spec'
import { checkKind } from './declaration.ts'
import { checkFollowUps } from './follow-up-declaration.ts'
import type { KindOptions } from './kind-options.ts'

export type { HttpTarget, KindOptions, LambdaTarget, RetryPolicy, Target } from './kind-options.ts'

/** A declared kind: pass it to `enqueue` for typed arguments, to `serve` for a typed handler, and to `defineManifest`. */
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
 * @throws {MillraceError} `invalid_declaration` when the name is not 1 to 200 characters or starts with `millrace.`,
 *   or when an option is outside of its limits
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
  checkKind(declaration)
  checkFollowUps(declaration)
  return Object.freeze({ ...declaration })
}
