// Google's identity tokens: fetched once, sent as bearer, and verified by a receiver as platforms do it.

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createRemoteJWKSet, exportJWK, exportPKCS8, generateKeyPair, jwtVerify, SignJWT, UnsecuredJWT } from 'jose'
import { metadataTokens, serviceAccountTokens } from 'millrace/identity'
import { formatKeyring } from 'millrace/protocol'
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { cachedTokens } from '../../functions/identity/token-cache.ts'
import { runCli } from '../support/cli.ts'
import { startFunctionServer } from '../support/function-server.ts'
import { listen } from '../support/http-server.ts'
import { keyring } from '../support/ingress.ts'
import { freshDatabase } from '../support/maintenance.ts'

type KeyPair = Awaited<ReturnType<typeof generateKeyPair>>
let google: KeyPair
let account: KeyPair
beforeAll(async () => {
  const options = { extractable: true }
  ;[google, account] = await Promise.all([generateKeyPair('RS256', options), generateKeyPair('RS256', options)])
})

const EMAIL = 'dispatcher@project.iam.gserviceaccount.com'

/** Stands in for Google: exchanges the account's JWTs for tokens of its own, has a metadata server, and publishes its keys. */
async function startGoogle(answer: (audience: string) => Response | undefined = () => undefined) {
  const audiences: string[] = []
  const tokenFor = async (audience: string): Promise<Response | string> => {
    audiences.push(audience)
    return (
      answer(audience) ??
      (await new SignJWT({ email: EMAIL })
        .setProtectedHeader({ alg: 'RS256', kid: 'g1' })
        .setIssuer('https://accounts.google.com')
        .setAudience(audience)
        .setIssuedAt()
        .setExpirationTime('1h')
        .sign(google.privateKey))
    )
  }
  const url = await listen(async request => {
    const { pathname, searchParams } = new URL(request.url)
    if (pathname === '/certs')
      return Response.json({ keys: [{ ...(await exportJWK(google.publicKey)), kid: 'g1', alg: 'RS256' }] })
    if (pathname === '/token') {
      const form = await request.formData()
      expect(form.get('grant_type')).toBe('urn:ietf:params:oauth:grant-type:jwt-bearer')
      const { payload } = await jwtVerify(String(form.get('assertion')), account.publicKey, {
        issuer: EMAIL,
        audience: `${url}/token`,
        algorithms: ['RS256'],
      })
      const token = await tokenFor(String(payload.target_audience))
      return typeof token === 'string' ? Response.json({ id_token: token }) : token
    }
    if (pathname !== '/computeMetadata/v1/instance/service-accounts/default/identity')
      return new Response(null, { status: 404 })
    if (request.headers.get('metadata-flavor') !== 'Google') return new Response(null, { status: 403 })
    const token = await tokenFor(searchParams.get('audience') ?? '')
    return typeof token === 'string' ? new Response(token, { headers: { 'metadata-flavor': 'Google' } }) : token
  })
  const key = JSON.stringify({
    type: 'service_account',
    client_email: EMAIL,
    private_key_id: 'a1',
    private_key: await exportPKCS8(account.privateKey),
    token_uri: `${url}/token`,
  })
  return { url, key, audiences, jwks: createRemoteJWKSet(new URL(`${url}/certs`)) }
}

type Google = Awaited<ReturnType<typeof startGoogle>>

/** A function behind a platform that lets nobody in without a token for it. */
function guardedFunction({ jwks }: Google, audience?: string) {
  const fn = startFunctionServer(async ({ headers }) => {
    const [scheme, token = ''] = (headers.authorization ?? '').split(' ')
    const expected = audience ?? (await fn).url
    const verified = await jwtVerify(token, jwks, { issuer: 'https://accounts.google.com', audience: expected }).catch(
      () => undefined,
    )
    if (scheme !== 'Bearer' || verified?.payload.email !== EMAIL) return { status: 401 }
    return headers['millrace-signature'] ? {} : { status: 403 }
  })
  return fn
}

