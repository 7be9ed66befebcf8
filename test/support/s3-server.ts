// A small server that speaks as much of S3 as blobs need, and checks each signature (SigV4) on its own.

import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import { listen } from './http-server.ts'

export const CREDENTIALS = {
  accessKeyId: 'AKIDEXAMPLE',
  secretAccessKey: 'secret/example',
  sessionToken: 'token+example',
}
export const REGION = 'eu-central-1'

const sha256 = (data: string | Uint8Array): string => createHash('sha256').update(data).digest('hex')
const hmac = (key: string | Buffer, text: string): Buffer => createHmac('sha256', key).update(text).digest()

/** What is wrong with a request's signature: https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html */
function problemWith(request: Request, body: Uint8Array): string | undefined {
  const { headers, method } = request
  const { pathname, searchParams, host } = new URL(request.url)
  const form =
    /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/s3\/aws4_request, SignedHeaders=([^,]+), Signature=([0-9a-f]{64})$/
  const [, id, day = '', region = '', names = '', signature = ''] = form.exec(headers.get('authorization') ?? '') ?? []
  const at = headers.get('x-amz-date') ?? ''
  if (id !== CREDENTIALS.accessKeyId || region !== REGION || !at.startsWith(day)) return 'InvalidAccessKeyId'
  const time = Date.parse(at.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6Z'))
  if (!(Math.abs(Date.now() - time) < 900_000)) return 'RequestTimeTooSkewed'
  if (headers.get('x-amz-security-token') !== CREDENTIALS.sessionToken) return 'InvalidToken'
  if (headers.get('x-amz-content-sha256') !== sha256(body)) return 'XAmzContentSHA256Mismatch'
  const signed = names.split(';')
  if (!['host', 'x-amz-content-sha256', 'x-amz-date', 'x-amz-security-token'].every(name => signed.includes(name)))
    return 'AccessDenied'
  const lines = signed.map(name => `${name}:${name === 'host' ? host : headers.get(name)?.trim()}\n`).join('')
  const canonical = [method, pathname, searchParams.toString(), lines, names, sha256(body)].join('\n')
  const scope = `${day}/${region}/s3/aws4_request`
  const key = [day, region, 's3', 'aws4_request'].reduce(
    hmac,
    `AWS4${CREDENTIALS.secretAccessKey}` as never,
  ) as never as Buffer
  const expected = hmac(key, ['AWS4-HMAC-SHA256', at, scope, sha256(canonical)].join('\n'))
  return timingSafeEqual(expected, Buffer.from(signature, 'hex')) ? undefined : 'SignatureDoesNotMatch'
}

const error = (status: number, code: string): Response =>
  new Response(`<?xml version="1.0"?><Error><Code>${code}</Code><Key>not/for/logs</Key></Error>`, { status })

/** Serves one bucket until the test is over. `failNext` answers the next requests with these statuses. */
export async function startS3() {
  const objects = new Map<string, Uint8Array>()
  const failures: number[] = []
  const url = await listen(async request => {
    const body = new Uint8Array(await request.arrayBuffer())
    const problem = problemWith(request, body)
    if (problem !== undefined) return error(403, problem)
    const failure = failures.shift()
    if (failure !== undefined) return error(failure, 'SlowDown')
    const key = decodeURIComponent(new URL(request.url).pathname.replace('/payloads/', ''))
    if (request.method === 'PUT') {
      objects.set(key, body)
      return new Response(null, { status: 200, headers: { etag: `"${sha256(body)}"` } })
    }
    const found = objects.get(key)
    return found === undefined ? error(404, 'NoSuchKey') : new Response(found as BodyInit)
  })
  return { url: `${url}/payloads`, objects, failNext: (...statuses: number[]) => void failures.push(...statuses) }
}
