// What an answer must be like, whatever was sent.

import { apiRoutes, openApiDocument } from '../core/api/app.ts'
import type { Scope } from '../core/api-key.ts'
import { ANSWER_HEADERS } from '../core/request-limits.ts'
import type { Reply, Shot } from './shot.ts'
import { MAX_BODY_BYTES, SECRET, TENANT } from './world.ts'

/** As docs/protocol.md has them. */
const INGRESS_CODES: Readonly<Record<number, readonly string[]>> = {
  400: ['invalid_request'],
  401: ['invalid_signature', 'stale_timestamp'],
  404: ['not_found'],
  405: ['method_not_allowed'],
  408: ['request_timeout'],
  409: ['attempt_closed', 'already_ended'],
  413: ['body_too_large', 'payload_too_large'],
  414: ['url_too_long'],
  417: ['invalid_request'],
  422: ['invalid_request', 'invalid_event', 'invalid_expression'],
  429: ['too_many_events', 'too_many_requests'],
  431: ['headers_too_large'],
}
const STRANGERS_STATUSES = [400, 401, 404, 405, 408, 413, 414, 417, 429, 431]
/** Those that the server gives before the API sees anything. */
const SERVER_CODES: Readonly<Record<number, readonly string[]>> = {
  400: ['invalid_request'],
  405: ['method_not_allowed'],
  408: ['request_timeout'],
  413: ['body_too_large'],
  417: ['invalid_request'],
  431: ['headers_too_large'],
}
/** Words of Postgres, of the runtime and of paths. */
const INTERNAL =
  /violates|duplicate key|relation "|invalid input syntax|null value in column|PL\/pgSQL|SQLSTATE|node_modules|\.ts:\d|\/work\/|ECONN|permission denied|deadlock/

/** Who sent it: nobody we know, or somebody with a right signature or key. */
export type Sender = 'stranger' | 'known'

/** What a sender's key of the API is for. */
export interface Rights {
  readonly scopes: readonly Scope[]
  readonly isTenant?: true
}

/** What is wrong with the answer; undefined: nothing. */
export function faultOf(shot: Shot, reply: Reply, sender: Sender, rights?: Rights): string | undefined {
  const { status, text } = reply
  // What is no whole request may be hung up on.
  if (status === 0) return shot.wire === undefined ? 'no answer' : undefined
  if (status >= 500) return `a ${status}`
  if (INTERNAL.test(text)) return 'internal words'
  const missing = Object.entries(ANSWER_HEADERS).find(([name, value]) => reply.headers.get(name) !== value)
  if (missing) return `the header ${missing[0]} is ${reply.headers.get(missing[0])}`
  if (status < 400 && sender === 'stranger') return strangersSuccess(shot, reply)
  if (status < 400) return tooLarge(shot) ?? (shot.door === 'api' && rights ? trespass(shot, reply, rights) : undefined)
  return refusalFault(shot, reply, sender)
}

/** Of other methods nobody reads the body. */
const tooLarge = ({ method, body }: Shot): string | undefined =>
  method.toUpperCase() === 'POST' && (body?.length ?? 0) > MAX_BODY_BYTES ? 'a body beyond the limit' : undefined

/** What went well though the key is not for it. */
function trespass(shot: Shot, { text }: Reply, { scopes, isTenant }: Rights): string | undefined {
  const [path = '', query] = shot.path.split('?')
  const method = shot.method === 'HEAD' ? 'GET' : shot.method
  const route = routes.find(route => route.method === method && route.pattern.test(path))
  if (route?.scope && !scopes.includes(route.scope)) return `nobody has the scope ${route.scope}`
  if (!isTenant) return undefined
  if (route && route.tenants === undefined) return 'this is not for tenants'
  if (text.includes(SECRET) || text.includes('"tenant":"other"')) return "another tenant's data"
  const asked = [...new URLSearchParams(query).getAll('tenant'), tenantIn(shot.body)]
  return asked.some(tenant => tenant !== undefined && tenant !== TENANT) ? "in another tenant's name" : undefined
}

function tenantIn(body: Uint8Array | undefined): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(body)).tenant
  } catch {
    return undefined
  }
}

/** A bit that was flipped may have made any path of a known one. */
const strangersSuccess = ({ path, method, wire }: Shot, { status }: Reply): string | undefined =>
  wire?.flip !== undefined || (/^\/(healthz|readyz)(\?|$)/.test(path) && /^(GET|HEAD)$/.test(method))
    ? undefined
    : `a ${status} for a stranger`

function refusalFault(shot: Shot, { status, headers, text }: Reply, sender: Sender): string | undefined {
  if (sender === 'stranger' && !STRANGERS_STATUSES.includes(status)) return `a ${status} for a stranger`
  // Where the parser gave up, the method is not known.
  if (shot.method === 'HEAD' && text === '') return undefined
  if (!headers.get('content-type')?.startsWith('application/json')) return `a ${headers.get('content-type')}`
  const code = codeIn(shot.door, text)
  if (code === undefined) return 'another form'
  if (status === 429 && !/^\d+$/.test(headers.get('retry-after') ?? '')) return 'a 429 without Retry-After'
  const known = shot.door === 'ingress' ? (INGRESS_CODES[status] ?? []) : apiCodes(shot, status)
  return known.includes(code) ? undefined : `an undocumented ${status} ${code}`
}

function codeIn(door: Shot['door'], text: string): string | undefined {
  try {
    const body = JSON.parse(text)
    const { code, message, ...rest } = door === 'api' ? body.error : { ...body, message: body.error, error: undefined }
    const known = ['hint', 'state', 'error']
    const isOfForm = typeof code === 'string' && typeof message === 'string' && message !== ''
    return isOfForm && Object.keys(rest).every(name => known.includes(name)) ? code : undefined
  } catch {
    return undefined
  }
}

interface Described {
  readonly responses: Readonly<Record<string, { readonly description: string } | undefined>>
}

const document = openApiDocument() as { paths: Record<string, Record<string, Described | undefined>> }
const patternOf = (path: string): RegExp => new RegExp(`^${path.replaceAll('.', '\\.').replaceAll(/:\w+/g, '[^/]+')}$`)
const routes = apiRoutes.map(({ method, path, scope, tenants }) => ({
  method,
  scope,
  tenants,
  pattern: patternOf(path),
}))
const templates = [...new Set(apiRoutes.map(({ path }) => path))].map(path => ({
  path: path.replaceAll(/:(\w+)/g, '{$1}'),
  pattern: patternOf(path),
}))

/** Of the operation in the document; of a path or a method that there is not, those that anything may have. */
function apiCodes({ path, method, wire }: Shot, status: number): readonly string[] {
  const asked = path.split('?')[0] as string
  const fitting = templates.filter(({ pattern }) => pattern.test(asked))
  const operations = fitting.flatMap(({ path }) => document.paths[path]?.[method.toLowerCase()] ?? [])
  const documented = operations.flatMap(({ responses }) => responses[status]?.description.split(', ') ?? [])
  const always = { 401: ['unauthorized'], 404: ['not_found'], 405: ['method_not_allowed'], 414: ['url_too_long'] }
  const isUnknown = operations.length === 0 || status === 401 || wire?.flip !== undefined
  return [
    ...documented,
    ...(isUnknown ? ((always as Record<number, readonly string[]>)[status] ?? []) : []),
    ...(SERVER_CODES[status] ?? []),
    ...(status === 429 ? ['too_many_requests'] : []),
  ]
}