async function withGuarded(stand: Google, audience?: string) {
  const database = await freshDatabase()
  const fn = await guardedFunction(stand, audience)
  const auth = { type: 'oidc', ...(audience !== undefined && { audience }) } as const
  await database.declare([{ name: 'work', target: { url: `${fn.url}/jobs?a=b`, mode: 'sync', auth } }])
  return { database, fn }
}

test("a service account's key: the target's origin is the audience, one fetch is for all jobs", async () => {
  const stand = await startGoogle()
  const { database, fn } = await withGuarded(stand)
  const jobs = await database.enqueueMany('work', 50)
  const work = await database.maintain({ identityTokens: serviceAccountTokens({ key: stand.key }) })
  for (const job of jobs) expect(await work.closed(job)).toMatchObject({ state: 'completed' })
  expect(fn.received.all).toHaveLength(50)
  expect(stand.audiences).toEqual([fn.url])
})

test('another audience, as declared; the metadata server', async () => {
  const stand = await startGoogle()
  const { database } = await withGuarded(stand, '1234.apps.example')
  const work = await database.maintain({ identityTokens: metadataTokens({ baseUrl: stand.url }) })
  expect(await work.closed(await database.enqueue('work'))).toMatchObject({ state: 'completed' })
  expect(stand.audiences).toEqual(['1234.apps.example'])
})

test('a token for somebody else is not let in', async () => {
  const stand = await startGoogle()
  const { database } = await withGuarded(stand, '1234.apps.example')
  const tokens = metadataTokens({ baseUrl: stand.url })
  const work = await database.maintain({ identityTokens: { token: () => tokens.token('https://other.example') } })
  const job = await database.enqueue('work')
  expect(await work.closed(job)).toMatchObject({ state: 'failed', code: 'http_401' })
})

describe('without a token the job is put back, and nothing is sent', () => {
  test('nobody gives one out', async () => {
    const stand = await startGoogle()
    const { database, fn } = await withGuarded(stand)
    const work = await database.maintain()
    const job = await database.enqueue('work', {}, { max_attempts: 1 })
    expect(await work.closed(job)).toMatchObject({ state: 'available', code: 'identity_unavailable' })
    expect(await database.job(job)).toMatchObject({ errors: [], put_back: { code: 'identity_unavailable' } })
    expect(fn.received.all).toEqual([])
  })

  test('what breaks heals', async () => {
    let isBroken = true
    const stand = await startGoogle(() => (isBroken ? Response.json({ error: 'xyzzy' }, { status: 503 }) : undefined))
    const { database, fn } = await withGuarded(stand)
    const work = await database.maintain({ identityTokens: serviceAccountTokens({ key: stand.key }) })
    const job = await database.enqueue('work', {}, { max_attempts: 1 })
    expect(await work.closed(job)).toMatchObject({
      state: 'available',
      code: 'identity_unavailable',
      message: expect.stringMatching(/answered 503$/),
    })
    expect(fn.received.all).toEqual([])
    isBroken = false
    const stateOf = async () => {
      await database.passTime()
      return (await database.job(job)).state
    }
    await expect.poll(stateOf, { timeout: 15_000, interval: 100 }).toBe('completed')
  })

  test.each<[string, () => Response]>([
    ['no JSON', () => new Response('eyJhbGciOiJub25lIn0')],
    ['no token', () => Response.json({ access_token: 'x' })],
    ['a redirect', () => Response.redirect('https://elsewhere.example', 302)],
    ['a refusal that quotes what was sent', () => Response.json({ error: 'eyJ' }, { status: 400 })],
  ])('%s', async (_, answer) => {
    const stand = await startGoogle(answer)
    const failed = serviceAccountTokens({ key: stand.key }).token('https://a.example')
    await expect(failed).rejects.toThrow()
    await expect(failed).rejects.not.toThrow('eyJ')
  })

  test('a server that is no metadata server', async () => {
    const stand = await startGoogle(() => new Response('token'))
    await expect(metadataTokens({ baseUrl: stand.url }).token('https://a.example')).rejects.toThrow(
      'no metadata server',
    )
  })
})

