// Who may do what: no key, a wrong one, one without the scope, and every route.

import fc from 'fast-check'
import { toSql } from 'millrace'
import { apiApp, generateApiKey } from 'millrace/api'
import { describe, expect, it } from 'vitest'
import { apiKeys, caller, KEYS, makeApi, operations, useApi } from '../support/api.ts'
import { enqueue } from '../support/engine-database.ts'

const api = useApi()

/** A path that could be called. */
const concrete = (path: string): string => path.replace('{id}', '1').replace('{name}', 'mails')

const counted = async () => {
  const [row] = await api.sql`
    select (select count(*) from millrace.job_log) + (select count(*) from millrace.queue) + (select count(*) from millrace.batch)
      + (select count(*) from millrace.outcome_log) + (select count(*) from millrace.deferred) as n`
  return Number(row?.n)
}

describe.each(operations)('$method $path', ({ method, path, scope }) => {
  const request = (key: string | null, headers = {}) =>
    api.call(method, concrete(path), { key, headers, ...(method === 'POST' && { body: {} }) })

  it('needs a key', async () => {
    const answers = [
      await request(null),
      await request(`mk_${'x'.repeat(43)}`),
      await request(''),
      await request(KEYS.all.slice(0, -1)),
      await request(`${KEYS.all}a`),
      await request(null, { authorization: KEYS.all }),
      await request(null, { authorization: `Basic ${KEYS.all}` }),
      await request(null, { authorization: `Bearer ${KEYS.read}:read` }),
      await request(null, { cookie: `authorization=${KEYS.all}` }),
    ]
    expect(new Set(answers.map(({ body }) => JSON.stringify(body))).size).toBe(1)
    expect(answers[0]).toMatchObject({ status: 401, body: { error: { code: 'unauthorized' } } })
    expect(answers[0]?.headers.get('www-authenticate')).toBe('Bearer')
  })

  it('needs its scope', async () => {
    for (const name of ['enqueue', 'read', 'operate'] as const) {
      const { status, body } = await request(KEYS[name])
      if (scope === undefined || scope === name) expect([200, 201, 400, 404]).toContain(status)
      else expect({ status, body }).toMatchObject({ status: 403, body: { error: { code: 'forbidden' } } })
    }
    expect((await request(KEYS.all)).status).not.toBe(403)
  })
})

describe('without a key', () => {
  it('nobody learns which paths there are', async () => {
    const paths = ['/', '/api', '/api/', '/api/jobs/1/2/3', '/api/nothing', '/admin', '/api/jobs/..', '/API/jobs']
    for (const path of paths) {
      expect((await api.call('GET', path, { key: null })).status).toBe(401)
      expect((await api.call('GET', path)).body.error?.code).toBe('not_found')
    }
    for (const method of ['PUT', 'PATCH', 'DELETE', 'OPTIONS']) {
      expect((await api.call(method, '/api/jobs', { key: null })).status).toBe(401)
    }
  })

  it('no request whatever changes anything or breaks the app', async () => {
    await enqueue(api.sql, 3)
    const before = await counted()
    const requests = fc.record({
      path: fc.oneof(fc.constantFrom(...operations.map(({ path }) => concrete(path))), fc.webPath()),
      method: fc.constantFrom('GET', 'POST', 'DELETE', 'PUT', 'OPTIONS'),
      authorization: fc.option(
        fc.oneof(fc.stringMatching(/^Bearer mk_[A-Za-z0-9]{0,60}$/), fc.stringMatching(/^[!-~]*$/)),
      ),
      body: fc.oneof(fc.json(), fc.string(), fc.constantFrom('{"kind":"a"}', '{"ids":[1]}', '{"filter":{"all":true}}')),
    })
    await fc.assert(
      fc.asyncProperty(requests, async ({ path, method, authorization, body }) => {
        const response = await api.app.request(path || '/', {
          method,
          headers: { 'content-type': 'application/json', ...(authorization !== null && { authorization }) },
          ...(method !== 'GET' && { body }),
        })
        expect(response.status).toBe(401)
      }),
      { numRuns: 300 },
    )
    expect(await counted()).toBe(before)
  })

  it('one learns whether it lives and whether it is ready, and nothing else', async () => {
    expect(await api.call('GET', '/healthz', { key: null })).toMatchObject({ status: 200, body: { ok: true } })
    expect(await api.call('GET', '/readyz', { key: null })).toMatchObject({ status: 200, body: { ok: true } })
    const other = makeApi({ sql: api.sql, schema: 'elsewhere' })
    expect((await other.call('GET', '/healthz', { key: null })).status).toBe(200)
    const { status, body } = await other.call('GET', '/readyz', { key: null })
    expect({ status, code: body.error?.code }).toEqual({ status: 503, code: 'unavailable' })
    expect(JSON.stringify(body)).not.toMatch(/elsewhere|schema|function/)
  })
})

