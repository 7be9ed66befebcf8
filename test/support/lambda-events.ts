// What AWS makes of an HTTP request before it reaches a Lambda function, as its documentation shows the events, and back.

import { createServer, type IncomingMessage, type Server } from 'node:http'
import { buffer } from 'node:stream/consumers'
import type { HttpEventV1, HttpEventV2, LambdaHttpAnswer, LambdaHttpEvent } from 'millrace/aws'
import { listenNode } from './http-server.ts'

const TEXT = /^(text\/.*|application\/(json|javascript|xml))/

interface Arrived {
  readonly request: IncomingMessage
  readonly body: Buffer
}

const pathAndQuery = ({ request }: Arrived): [path: string, query: string] => {
  const [path = '', ...query] = (request.url ?? '').split('?')
  return [path, query.join('?')]
}

const joinedHeaders = ({ request }: Arrived): Record<string, string> =>
  Object.fromEntries(Object.entries(request.headersDistinct).map(([name, values]) => [name, (values ?? []).join(',')]))

const listedHeaders = ({ request }: Arrived) => request.headersDistinct as Record<string, string[]>

/** Text as it is, where the content type says so; anything else in base64. */
function bodyOf({ request, body }: Arrived) {
  const isText = TEXT.test(request.headers['content-type'] ?? '') && request.headers['content-encoding'] === undefined
  return { body: body.toString(isText ? 'utf8' : 'base64'), isBase64Encoded: !isText }
}

/** A function URL, or an HTTP API with payload format 2.0. */
export function functionUrlEvent(arrived: Arrived): HttpEventV2 {
  const [rawPath, rawQueryString] = pathAndQuery(arrived)
  const domainName = 'abc123.lambda-url.eu-central-1.on.aws'
  const http = { method: arrived.request.method ?? '', path: rawPath, protocol: 'HTTP/1.1', sourceIp: '203.0.113.1' }
  return {
    version: '2.0',
    ...{ routeKey: '$default' },
    rawPath,
    rawQueryString,
    headers: { ...joinedHeaders(arrived), host: domainName, 'x-forwarded-proto': 'https' },
    requestContext: { domainName, http, ...{ stage: '$default', requestId: 'id', timeEpoch: 1750000000123 } },
    ...bodyOf(arrived),
  }
}

const decoded = (query: string): Record<string, string[]> => {
  const lists: Record<string, string[]> = {}
  for (const [name, value] of new URLSearchParams(query)) lists[name] = [...(lists[name] ?? []), value]
  return lists
}

const lastOf = <T>(lists: Record<string, T[]>): Record<string, T> =>
  Object.fromEntries(Object.entries(lists).map(([name, values]) => [name, values.at(-1) as T]))

/** A REST API at the stage `prod`, which `path` leaves out. */
export function restEvent(arrived: Arrived): HttpEventV1 {
  const [path, query] = pathAndQuery(arrived)
  const lists = decoded(query)
  return {
    ...{ resource: '/{proxy+}' },
    path: path.replace(/^\/prod/, ''),
    httpMethod: arrived.request.method ?? '',
    headers: lastOf(listedHeaders(arrived)),
    multiValueHeaders: listedHeaders(arrived),
    queryStringParameters: query === '' ? null : lastOf(lists),
    multiValueQueryStringParameters: query === '' ? null : lists,
    requestContext: { path, domainName: 'abc123.execute-api.eu-central-1.amazonaws.com', ...{ stage: 'prod' } },
    ...bodyOf(arrived),
  }
}

const undecoded = (query: string): Record<string, string[]> => {
  const lists: Record<string, string[]> = {}
  for (const pair of query === '' ? [] : query.split('&')) {
    const [name = '', ...value] = pair.split('=')
    lists[name] = [...(lists[name] ?? []), value.join('=')]
  }
  return lists
}

const ELB = { elb: { targetGroupArn: 'arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/jobs/abc' } }

/** A load balancer: its query strings are not decoded. */
export function balancerEvent(arrived: Arrived): HttpEventV1 {
  const [path, query] = pathAndQuery(arrived)
  return {
    requestContext: ELB,
    httpMethod: arrived.request.method ?? '',
    path,
    queryStringParameters: lastOf(undecoded(query)),
    headers: lastOf(listedHeaders(arrived)),
    ...bodyOf(arrived),
  }
}

/** A load balancer whose target group has multi-value headers. */
export function multiValueBalancerEvent(arrived: Arrived): HttpEventV1 {
  const [path, query] = pathAndQuery(arrived)
  return {
    requestContext: ELB,
    httpMethod: arrived.request.method ?? '',
    path,
    multiValueQueryStringParameters: undecoded(query),
    multiValueHeaders: listedHeaders(arrived),
    ...bodyOf(arrived),
  }
}

/** A server in AWS's place: makes events of requests, hands them to the function, as JSON, and answers what it answers. */
export const serveLambda = (...of: Parameters<typeof lambdaServer>): Promise<string> => listenNode(lambdaServer(...of))

export function lambdaServer(
  eventOf: (arrived: Arrived) => LambdaHttpEvent,
  handler: (event: LambdaHttpEvent) => Promise<LambdaHttpAnswer>,
): Server {
  return createServer(async (request, response) => {
    const event = JSON.parse(JSON.stringify(eventOf({ request, body: await buffer(request) })))
    const answer: LambdaHttpAnswer = JSON.parse(JSON.stringify(await handler(event)))
    response.writeHead(answer.statusCode, { ...answer.headers, ...answer.multiValueHeaders })
    response.end(Buffer.from(answer.body, answer.isBase64Encoded ? 'base64' : 'utf8'))
  })
}
