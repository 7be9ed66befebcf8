// JSON Schemas that carry the type of what they describe: the API checks requests by them, and its document shows them.

import type { Json } from '../json.ts'

/** The part of JSON Schema 2020-12 that is used here. `x-code`: the error's code where the value is at fault. */
export interface JsonSchema {
  readonly type?: string | readonly string[]
  readonly description?: string
  /** The document shows it once, by this name. */
  readonly title?: string
  readonly enum?: readonly string[]
  readonly format?: 'date-time'
  readonly pattern?: string
  readonly minLength?: number
  readonly maxLength?: number
  readonly minimum?: number
  readonly maximum?: number
  readonly items?: JsonSchema
  readonly minItems?: number
  readonly maxItems?: number
  readonly properties?: Readonly<Record<string, JsonSchema>>
  readonly required?: readonly string[]
  readonly additionalProperties?: boolean | JsonSchema
  readonly anyOf?: readonly JsonSchema[]
  readonly 'x-code'?: string
}

declare const described: unique symbol

/** The schema of a `T`. */
export interface Schema<T> extends JsonSchema {
  readonly [described]?: T
}

export type TypeOf<S> = S extends Schema<infer T> ? T : never

type Extra = Pick<JsonSchema, 'description' | 'x-code'>
export type Shape = Readonly<Record<string, JsonSchema>>
export type Shaped<R extends Shape, O extends Shape> = { readonly [K in keyof R]: TypeOf<R[K]> } & {
  readonly [K in keyof O]?: TypeOf<O[K]> | undefined
}

export const string = (
  limits: Extra & Pick<JsonSchema, 'minLength' | 'maxLength' | 'pattern' | 'format'> = {},
): Schema<string> => ({ type: 'string', ...limits })

export const integer = (limits: Extra & Pick<JsonSchema, 'minimum' | 'maximum'> = {}): Schema<number> => ({
  type: 'integer',
  ...limits,
})

export const number = (limits: Extra & Pick<JsonSchema, 'minimum' | 'maximum'> = {}): Schema<number> => ({
  type: 'number',
  ...limits,
})

export const boolean = (extra: Extra = {}): Schema<boolean> => ({ type: 'boolean', ...extra })

export const oneOf = <const T extends string>(values: readonly T[], extra: Extra = {}): Schema<T> => ({
  type: 'string',
  enum: values,
  ...extra,
})

export const list = <T>(
  items: Schema<T>,
  limits: Extra & Pick<JsonSchema, 'minItems' | 'maxItems'> = {},
): Schema<readonly T[]> => ({ type: 'array', items, ...limits })

/** An answer's object; more properties may come with later versions. */
export const object = <R extends Shape, O extends Shape = Record<never, never>>(
  required: R,
  optional?: O,
): Schema<Shaped<R, O>> => ({
  type: 'object',
  properties: { ...required, ...optional },
  ...(Object.keys(required).length > 0 && { required: Object.keys(required) }),
})

/** A request's object: nothing but these properties, so that a misspelt one is noticed. */
export const closed = <R extends Shape, O extends Shape = Record<never, never>>(
  required: R,
  optional?: O,
): Schema<Shaped<R, O>> => ({ ...object(required, optional), additionalProperties: false })

export const either = <S extends readonly JsonSchema[]>(...anyOf: S): Schema<TypeOf<S[number]>> => ({ anyOf })

/** A schema that says what it may be besides: null. */
export const nullable = <T>(schema: Schema<T>): Schema<T | null> =>
  typeof schema.type === 'string' && !schema.title && !schema.enum
    ? { ...(schema as JsonSchema), type: [schema.type, 'null'] }
    : { anyOf: [schema, { type: 'null' }] }

/** Shown once in the document, by its name. */
export const named = <T>(title: string, schema: Schema<T>): Schema<T> => ({ ...(schema as JsonSchema), title })

/** Any JSON at all. */
export const json: Schema<Json> = {}

/** Any JSON object. */
export const record: Schema<{ readonly [key: string]: Json }> = { type: 'object', additionalProperties: true }

/** ISO 8601. */
export const time: Schema<string> = string({ format: 'date-time' })
