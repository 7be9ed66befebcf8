// HTTP events of AWS Lambda as Web requests: function URLs, API Gateway (HTTP and REST) and load balancers.

import { MillraceError } from '../../core/errors.ts'

type Texts = { readonly [name: string]: string | undefined } | null | undefined
type Lists = { readonly [name: string]: readonly string[] | undefined } | null | undefined

/** Function URLs, and API Gateway's HTTP APIs with payload format 2.0. */
export interface HttpEventV2 {
  readonly version: '2.0'
  readonly rawPath: string
  readonly rawQueryString?: string
  readonly headers?: Texts
  readonly requestContext: {
    readonly http: { readonly method: string; readonly sourceIp?: string }
    readonly domainName?: string
  }
  readonly body?: string | null
  readonly isBase64Encoded?: boolean
}

/** API Gateway's REST APIs, HTTP APIs with payload format 1.0, and load balancers (`requestContext.elb`). */
export interface HttpEventV1 {
  readonly httpMethod: string
  readonly path: string
  readonly headers?: Texts
  readonly multiValueHeaders?: Lists
  readonly queryStringParameters?: Texts
  readonly multiValueQueryStringParameters?: Lists
  readonly requestContext: {
    readonly path?: string
    readonly domainName?: string
    readonly elb?: unknown
    readonly identity?: { readonly sourceIp?: string }
  }
  readonly body?: string | null
  readonly isBase64Encoded?: boolean
}

export type LambdaHttpEvent = HttpEventV2 | HttpEventV1

/** What a sender sees of the path, from what the event says of it. */
export type PathMapping = (path: string) => string

export const isV2 = (event: LambdaHttpEvent): event is HttpEventV2 => 'version' in event && event.version === '2.0'

/**
 * The request that the event was made from: body bytes as they came, path with the stage, query in its order.
 *
 * Where AWS decodes before it tells, the usual spelling is restored: a percent sign or an encoded slash in a path, and
 * characters in the query of a REST API that need not be encoded but were (or the other way round), cannot be told from the
 * event, and a signature over them does not verify. Give functions plain paths, and use function URLs where queries matter.
 *
 * @throws {MillraceError} `invalid_request` when it is no HTTP event
 */
export function lambdaRequest(event: LambdaHttpEvent, originalPath: PathMapping = path => path): Request {
  const method = isV2(event) ? event.requestContext?.http?.method : event.httpMethod
  if (typeof method !== 'string') {
    throw new MillraceError('invalid_request', 'Not an HTTP event of Lambda', {
      hint: 'It must come from a function URL, from API Gateway (HTTP or REST API, proxy integration), or from a load balancer',
    })
  }
  const headers = headersOf(event)
  const url = `https://${hostOf(event, headers)}${encodedPath(originalPath(pathOf(event)))}${queryOf(event)}`
  const hasBody = method !== 'GET' && method !== 'HEAD'
  return new Request(url, { method, headers, ...(hasBody && { body: bytesOf(event) }) })
}

/** Of a REST API, `path` is without the stage or the custom domain's base path; the context has all of it. */
const pathOf = (event: LambdaHttpEvent): string =>
  isV2(event) ? event.rawPath : (event.requestContext?.path ?? event.path)

/** Characters that would end a path, or that no path holds, are encoded; what is encoded stays. */
const encodedPath = (path: string): string =>
  (path.startsWith('/') ? path : `/${path}`).replace(/[?#]/g, encodeURIComponent)

function queryOf(event: LambdaHttpEvent): string {
  if (isV2(event)) return event.rawQueryString ? `?${event.rawQueryString}` : ''
  const { multiValueQueryStringParameters: lists, queryStringParameters: texts } = event
  const pairs = Object.entries(lists ?? texts ?? {}).flatMap(([name, values]) =>
    [values ?? ''].flat().map(value => [name, value] as const),
  )
  // A load balancer tells names and values as they came, API Gateway decodes them.
  const written = event.requestContext?.elb === undefined ? encodeURIComponent : (text: string) => text
  const query = pairs.map(([name, value]) => `${written(name)}=${written(value)}`).join('&')
  return query === '' ? '' : `?${query}`
}

function headersOf(event: LambdaHttpEvent): Headers {
  const headers = new Headers()
  const lists = isV2(event) ? undefined : event.multiValueHeaders
  for (const [name, values] of Object.entries(lists ?? event.headers ?? {})) {
    for (const value of [values ?? []].flat()) append(headers, name, value)
  }
  return headers
}

/** What HTTP does not allow in a header can be sent by anybody and is nothing to us. */
function append(headers: Headers, name: string, value: string): void {
  try {
    headers.append(name, value)
  } catch (error) {
    if (!(error instanceof TypeError)) throw error
  }
}

/** Nothing is signed of it; it only has to make a URL. */
function hostOf(event: LambdaHttpEvent, headers: Headers): string {
  const host = headers.get('host') ?? event.requestContext.domainName ?? ''
  return /^[\w.:[\]-]+$/.test(host) && URL.canParse(`https://${host}`) ? host : 'lambda.invalid'
}

const bytesOf = ({ body, isBase64Encoded }: LambdaHttpEvent): Uint8Array<ArrayBuffer> =>
  new Uint8Array(Buffer.from(body ?? '', isBase64Encoded ? 'base64' : 'utf8'))