it('says which methods a path takes', async () => {
  const answer = await api.call('PUT', '/api/jobs', { body: {} })
  expect(answer).toMatchObject({ status: 405, body: { error: { code: 'method_not_allowed' } } })
  expect(answer.headers.get('allow')).toBe('POST, GET')
})

it('sends no CORS headers', async () => {
  const headers = { origin: 'https://evil.example', 'access-control-request-method': 'POST' }
  const answers = [
    await api.call('OPTIONS', '/api/jobs', { headers, key: null }),
    await api.call('GET', '/api/jobs', { headers }),
  ]
  for (const { headers } of answers) {
    expect([...headers.keys()].filter(name => name.startsWith('access-control'))).toEqual([])
  }
})

describe('keys', () => {
  const make = (keys: unknown) => () => apiApp({ sql: toSql(api.sql), apiKeys: keys as string })
  const key = `mk_${'k'.repeat(43)}`

  it.each([
    ['none', undefined],
    ['an empty text', ''],
    ['an empty list', []],
    ['blanks', ' ,; \n'],
    ['a word', 'secret'],
    ['one that is too short', 'mk_short'],
    ['a scope that there is not', `${key}:admin`],
    ['a colon and nothing', `${key}:`],
    ['a scope without a key', `${key},read`],
    ['the same twice', `${key}:read ${key}:operate`],
    ['one good, one bad', [key, 'mk_x']],
  ])('it refuses to be made with %s', (_, keys) => {
    expect(make(keys)).toThrow(expect.objectContaining({ code: 'invalid_configuration' }))
    expect(make(keys)).not.toThrow(/kkkk/)
  })

  it('work side by side, for rotation, in whatever way they are listed', async () => {
    const [old, next] = [generateApiKey(), generateApiKey()]
    expect(old).toMatch(/^mk_[A-Za-z0-9_-]{43}$/)
    expect(old).not.toBe(next)
    for (const keys of [
      `${old}:read,operate,${next}`,
      `${old}:read;${next}`,
      [`${old}:read`, next],
      `\n${old}:read\n ${next}\n`,
    ]) {
      const { call } = makeApi({ sql: api.sql, apiKeys: keys })
      expect((await call('GET', '/api/jobs', { key: old })).status).toBe(200)
      expect((await call('POST', '/api/jobs', { key: old, body: { kind: 'a' } })).status).toBe(403)
      expect((await call('POST', '/api/jobs', { key: next, body: { kind: 'a' } })).status).toBe(201)
      expect((await call('GET', '/api/jobs', { key: KEYS.all })).status).toBe(401)
    }
  })

  it('are taken with any case of Bearer', async () => {
    const app = apiApp({ sql: toSql(api.sql), apiKeys })
    const call = caller((path, init) => app.request(path, init))
    expect(
      (await call('GET', '/api/jobs', { key: null, headers: { authorization: `bearer  ${KEYS.read}` } })).status,
    ).toBe(200)
  })
})
