// API keys in the database: made, taken, rotated, revoked, expired, and how often the database is asked for them.

import { toSql } from 'millrace'
import { apiApp, apiKeyCache, generateApiKey } from 'millrace/api'
import { describe, expect, it, vi } from 'vitest'
import { KEYS, makeApi, neverDone, useApi } from '../support/api.ts'

const api = useApi()

const made = (
  options: { name?: string; scopes?: string[]; tenant?: string; expires_seconds?: number } = {},
  key?: string,
) => api.call('POST', '/api/keys', { body: { name: 'reporting', scopes: ['read'], ...options }, ...(key && { key }) })

/** A process of its own: what it knows of keys, it asks for. */
const elsewhere = () => makeApi({ sql: api.sql })

const statusOf = async (key: string, { call } = elsewhere()) => (await call('GET', '/api/jobs', { key })).status

describe('a key', () => {
  it('is shown once, stands in the database as a hash and a hint, and is taken with its scopes', async () => {
    const { status, body } = await made()
    expect(status).toBe(201)
    expect(body.key).toMatch(/^mk_[A-Za-z0-9_-]{43}$/)
    const [row] = await api.sql`select to_jsonb(k) as row from millrace.api_key k`
    expect(JSON.stringify(row)).not.toContain(body.key.slice(8))
    expect(row?.row).toMatchObject({ hint: body.key.slice(0, 7), hash: expect.stringMatching(/^[0-9a-f]{64}$/) })
    const { key, ...shown } = body
    expect((await api.call('GET', '/api/keys')).body).toEqual({ items: [shown], cursor: null })
    expect(shown).toMatchObject({ name: 'reporting', created_by: 'configured-key:1', used_at: null, expired: false })
    expect(await statusOf(key)).toBe(200)
    expect((await api.call('POST', '/api/jobs', { key, body: { kind: 'a' } })).status).toBe(403)
    expect((await api.call('GET', '/api/keys')).body.items[0].used_at).not.toBeNull()
  })

  it('is marked as used once an hour', async () => {
    const { key } = (await made()).body
    const used = async () => (await api.sql`select used_at, xmin::text from millrace.api_key`)[0]
    await statusOf(key)
    const first = await used()
    await statusOf(key)
    expect(await used()).toEqual(first)
    await api.sql`update millrace.api_key set used_at = now() - interval '61 minutes'`
    await statusOf(key)
    expect((await used())?.used_at.getTime()).toBeGreaterThanOrEqual(first?.used_at.getTime())
  })

  it('waits for nobody who is about to change it', async () => {
    const { key } = (await made()).body
    await api.sql.begin(async tx => {
      await tx`select from millrace.api_key for update`
      expect(await statusOf(key)).toBe(200)
    })
  })

  it('has a name of its own, for as long as it is good', async () => {
    const { id } = (await made()).body
    expect(await made()).toMatchObject({ status: 409, body: { error: { code: 'api_key_exists' } } })
    await api.sql`update millrace.api_key set expires_at = now() where id = ${id}`
    expect((await made()).status).toBe(201)
    const attempts = await Promise.all(Array.from({ length: 6 }, () => made({ name: 'together' })))
    expect(attempts.map(({ status }) => status).sort()).toEqual([201, 409, 409, 409, 409, 409])
  })

  it.each([
    ['an empty name', { name: '' }],
    ['a long one', { name: 'x'.repeat(101) }],
    ['spaces around it', { name: ' x' }],
    ['no scope', { scopes: [] }],
    ['one that there is not', { scopes: ['admin'] }],
    ['an empty tenant', { tenant: '' }],
    ['no life', { expires_seconds: 0 }],
    ['too long a life', { expires_seconds: 1e10 }],
  ])('is not made with %s', async (_, options) => {
    expect(await made(options)).toMatchObject({ status: 400, body: { error: { code: 'invalid_request' } } })
  })

  it('makes none that may do more than it may, and shows none', async () => {
    const { key } = (await made({ name: 'ops', scopes: ['operate'] })).body
    const { id } = (await made({ name: 'all', scopes: ['read', 'operate', 'enqueue'] })).body
    expect((await made({ name: 'more', scopes: ['operate', 'read'] }, key)).status).toBe(403)
    expect((await api.call('POST', `/api/keys/${id}/rotate`, { key })).status).toBe(403)
    expect((await made({ name: 'same', scopes: ['operate'] }, key)).status).toBe(201)
    expect(await api.sql`select from millrace.api_key`).toHaveLength(3)
  })
})

describe('rotation', () => {
  it('gives another key with the same name and rights; the one before is good for the grace', async () => {
    const before = (await made({ scopes: ['read'], tenant: 'acme', expires_seconds: 7_776_000 })).body
    const { status, body } = await api.call('POST', `/api/keys/${before.id}/rotate`, { body: { grace_seconds: 60 } })
    expect(status).toBe(201)
    expect(body).toMatchObject({ name: 'reporting', scopes: ['read'], tenant: 'acme', expired: false })
    expect(Date.parse(body.expires_at) - Date.parse(body.created_at)).toBe(7_776_000_000)
    expect(body.key).not.toBe(before.key)
    expect([await statusOf(before.key), await statusOf(body.key)]).toEqual([200, 200])
    const [old] =
      await api.sql`select extract(epoch from expires_at - now())::float8 as left from millrace.api_key where id = ${before.id}`
    expect(old?.left).toBeLessThanOrEqual(60)
    await api.sql`update millrace.api_key set expires_at = now() where id = ${before.id}`
    expect([await statusOf(before.key), await statusOf(body.key)]).toEqual([401, 200])
    expect((await api.call('POST', `/api/keys/${before.id}/rotate`)).status).toBe(404)
  })

  it('without grace ends the one before at once', async () => {
    const before = (await made()).body
    await api.call('POST', `/api/keys/${before.id}/rotate`, { body: { grace_seconds: 0 } })
    expect(await statusOf(before.key)).toBe(401)
  })
})

