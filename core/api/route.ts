// A route of the API: what it takes, what it answers, who may call it, and what it does, all in one place.

import type { Admin } from '../admin/admin.ts'
import type { Scope } from '../api-key.ts'
import type { Sql } from '../sql.ts'
import type { ApiKey } from './keys.ts'
import type { ApiErrorCode } from './problem.ts'
import type { JsonSchema, Schema, Shape, Shaped } from './schema.ts'

/** What routes work with. */
export interface Services {
  readonly sql: Sql
  readonly schema: string
}

/** What comes with a request besides its checked input. */
export interface Call extends Services {
  /** In the name of the key. */
  readonly admin: Admin
  readonly key: ApiKey
  /** To which the caller is held; undefined: to none. Routes are asked for it only if they say `tenants`. */
  readonly tenant: string | undefined
  readonly idempotencyKey: string | undefined
  /** Fires when the caller is gone. */
  readonly signal: AbortSignal
}

interface About {
  readonly method: 'GET' | 'POST' | 'DELETE'
  /** With parameters as `:name`. */
  readonly path: `/api/${string}`
  /** Undefined: any key will do. */
  readonly scope: Scope | undefined
  readonly summary: string
  /** 200 unless given. */
  readonly status?: 200 | 201
  /** Besides those that any route has. */
  readonly errors?: readonly ApiErrorCode[]
  /**
   * How the route treats a key of one tenant. `own`: it keeps to `call.tenant`; `shared`: it says the same to everybody. Unless it
   * says so, such a key is refused.
   */
  readonly tenants?: 'own' | 'shared'
  /** Takes the header `Idempotency-Key`. */
  readonly idempotent?: true
}

export interface Route extends About {
  readonly params: Shape
  readonly query: Shape
  /** What has none takes no body, or an empty object. */
  readonly body: JsonSchema | undefined
  readonly answer: JsonSchema
  readonly run: (input: Input, call: Call) => Promise<unknown>
}

/** As the route's schemas say. */
interface Input {
  readonly params: never
  readonly query: never
  readonly body: never
}

type None = Record<never, never>

/** Gives `run` the types of the route's schemas, and holds its answer against theirs. */
export const route = <A, P extends Shape = None, Q extends Shape = None, B = unknown>(
  given: About & {
    readonly params?: P
    readonly query?: Q
    readonly body?: Schema<B>
    readonly answer: Schema<A>
    run(input: { params: Shaped<P, None>; query: Shaped<None, Q>; body: B }, call: Call): Promise<A>
  },
): Route => ({
  ...given,
  params: given.params ?? {},
  query: given.query ?? {},
  body: given.body,
  run: given.run as Route['run'],
})
