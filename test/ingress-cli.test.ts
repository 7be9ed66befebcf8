// `millrace keys` and `millrace callbacks`, as processes.

import { toSql } from 'millrace'
import {
  callbackIdOf,
  deriveDispatchKeyring,
  deriveSealingKeyring,
  formatKeyring,
  parseKeyring,
} from 'millrace/protocol'
import { expect, onTestFinished, test } from 'vitest'
import { SqlEngine } from '../core/sql-engine.ts'
import { runCli, startCli } from './support/cli.ts'
import { useDatabase } from './support/database.ts'
import { attempt, boundHeaders, keyring } from './support/ingress.ts'

const database = useDatabase()
const env = () => ({ DATABASE_URL: database.url, MILLRACE_KEYS: formatKeyring(keyring) })

test('keys generate makes a keyring, keys dispatch what functions get of it', async () => {
  const generated = await runCli(['keys', 'generate', '--kid', 'k7'])
  expect(generated.stdout).toMatch(/^k7:[0-9a-f]{64}\n$/)
  const dispatch = await runCli(['keys', 'dispatch'], { env: { MILLRACE_KEYS: generated.stdout } })
  expect(dispatch.stdout.trim()).toBe(formatKeyring(deriveDispatchKeyring(parseKeyring(generated.stdout.trim()))))
  expect((await runCli(['keys', 'generate'])).stdout).toMatch(/^k20[0-9]{6}:/)
})

test('keys sealing makes what seals webhook secrets, and dispatchers derive from the root themselves', async () => {
  const { stdout } = await runCli(['keys', 'sealing'], { env: env() })
  expect(stdout.trim()).toBe(formatKeyring(deriveSealingKeyring(keyring)))
})

test('without keys, with bad ones, or asked for something else, it says what is wrong', async () => {
  const runs = [
    await runCli(['keys', 'dispatch']),
    await runCli(['keys', 'derive']),
    await runCli(['callbacks'], { env: { DATABASE_URL: database.url } }),
    await runCli(['callbacks'], { env: { ...env(), MILLRACE_KEYS: 'secret' } }),
  ]
  expect(runs.map(({ status }) => status)).toEqual([2, 2, 2, 1])
  expect(runs[3]?.stderr).toMatch(/\[invalid_keyring\]/)
})

test('callbacks serves, and on SIGTERM finishes what it has begun', async () => {
  const {
    child,
    firstLine: url,
    closed,
  } = await startCli(['callbacks', '--port', '0', '--prefix', 'cb'], { env: env() })
  expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/)
  expect((await fetch(`${url}/healthz`)).status).toBe(200)

  const ref = await attempt(database.sql)
  const callbackId = callbackIdOf(keyring, ref)
  const complete = (kind: RequestInit = {}) =>
    fetch(`${url}/cb/${callbackId}/complete`, {
      method: 'POST',
      headers: boundHeaders(callbackId, 'complete'),
      ...kind,
    })

  // Another closer that has not committed makes the callback wait in the database.
  const slot = Number(BigInt(ref.segment) % 8n)
  const begun = await database.sql.reserve()
  await begun`begin`
  await begun`insert into millrace.outcome_log (id, attempt, slot, state) values (${ref.id}, ${ref.attempt}, ${slot}, 'f')`
  const answer = complete()
  await waiting()
  child.kill('SIGTERM')
  await begun`rollback`
  begun.release()

  expect((await answer).status).toBe(200)
  expect(await closed).toBe(0)
  expect(await new SqlEngine(toSql(database.sql)).job(ref.id)).toMatchObject({ state: 'completed' })
  await expect(complete()).rejects.toThrow()
})

test('unsigned callbacks need the word for it, and nobody else who can reach it', async () => {
  const run = (...args: string[]) =>
    runCli(['callbacks', '--port', '0', ...args], { env: { DATABASE_URL: database.url } })
  const refused = [await run(), await run('--allow-unsigned', '--host', '0.0.0.0')]
  expect(refused.map(({ status }) => status)).toEqual([2, 2])
  expect(refused[1]?.stderr).toContain('--allow-unsigned takes callbacks from anybody')

  const ref = await attempt(database.sql)
  const args = ['callbacks', '--port', '0', '--allow-unsigned', '--host', 'localhost']
  const { child, firstLine: url } = await startCli(args, { env: { DATABASE_URL: database.url } })
  onTestFinished(() => {
    child.kill('SIGTERM')
  })
  const post = (headers: Record<string, string>) =>
    fetch(`${url}/api/callbacks/${callbackIdOf(keyring, ref)}/complete`, { method: 'POST', headers })
  expect((await post({ 'x-forwarded-for': '198.51.100.7' })).status).toBe(401)
  expect((await post({})).status).toBe(200)
})

/** Resolves once a statement in this database waits for another. */
async function waiting(): Promise<void> {
  for (;;) {
    const [row] = await database.sql`select from pg_stat_activity
      where datname = current_database() and wait_event_type = 'Lock'`
    if (row !== undefined) return
  }
}