it('a revoked key is taken by no process that asks, and there is none to revoke again', async () => {
  const { id, key } = (await made()).body
  expect(await statusOf(key)).toBe(200)
  expect(await api.call('DELETE', `/api/keys/${id}`)).toMatchObject({ status: 200, body: { revoked: true } })
  expect(await statusOf(key)).toBe(401)
  expect((await api.call('DELETE', `/api/keys/${id}`)).status).toBe(404)
  expect((await api.call('POST', `/api/keys/${id}/rotate`)).status).toBe(404)
})

it('"database" instead of keys leaves those of the database alone', async () => {
  const { key } = (await made()).body
  const only = makeApi({ sql: api.sql, apiKeys: 'database' })
  expect([await statusOf(key, only), await statusOf(KEYS.all, only)]).toEqual([200, 401])
  expect(() => apiApp({ sql: toSql(api.sql), apiKeys: `database ${KEYS.all}` })).toThrow(
    expect.objectContaining({ code: 'invalid_configuration' }),
  )
})

it('when the database is away, configured keys are still told from none', async () => {
  const away = makeApi({ sql: { query: () => Promise.reject(new Error('gone')) } })
  expect((await away.call('GET', '/api/openapi.json')).status).toBe(200)
  expect((await away.call('GET', '/api/openapi.json', { key: 'mk_short' })).status).toBe(401)
  const guessed = await away.call('GET', '/api/openapi.json', { key: generateApiKey() })
  expect(guessed).toMatchObject({ status: 503, body: { error: { code: 'unavailable' } } })
})

describe('what is known of keys', () => {
  const cache = () => {
    let time = 0
    const lookUp = vi.fn(async (_hash: string) => ({
      name: 'a',
      scopes: ['read'] as const,
      tenant: null,
      expires_ms: null as number | null,
    }))
    const none = vi.fn(async (_hash: string) => undefined)
    return {
      ...{ lookUp, none, known: apiKeyCache({ now: () => time }) },
      later: (ms: number) => {
        time += ms
      },
    }
  }

  it('is asked for at most every ten seconds, so that within them a revocation holds', async () => {
    const { known, lookUp, none, later } = cache()
    const key = generateApiKey()
    for (let n = 0; n < 5; n++) expect(await known.find(key, lookUp)).toMatchObject({ actor: 'key:a' })
    expect(lookUp).toHaveBeenCalledTimes(1)
    later(9_999)
    await known.find(key, lookUp)
    expect(lookUp).toHaveBeenCalledTimes(1)
    later(1)
    expect(await known.find(key, none)).toBeUndefined()
    expect(none).toHaveBeenCalledTimes(1)
  })

  it('does not outlive the key', async () => {
    const { known, lookUp, none, later } = cache()
    const key = generateApiKey()
    lookUp.mockResolvedValueOnce({ name: 'a', scopes: ['read'], tenant: null, expires_ms: 500 })
    await known.find(key, lookUp)
    later(500)
    expect(await known.find(key, none)).toBeUndefined()
  })

  it('spares the database what cannot be a key, what was none a moment ago, and a flood of guesses', async () => {
    const { known, lookUp, none, later } = cache()
    for (const token of ['', 'mk_x', `mk_${'x'.repeat(42)}`, `mk_${'x'.repeat(44)}`, `mk_${'x'.repeat(42)}!`]) {
      expect(await known.find(token, none)).toBeUndefined()
    }
    expect(none).not.toHaveBeenCalled()
    const wrong = generateApiKey()
    for (let n = 0; n < 5; n++) await known.find(wrong, none)
    expect(none).toHaveBeenCalledTimes(1)
    later(5_000)
    expect(await known.find(wrong, lookUp)).toBeDefined()

    for (let n = 0; n < 100; n++) await known.find(generateApiKey(), none)
    await expect(known.find(generateApiKey(), none)).rejects.toMatchObject({ code: 'too_many_requests' })
    expect(none).toHaveBeenCalledTimes(101)
    // One that was good is asked for all the same.
    later(10_000)
    for (let n = 0; n < 100; n++) await known.find(generateApiKey(), none)
    const asked = lookUp.mock.calls.length
    await expect(known.find(generateApiKey(), lookUp)).rejects.toMatchObject({ code: 'too_many_requests' })
    expect(await known.find(wrong, lookUp)).toBeDefined()
    expect(lookUp).toHaveBeenCalledTimes(asked + 1)
  })

  it('counts nothing that is found as a guess', async () => {
    const { known, lookUp } = cache()
    for (let n = 0; n < 500; n++) expect(await known.find(generateApiKey(), lookUp)).toBeDefined()
  })

  it('a flood of guesses is answered 429 by the API, and keys that it knows go on', async () => {
    const app = elsewhere()
    const { key } = (await made()).body
    expect(await statusOf(key, app)).toBe(200)
    const answers = await Promise.all(Array.from({ length: 200 }, () => statusOf(generateApiKey(), app)))
    expect(new Set(answers)).toEqual(new Set([401, 429]))
    expect([await statusOf(key, app), await statusOf(KEYS.all, app)]).toEqual([200, 200])
  })
})

it('does all of this, and answers as the document says', () => {
  expect(neverDone(path => path.startsWith('/api/keys'))).toEqual([])
})
