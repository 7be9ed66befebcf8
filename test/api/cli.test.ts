// `millrace api` and `millrace keys api`, as processes.

import { openApiDocument } from 'millrace/api'
import { deriveSealingKeyring, formatKeyring } from 'millrace/protocol'
import { expect, test } from 'vitest'
import { apiKeys, caller, KEYS } from '../support/api.ts'
import { runCli, startCli } from '../support/cli.ts'
import { useDatabase } from '../support/database.ts'
import { keyring } from '../support/ingress.ts'

const database = useDatabase()
const env = () => ({ DATABASE_URL: database.url, MILLRACE_API_KEYS: apiKeys })

test('keys api makes a key that the API takes', async () => {
  const { stdout } = await runCli(['keys', 'api'])
  expect(stdout).toMatch(/^mk_[A-Za-z0-9_-]{43}\n$/)
  expect(JSON.parse((await runCli(['keys', 'api', '--json'])).stdout)).toEqual({ key: expect.stringMatching(/^mk_/) })
  const {
    child,
    firstLine: url,
    closed,
  } = await startCli(['api', '--port', '0', '--api-keys', stdout.trim()], {
    env: { DATABASE_URL: database.url },
  })
  const headers = { authorization: `Bearer ${stdout.trim()}` }
  expect((await fetch(`${url}/api/jobs`, { headers })).status).toBe(200)
  child.kill('SIGTERM')
  expect(await closed).toBe(0)
})

test('without keys, or with bad ones, it does not start', async () => {
  for (const keys of [undefined, '', 'secret', `${KEYS.all}:root`]) {
    const run = await runCli(['api', '--port', '0'], {
      env: { DATABASE_URL: database.url, MILLRACE_API_KEYS: keys ?? '' },
    })
    expect(run).toMatchObject({ status: 1, stdout: '' })
    expect(run.stderr).toMatch(/\[invalid_configuration\]/)
    expect(run.stderr).not.toMatch(/aaaa/)
  }
})

test('webhook secrets are sealed and URLs checked as the process is told', async () => {
  const sealing = { MILLRACE_SEALING_KEYS: formatKeyring(deriveSealingKeyring(keyring)) }
  const options = ['--port', '0', '--allow-targets', 'http']
  const { child, firstLine: url, closed } = await startCli(['api', ...options], { env: { ...env(), ...sealing } })
  const call = caller((path, init) => fetch(url + path, init))
  const made = await call('POST', '/api/endpoints', { body: { name: 'shop', url: 'http://shop.example/' } })
  expect(made.body).toMatchObject({ secret: expect.any(String), secrets: [{ sealed: true }] })
  const inside = await call('POST', '/api/endpoints', { body: { name: 'inside', url: 'http://127.0.0.1/' } })
  expect(inside.body.error?.code).toBe('invalid_endpoint')
  child.kill('SIGTERM')
  expect(await closed).toBe(0)
})

test('api --openapi prints the document', async () => {
  const { stdout } = await runCli(['api', '--openapi'])
  expect(JSON.parse(stdout)).toEqual(JSON.parse(JSON.stringify(openApiDocument())))
})

test('api serves, and on SIGTERM finishes what it has begun', async () => {
  const { child, firstLine: url, closed } = await startCli(['api', '--port', '0'], { env: env() })
  expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/)
  const call = caller((path, init) => fetch(url + path, init))
  expect((await call('GET', '/readyz', { key: null })).status).toBe(200)

  // Another transaction that has the unique key makes the request wait in the database.
  const begun = await database.sql.begin(async tx => {
    await tx`select millrace.enqueue('pay', '{}', unique_key => 'k')`
    const answer = call('POST', '/api/jobs', { key: KEYS.enqueue, body: { kind: 'pay', unique: { key: 'k' } } })
    await waiting()
    child.kill('SIGTERM')
    return { answer }
  })

  expect(await begun.answer).toMatchObject({ status: 201, body: { existing: true } })
  expect(await closed).toBe(0)
  await expect(fetch(`${url}/healthz`)).rejects.toThrow()
})

/** Resolves once a statement in this database waits for another. */
async function waiting(): Promise<void> {
  for (;;) {
    const [row] = await database.sql`select from pg_stat_activity
      where datname = current_database() and wait_event_type = 'Lock'`
    if (row !== undefined) return
  }
}