describe('tokens are kept', () => {
  const at = { now: 1_000_000_000 }
  const token = (seconds: number) => new UnsecuredJWT({ exp: at.now / 1_000 + seconds }).encode()

  function counting(answer: (nth: number) => Promise<string>) {
    const asked: string[] = []
    const tokens = cachedTokens(
      audience => answer(asked.push(audience)),
      () => at.now,
    )
    return { asked, tokens }
  }

  test('until a minute before they expire, each for its audience', async () => {
    const { asked, tokens } = counting(async () => token(600))
    await Promise.all([tokens.token('a'), tokens.token('a'), tokens.token('b')])
    at.now += 539_000
    await tokens.token('a')
    expect(asked).toEqual(['a', 'b'])
    at.now += 2_000
    await Promise.all([tokens.token('a'), tokens.token('a')])
    expect(asked).toEqual(['a', 'b', 'a'])
  })

  test('what is no JWT is used once', async () => {
    const { asked, tokens } = counting(async () => 'opaque')
    expect([await tokens.token('a'), await tokens.token('a')]).toEqual(['opaque', 'opaque'])
    expect(asked).toHaveLength(2)
  })

  test('one that has expired already is none', async () => {
    const { tokens } = counting(async () => token(0))
    await expect(tokens.token('a')).rejects.toThrow('has expired')
  })

  test('a failure is told to all who ask within two seconds', async () => {
    const { asked, tokens } = counting(async nth => (nth === 1 ? Promise.reject(new Error('no')) : token(600)))
    for (let n = 0; n < 3; n++) await expect(tokens.token('a')).rejects.toThrow('no')
    expect(asked).toHaveLength(1)
    at.now += 2_000
    await tokens.token('a')
    expect(asked).toHaveLength(2)
  })
})

describe('keys that are none', () => {
  test.each([
    ['{', 'JSON'],
    ['null', 'client_email'],
    ['{"client_email":"a","private_key":"xyzzy"}', 'token_uri'],
    ['{"client_email":"a","private_key":"xyzzy","token_uri":"http://oauth.example"}', 'https'],
    ['{"client_email":"a","private_key":"xyzzy","token_uri":"/token"}', 'https'],
  ])('%s', (key, message) => {
    expect(() => serviceAccountTokens({ key })).toThrow(
      expect.objectContaining({ code: 'invalid_configuration', message: expect.stringContaining(message) }),
    )
    expect(() => serviceAccountTokens({ key })).not.toThrow('xyzzy')
  })
})

describe('millrace tick --identity', () => {
  async function ready() {
    const stand = await startGoogle()
    const { database } = await withGuarded(stand)
    const folder = await mkdtemp(join(tmpdir(), 'millrace-'))
    onTestFinished(() => rm(folder, { recursive: true }))
    const file = join(folder, 'key.json')
    await writeFile(file, stand.key)
    const env = { DATABASE_URL: database.url, MILLRACE_KEYS: formatKeyring(keyring) }
    return { stand, database, file, env, job: await database.enqueue('work') }
  }

  test('service-account:FILE', async () => {
    const { database, file, env, job } = await ready()
    expect(await runCli(['tick', '--identity', `service-account:${file}`], { env })).toMatchObject({ status: 0 })
    expect(await database.job(job)).toMatchObject({ state: 'completed' })
  })

  test('metadata, only when asked for', async () => {
    const { stand, database, env, job } = await ready()
    const host = { ...env, GCE_METADATA_HOST: new URL(stand.url).host }
    expect(await runCli(['tick'], { env: host })).toMatchObject({ status: 0 })
    expect(await database.job(job)).toMatchObject({ put_back: { code: 'identity_unavailable' } })
    expect(stand.audiences).toEqual([])
    await database.passTime()
    expect(await runCli(['tick'], { env: { ...host, MILLRACE_IDENTITY: 'metadata' } })).toMatchObject({ status: 0 })
    expect(await database.job(job)).toMatchObject({ state: 'completed' })
  })

  test('what is none ends it at once', async () => {
    const env = { DATABASE_URL: 'postgres://127.0.0.1:1/none', MILLRACE_KEYS: formatKeyring(keyring) }
    for (const identity of ['me', 'service-account:/nowhere.json', 'service-account:package.json'])
      expect(await runCli(['tick', '--identity', identity], { env })).toMatchObject({
        status: 2,
        stderr: expect.stringContaining('--identity'),
      })
  })
})
