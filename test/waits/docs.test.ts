// The code of docs/waits.md, as it stands there: type-checked, and run.

import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { toSql, waitFor } from 'millrace'
import { callbacks } from 'millrace/callbacks'
import { SqlEngine } from 'millrace/maintenance'
import { deriveDispatchKeyring, formatKeyring } from 'millrace/protocol'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { listen } from '../support/http-server.ts'
import { keyring } from '../support/ingress.ts'
import { freshDatabase } from '../support/maintenance.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
let folder = ''
let functions: ChildProcess | undefined

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'millrace-waits-'))
  await mkdir(join(folder, 'node_modules'))
  await symlink(root, join(folder, 'node_modules', 'millrace'))
  for (const name of ['postgres', 'valibot', '@types']) {
    await symlink(join(root, 'node_modules', name), join(folder, 'node_modules', name))
  }
  await writeFile(join(folder, 'package.json'), '{ "type": "module" }')
  const text = await readFile(join(root, 'docs/waits.md'), 'utf8')
  for (const [, name, code] of text.matchAll(/```ts\n\/\/ (\w+\.ts)\n(.*?)```/gs)) {
    await writeFile(join(folder, name as string), (code as string).replace('port: 3001', 'port: 0'))
  }
})

afterAll(async () => {
  const ended = functions && once(functions, 'exit')
  functions?.kill('SIGTERM')
  await ended
  await rm(folder, { recursive: true, force: true })
})

const node = (args: string[], env: object) =>
  promisify(execFile)(process.execPath, ['-C', 'millrace-source', ...args], {
    cwd: folder,
    env: { ...process.env, ...env },
  })

test('it type-checks', async () => {
  const flags = '--noEmit --strict --target es2024 --module nodenext --types node --skipLibCheck'.split(' ')
  const more = ['--allowImportingTsExtensions', '--customConditions', 'millrace-source', 'refunds.ts', 'approve.ts']
  const check = node([join(root, 'node_modules/typescript/bin/tsc'), ...flags, ...more], {})
  expect(await check.catch(({ stdout }) => stdout)).toMatchObject({ stdout: '' })
}, 90_000)

test('it runs: a refund waits until it is approved, by the client or by its URL', async () => {
  const database = await freshDatabase()
  const ingress = await listen(callbacks({ store: new SqlEngine(toSql(database.sql)), keyring }).fetch)
  const env = { ...process.env, MILLRACE_DISPATCH_KEYS: formatKeyring(deriveDispatchKeyring(keyring)) }
  functions = spawn(process.execPath, ['-C', 'millrace-source', 'refunds.ts'], {
    cwd: folder,
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [url] = await once(createInterface({ input: functions.stdout as never }), 'line')
  await database.declare([{ name: 'refund', target: { url, mode: 'sync' } }])
  const maintenance = await database.maintain({ callbackUrl: ingress, listen: true })

  const [small, byClient, byUrl] = [
    await database.enqueue('refund', { order: 1, cents: 100 }),
    await database.enqueue('refund', { order: 2, cents: 20_000 }),
    await database.enqueue('refund', { order: 3, cents: 20_000 }),
  ]
  expect((await waitFor(database.sql, small)).result).toEqual({ refunded: true, order: 1 })
  for (const job of [byClient, byUrl]) await maintenance.events.first({ type: 'waiting', job })

  expect((await node(['approve.ts', byClient], { DATABASE_URL: database.url })).stdout).toBe('applied\n')
  const approved = { refunded: true, order: 2, approval: { by: 'ann', note: '' } }
  expect((await waitFor(database.sql, byClient)).result).toEqual(approved)

  const { message = '' } = (await database.job(byUrl)).progress as { message?: string }
  const form = new URLSearchParams({ by: 'bob', note: 'fine' })
  const answer = await fetch(message.replace('please approve: ', ''), { method: 'POST', body: form })
  expect(await answer.json()).toEqual({ state: 'applied', job_state: 'available' })
  expect((await waitFor(database.sql, byUrl)).result).toMatchObject({ approval: { by: 'bob', note: 'fine' } })
}, 60_000)
