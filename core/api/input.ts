// From a request to a route's checked input: path, query, headers and body.

import type { HonoRequest } from 'hono'
import { MillraceError } from '../errors.ts'
import { jsonOf } from '../json-body.ts'
import { readBody } from '../read-body.ts'
import { faultIn } from './check.ts'
import type { BodyLimit } from './limits.ts'
import { type ApiErrorCode, Problem } from './problem.ts'
import type { Route } from './route.ts'
import { closed, type JsonSchema, type Shape, string } from './schema.ts'

const NO_BODY = closed({})

/** Visible ASCII: it becomes part of a unique key, which has 200 characters. */
export const IDEMPOTENCY_KEY = string({ pattern: '^[!-~]{1,180}$' })

/** @throws {Problem} for the first thing that is wrong */
export async function inputOf(
  route: Route,
  request: HonoRequest,
  limit: BodyLimit,
): Promise<Parameters<Route['run']>[0]> {
  const params = request.param() as Record<string, string>
  check(params, closed(route.params), 'path')
  const query = queryOf(route.query, new URL(request.url).searchParams)
  const body = route.method === 'POST' ? await bodyOf(request, limit) : undefined
  if (route.method === 'POST') check(body, route.body ?? NO_BODY, 'body')
  return { params, query, body } as Parameters<Route['run']>[0]
}

/** @throws {Problem} */
export function idempotencyKeyOf(route: Route, request: HonoRequest): string | undefined {
  const key = request.header('idempotency-key')
  if (key === undefined || !route.idempotent) return undefined
  check(key, IDEMPOTENCY_KEY, 'header Idempotency-Key')
  return key
}

function check(value: unknown, schema: JsonSchema, where: string): void {
  const fault = faultIn(value, schema, where)
  if (fault) throw new Problem((fault.code as ApiErrorCode | undefined) ?? 'invalid_request', fault.message)
}

/** A parameter that means nothing is refused: a misspelt filter would match everything. */
function queryOf(shape: Shape, given: URLSearchParams): Record<string, unknown> {
  const entries = [...new Set(given.keys())].map(name => [name, parameter(name, shape, given.getAll(name))])
  const query = Object.fromEntries(entries) as Record<string, unknown>
  check(query, closed({}, shape), 'query')
  return query
}

function parameter(name: string, shape: Shape, texts: readonly string[]): unknown {
  const schema = Object.hasOwn(shape, name) ? (shape[name] as JsonSchema) : {}
  if (schema.type === 'array') return texts
  if (texts.length === 1) return coerced(texts[0] as string, schema)
  throw new Problem('invalid_request', `query.${name.slice(0, 100)} is there more than once`)
}

/** What the text says, if it is of the type; else the text, which the check will complain about. */
function coerced(text: string, { type }: JsonSchema): unknown {
  if ((type === 'integer' || type === 'number') && /^-?\d+(\.\d+)?$/.test(text)) return Number(text)
  if (type === 'boolean' && (text === 'true' || text === 'false')) return text === 'true'
  return text
}

/** No body at all is `{}`. */
async function bodyOf(request: HonoRequest, limit: BodyLimit): Promise<unknown> {
  const bytes = await bytesOf(request, limit)
  if (bytes.length === 0) return {}
  if (!/^application\/json\s*(;|$)/i.test(request.header('content-type') ?? '')) {
    throw new Problem('unsupported_media_type', 'Bodies are JSON: Content-Type: application/json')
  }
  if (!/^(identity)?$/i.test(request.header('content-encoding') ?? '')) {
    throw new Problem('unsupported_media_type', 'Bodies are not compressed')
  }
  return jsonOf(bytes, why => new Problem('invalid_request', why))
}

async function bytesOf(request: HonoRequest, { maxBytes, take }: BodyLimit): Promise<Uint8Array> {
  try {
    if (Number(request.header('content-length') ?? 0) > maxBytes) {
      throw new MillraceError('body_too_large', `The body is larger than ${maxBytes} bytes`)
    }
    return await readBody(request.raw, maxBytes, take)
  } catch (error) {
    const { code, message } = error as MillraceError
    if (code === 'body_too_large' || code === 'unavailable') throw new Problem(code, message)
    throw new Problem('invalid_request', 'The body could not be read')
  }
}
