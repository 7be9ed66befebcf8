// The admin API on a database of its own; every answer is held against the API's own document.

import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import { type ApiErrorCode, type ApiEvent, type ApiOptions, apiApp, openApiDocument } from 'millrace/api'
import { expect } from 'vitest'
import { type AdminDatabase, useAdmin } from './admin.ts'

const keyOf = (letter: string): string => `mk_${letter.repeat(43)}`

export const KEYS = { all: keyOf('a'), enqueue: keyOf('e'), read: keyOf('r'), operate: keyOf('o') }

export const apiKeys = `${KEYS.all}, ${KEYS.enqueue}:enqueue; ${KEYS.read}:read ${KEYS.operate}:operate`

export interface Calling {
  /** Sent as JSON, unless it is a text. */
  readonly body?: unknown
  /** The one that may do everything unless given; null: none. */
  readonly key?: string | null
  readonly headers?: Readonly<Record<string, string>>
}

export interface Answered<Body = Record<string, never>> {
  readonly status: number
  readonly headers: Headers
  readonly body: Body & {
    readonly error?: { readonly code: ApiErrorCode; readonly message: string; readonly hint?: string }
  }
}

/** Any JSON: what a test expects of it, it says itself. */
// biome-ignore lint/suspicious/noExplicitAny: answers are checked against the document
type Loose = any

export type Call = (method: string, path: string, calling?: Calling) => Promise<Answered<Loose>>

export interface Api {
  readonly app: ReturnType<typeof apiApp>
  readonly events: ApiEvent[]
  readonly call: Call
}

export function makeApi(options: Omit<ApiOptions, 'apiKeys'> & Partial<ApiOptions>): Api {
  const events: ApiEvent[] = []
  const app = apiApp({ apiKeys, onEvent: event => events.push(event), ...options })
  return { app, events, call: caller((path, init) => app.request(path, init)) }
}

/** Calls through whatever fetches, and checks what comes back. */
export function caller(fetch: (path: string, init: RequestInit) => Response | Promise<Response>): Call {
  return async (method, path, { body, key = KEYS.all, headers } = {}) => {
    const sent: Record<string, string> = {
      ...(body !== undefined && { 'content-type': 'application/json' }),
      ...(key !== null && { authorization: `Bearer ${key}` }),
      ...headers,
    }
    const text = typeof body === 'string' || body === undefined ? body : JSON.stringify(body)
    const response = await fetch(path, { method, headers: sent, ...(text !== undefined && { body: text }) })
    const answer = (await response.json()) as Loose
    expect(response.headers.get('cache-control')).toBe('no-store')
    conforms(method, path, response.status, answer)
    return { status: response.status, headers: response.headers, body: answer }
  }
}

/** Like {@link useAdmin}, with an API over it. */
export function useApi(): AdminDatabase & Api {
  const database = useAdmin()
  let made: { api: Api; of: unknown } | undefined
  const api = () => {
    if (made?.of !== database.sql) made = { api: makeApi({ sql: database.sql }), of: database.sql }
    return made.api
  }
  return Object.defineProperties(database, {
    app: { get: () => api().app },
    events: { get: () => api().events },
    call: { value: (...args: Parameters<Call>) => api().call(...args) },
  }) as AdminDatabase & Api
}

export interface Operation {
  readonly method: string
  /** As in the document: `/api/jobs/{id}`. */
  readonly path: string
  readonly scope: string | undefined
  readonly statuses: readonly number[]
  readonly parameters: readonly { readonly name: string; readonly in: string; readonly schema: object }[]
  readonly requestBody: object | undefined
}

const document: Loose = openApiDocument()

export const documented: readonly Operation[] = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods as Loose).map(([method, operation]: [string, Loose]) => ({
    method: method.toUpperCase(),
    path,
    scope: operation['x-scope'],
    statuses: Object.keys(operation.responses).map(Number),
    parameters: operation.parameters ?? [],
    requestBody: operation.requestBody,
  })),
)

/** Those that need a key. */
export const operations = documented.filter(({ path }) => path.startsWith('/api'))

/** Which answers have been seen and found right: `GET /api/jobs 200`. */
const seen = new Set<string>()

/** The operations below a path that no test of the file has had done. */
export const neverDone = (fits: (path: string) => boolean): string[] =>
  documented
    .filter(({ path }) => fits(path))
    .map(({ method, path, statuses }) => `${method} ${path} ${statuses.find(status => status < 300)}`)
    .filter(name => !seen.has(name))

const ajv = new Ajv2020({ strict: true, allErrors: true, allowUnionTypes: true })
ajv.addKeyword('x-code')
ajv.addFormat('date-time', /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$/)
ajv.addSchema(refersToDefinitions({ $id: 'document', $defs: exact(document.components.schemas) }))
const validators = new Map<string, ValidateFunction>()

/** The document's schema of an answer, by which nothing may be there that it does not name. */
function validator(operation: Operation, status: number): ValidateFunction {
  const name = `${operation.method} ${operation.path} ${status}`
  let validate = validators.get(name)
  if (validate === undefined) {
    const described = document.paths[operation.path][operation.method.toLowerCase()].responses[status]
    if (described === undefined) throw new Error(`${name} is not in the document`)
    validate = ajv.compile(refersToDefinitions(exact(described.content['application/json'].schema)))
    validators.set(name, validate)
  }
  return validate
}

function refersToDefinitions(schema: Loose): Loose {
  return JSON.parse(JSON.stringify(schema).replaceAll('"#/components/schemas/', '"document#/$defs/'))
}

function exact(schema: Loose): Loose {
  if (Array.isArray(schema)) return schema.map(exact)
  if (typeof schema !== 'object' || schema === null) return schema
  const inner = Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, exact(value)]))
  return schema.type?.includes?.('object') && schema.properties ? { additionalProperties: false, ...inner } : inner
}

function conforms(method: string, path: string, status: number, answer: unknown): void {
  const [pathname = ''] = path.split('?')
  const fitting = documented.filter(operation => operation.method === method && matches(operation.path, pathname))
  const operation = fitting.find(operation => !operation.path.includes('{')) ?? fitting[0]
  if (operation === undefined) {
    expect([401, 404, 405]).toContain(status)
    return
  }
  const validate = validator(operation, status)
  const valid = validate(answer)
  if (!valid)
    throw new Error(`${method} ${path} ${status}: ${ajv.errorsText(validate.errors)}\n${JSON.stringify(answer)}`)
  if (status >= 400) {
    const { code } = (answer as Loose).error
    const { description } = document.paths[operation.path][method.toLowerCase()].responses[status]
    expect(description.split(', ')).toContain(code)
  }
  seen.add(`${method} ${operation.path} ${status}`)
}

const matches = (template: string, path: string): boolean =>
  new RegExp(`^${template.replaceAll(/\{\w+\}/g, '[^/]+')}$`).test(path)
