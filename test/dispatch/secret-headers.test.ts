// Headers whose values only the dispatcher knows: sent, and nowhere else to be found.

import { type HttpTarget, type SecretReference, secret } from 'millrace'
import { formatKeyring } from 'millrace/protocol'
import postgres from 'postgres'
import { describe, expect, test } from 'vitest'
import { runCli } from '../support/cli.ts'
import { startFunctionServer } from '../support/function-server.ts'
import { keyring } from '../support/ingress.ts'
import { freshDatabase } from '../support/maintenance.ts'

const VALUE = 'Bearer xyzzy-plugh'
const headers = { Authorization: secret('RECEIPTS'), 'x-plain': 'yes' }

async function withTarget(target: Partial<HttpTarget> = {}) {
  const database = await freshDatabase()
  const fn = await startFunctionServer()
  await database.declare([{ name: 'work', target: { url: fn.url, mode: 'sync', headers, ...target } }])
  return { database, fn }
}

/** Everything the database knows, as text. */
async function everythingIn({ url }: { url: string }): Promise<string> {
  const sql = postgres(url, { max: 1 })
  const tables =
    await sql`select format('%I.%I', schemaname, tablename) as name from pg_tables where schemaname = 'millrace'`
  const rows = await Promise.all(tables.map(({ name }) => sql.unsafe(`select t::text from ${name} t`)))
  await sql.end()
  return JSON.stringify(rows)
}

test('the value is sent, and neither stored nor told', async () => {
  const { database, fn } = await withTarget()
  const asked: string[] = []
  const work = await database.maintain({
    secrets: async name => {
      asked.push(name)
      return `${VALUE}\n`
    },
  })
  const job = await database.enqueue('work')
  expect(await work.closed(job)).toMatchObject({ state: 'completed' })
  const { headers: sent } = await fn.received.first({})
  expect(sent).toMatchObject({ authorization: VALUE, 'x-plain': 'yes', 'millrace-signature': expect.any(String) })
  expect(asked).toEqual(['RECEIPTS'])
  expect(await everythingIn(database)).toContain('RECEIPTS')
  expect(await everythingIn(database)).not.toContain('plugh')
  expect(JSON.stringify(work.events.all)).not.toContain('plugh')
})

test.each<[string, ((name: string) => string | undefined) | undefined, string]>([
  ['no such secret', () => undefined, 'is not known'],
  ['no secrets at all', undefined, 'is not known'],
  ['an empty one', () => ' \n', 'is not known'],
  [
    'a look-up that fails',
    () => {
      throw new Error('plugh')
    },
    'is not known',
  ],
  ['what no header can hold', () => 'xyzzy\nplugh', 'cannot be'],
])('%s: the job is put back, and nothing is sent', async (_, secrets, message) => {
  const { database, fn } = await withTarget()
  const work = await database.maintain({ secrets })
  const job = await database.enqueue('work', {}, { max_attempts: 1 })
  expect(await work.closed(job)).toMatchObject({ state: 'available', code: 'secret_missing' })
  expect(await database.job(job)).toMatchObject({
    errors: [],
    put_back: { code: 'secret_missing', message: expect.stringMatching(`RECEIPTS ${message}`) },
  })
  expect(work.events.of({ type: 'dispatched' })).toEqual([])
  expect(fn.received.all).toEqual([])
  expect(JSON.stringify(work.events.all) + (await everythingIn(database))).not.toContain('plugh')
})

test("Millrace's own headers cannot be replaced", async () => {
  const { database, fn } = await withTarget({ headers: { 'Millrace-Signature': secret('FORGED') } })
  const work = await database.maintain({ secrets: () => 'forged' })
  await work.closed(await database.enqueue('work'))
  expect((await fn.received.first({})).headers['millrace-signature']).toContain('v1=')
})

describe('millrace tick', () => {
  test('has them from MILLRACE_SECRET_…, and nothing else of the environment', async () => {
    const { database, fn } = await withTarget({ headers: { 'x-one': secret('ONE'), 'x-two': secret('two_2') } })
    const other = await startFunctionServer()
    await database.declare(
      [{ name: 'greedy', target: { url: other.url, mode: 'sync', headers: { 'x-keys': secret('MILLRACE_KEYS') } } }],
      [],
      'other',
    )
    const env = { DATABASE_URL: database.url, MILLRACE_KEYS: formatKeyring(keyring) }
    const [job, greedy] = [await database.enqueue('work'), await database.enqueue('greedy')]
    const secrets = { MILLRACE_SECRET_ONE: '1', MILLRACE_SECRET_two_2: '2' }
    expect(await runCli(['tick'], { env: { ...env, ...secrets } })).toMatchObject({ status: 0 })
    expect(await database.job(job)).toMatchObject({ state: 'completed' })
    expect((await fn.received.first({})).headers).toMatchObject({ 'x-one': '1', 'x-two': '2' })
    expect(await database.job(greedy)).toMatchObject({ put_back: { code: 'secret_missing' } })
    expect(other.received.all).toEqual([])
  })
})

test('secret() says what it stands for', () => {
  expect(secret('RECEIPTS') satisfies SecretReference).toEqual({ secret: 'RECEIPTS' })
})
