// Signature Version 4, checked by an implementation of the receiver's own, which is checked by AWS's published vectors.

import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import { awsSigner } from 'millrace/identity'
import { formatKeyring } from 'millrace/protocol'
import { describe, expect, test } from 'vitest'
import { runCli } from '../support/cli.ts'
import { type Received, startFunctionServer } from '../support/function-server.ts'
import { keyring } from '../support/ingress.ts'
import { freshDatabase } from '../support/maintenance.ts'

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')
const hmac = (key: string | Buffer, text: string): Buffer => createHmac('sha256', key).update(text).digest()
/** RFC 3986, as AWS has it. */
const encoded = (text: string): string =>
  encodeURIComponent(text).replace(/[!'()*]/g, char => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)

interface Message {
  readonly method: string
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly text: string
}

/** What AWS computes from a request (docs.aws.amazon.com, "Create a signed AWS API request"). */
function signatureOf(
  { method, path, headers, text }: Message,
  secret: string,
  scope: string,
  signed: string[],
): string {
  const { pathname, searchParams } = new URL(path, 'https://a.example')
  const query = [...searchParams].map(([name, value]) => `${encoded(name)}=${encoded(value)}`).sort()
  const canonical = [
    method,
    pathname.split('/').map(encoded).join('/'),
    query.join('&'),
    ...signed.map(name => `${name}:${String(headers[name]).trim().replace(/ +/g, ' ')}`),
    '',
    signed.join(';'),
    sha256(text),
  ].join('\n')
  const key = scope.split('/').reduce<string | Buffer>((key, part) => hmac(key, part), `AWS4${secret}`)
  const toSign = ['AWS4-HMAC-SHA256', headers['x-amz-date'], scope, sha256(canonical)].join('\n')
  return hmac(key, toSign).toString('hex')
}

describe('the receiver computes what AWS publishes', () => {
  const secret = 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY'
  const date = '20150830T123600Z'

  test.each<[string, Message, string, string[], string]>([
    [
      'get-vanilla of the test suite',
      { method: 'GET', path: '/', headers: { host: 'example.amazonaws.com', 'x-amz-date': date }, text: '' },
      'service',
      ['host', 'x-amz-date'],
      '5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31',
    ],
    [
      'post-vanilla of the test suite',
      { method: 'POST', path: '/', headers: { host: 'example.amazonaws.com', 'x-amz-date': date }, text: '' },
      'service',
      ['host', 'x-amz-date'],
      '5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b',
    ],
    [
      'the example of the documentation',
      {
        method: 'GET',
        path: '/?Action=ListUsers&Version=2010-05-08',
        headers: {
          'content-type': 'application/x-www-form-urlencoded; charset=utf-8',
          host: 'iam.amazonaws.com',
          'x-amz-date': date,
        },
        text: '',
      },
      'iam',
      ['content-type', 'host', 'x-amz-date'],
      '5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7',
    ],
  ])('%s', (_, message, service, signed, signature) => {
    expect(signatureOf(message, secret, `20150830/us-east-1/${service}/aws4_request`, signed)).toBe(signature)
  })
})

const CREDENTIALS = { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'xyzzy/plugh+1' }

/** What a function URL with IAM does before it lets a request in; answers what was signed. */
function signedHeaders({ path, headers, text }: Received, secret = CREDENTIALS.secretAccessKey) {
  const [, id, scope = '', names = '', signature = ''] =
    /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\S+), SignedHeaders=(\S+), Signature=([0-9a-f]{64})$/.exec(
      headers.authorization ?? '',
    ) ?? []
  if (id !== CREDENTIALS.accessKeyId || !scope.endsWith('/aws4_request')) return undefined
  const expected = signatureOf({ method: 'POST', path, headers, text }, secret, scope, names.split(';'))
  if (signature === '' || !timingSafeEqual(Buffer.from(signature), Buffer.from(expected))) return undefined
  return { scope, names: names.split(';') }
}

async function withGuarded(service?: string, path = '/jobs/a%20b/(c)?tenant=7&q=%C3%A4%2F*') {
  const database = await freshDatabase()
  const fn = await startFunctionServer(received => (signedHeaders(received) ? {} : { status: 403 }))
  const auth = { type: 'aws_sigv4', region: 'eu-west-1', ...(service !== undefined && { service }) } as const
  await database.declare([{ name: 'work', target: { url: fn.url + path, mode: 'sync', auth } }])
  return { database, fn }
}

test("a request is signed as it is sent, with Millrace's headers", async () => {
  const { database, fn } = await withGuarded()
  const work = await database.maintain({ awsSigner: awsSigner({ credentials: () => CREDENTIALS }) })
  const job = await database.enqueue('work', { text: 'grüße' })
  expect(await work.closed(job)).toMatchObject({ state: 'completed' })
  const received = await fn.received.first({})
  const { scope, names } = signedHeaders(received) ?? { names: [] }
  expect(scope).toMatch(/^\d{8}\/eu-west-1\/lambda\/aws4_request$/)
  expect(names).toEqual(expect.arrayContaining(['host', 'x-amz-date', 'millrace-signature', 'millrace-attempt']))
  expect(signedHeaders({ ...received, text: `${received.text} ` })).toBeUndefined()
  expect(signedHeaders({ ...received, path: '/jobs' })).toBeUndefined()
})

test('another service; temporary credentials, asked for each time', async () => {
  const { database, fn } = await withGuarded('execute-api')
  let nth = 0
  const credentials = async () => ({ ...CREDENTIALS, sessionToken: `session-${++nth}` })
  const work = await database.maintain({ awsSigner: awsSigner({ credentials }) })
  for (const job of await database.enqueueMany('work', 2))
    expect(await work.closed(job)).toMatchObject({ state: 'completed' })
  expect(fn.received.all.map(({ headers }) => headers['x-amz-security-token']).sort()).toEqual([
    'session-1',
    'session-2',
  ])
  for (const received of fn.received.all) {
    const { scope, names } = signedHeaders(received) ?? { names: [] }
    expect(scope).toContain('/eu-west-1/execute-api/')
    expect(names).toContain('x-amz-security-token')
  }
})

test('without credentials, or with a source that fails, jobs are put back', async () => {
  const { database, fn } = await withGuarded()
  const without = await database.maintain()
  const job = await database.enqueue('work')
  expect(await without.closed(job)).toMatchObject({ state: 'available', code: 'identity_unavailable' })
  await without.stop()
  const credentials = () => Promise.reject(new Error('the role cannot be assumed'))
  const failing = await database.maintain({ awsSigner: awsSigner({ credentials }) })
  await database.passTime()
  expect(await failing.closed(job)).toMatchObject({ state: 'available', code: 'identity_unavailable' })
  expect(await database.job(job)).toMatchObject({ put_back: { message: expect.stringContaining('cannot be assumed') } })
  expect(fn.received.all).toEqual([])
})

test('millrace tick signs with the credentials of its environment', async () => {
  const { database } = await withGuarded()
  const job = await database.enqueue('work')
  const env = { DATABASE_URL: database.url, MILLRACE_KEYS: formatKeyring(keyring), AWS_ACCESS_KEY_ID: '' }
  expect(await runCli(['tick'], { env })).toMatchObject({ status: 0 })
  expect(await database.job(job)).toMatchObject({ put_back: { code: 'identity_unavailable' } })
  await database.passTime()
  const aws = { AWS_ACCESS_KEY_ID: CREDENTIALS.accessKeyId, AWS_SECRET_ACCESS_KEY: CREDENTIALS.secretAccessKey }
  expect(await runCli(['tick'], { env: { ...env, ...aws } })).toMatchObject({ status: 0 })
  expect(await database.job(job)).toMatchObject({ state: 'completed' })
})
