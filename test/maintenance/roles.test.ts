// Roles: a process that dispatches only, one that never does, and what they leave to each other.

import { Maintenance } from 'millrace/maintenance'
import { formatKeyring } from 'millrace/protocol'
import { describe, expect, onTestFinished, test } from 'vitest'
import { runCli, startCli } from '../support/cli.ts'
import { startFunctionServer } from '../support/function-server.ts'
import { keyring } from '../support/ingress.ts'
import { freshDatabase } from '../support/maintenance.ts'

async function withFunction() {
  const database = await freshDatabase()
  const fn = await startFunctionServer()
  await database.declare([{ name: 'work', target: { url: fn.url, mode: 'sync' } }])
  return { database, fn }
}

describe('noDispatch', () => {
  test('promotes, rescues and leads, asleep or awake, and claims nothing', async () => {
    const { database } = await withFunction()
    const work = await database.maintain({ noDispatch: true, listen: true })
    await work.events.first({ type: 'leading' })
    await work.events.first({ type: 'asleep' })
    const ready = await database.enqueue('work')
    const deferred = await database.enqueue('work', {}, { delay_seconds: 0.2 })
    await work.events.first({ type: 'promoted', jobs: 1 })
    await database.engine.claim(await database.engine.runtimeStart('gone'), 1)
    await database.sql`update millrace.runtime set lost_at = now() - interval '1 second' where name = 'gone'`
    await work.events.first({ type: 'rescued', lost: 1 })
    expect((await database.job(ready)).attempt + (await database.job(deferred)).attempt).toBe(3)
    expect(work.events.of({ type: 'claimed' })).toEqual([])
    const dispatching = await database.maintain({ onlyDispatch: true })
    await Promise.all([ready, deferred].map(job => dispatching.closed(job, 'completed')))
  })

  test('needs neither keys nor a transport, and says who it is while it lives', async () => {
    const { database } = await withFunction()
    const work = await database.maintain({ noDispatch: true, keyring: undefined, transport: undefined, name: 'watch' })
    await work.events.first({ type: 'leading' })
    expect(await database.sql`select name from millrace.runtime`).toEqual([{ name: 'watch' }])
    await work.stop()
    expect(await database.sql`select name from millrace.runtime`).toEqual([])
  })

  test('a storm of work that is none of its business wakes it, and it stays awake for a while instead of being told', async () => {
    const { database } = await withFunction()
    const work = await database.maintain({ noDispatch: true, listen: true })
    await work.events.first({ type: 'asleep' })
    for (let n = 0; n < 2_000 && work.events.of({ type: 'awake' }).length === 0; n++) await database.enqueue('work')
    await work.events.first({ type: 'awake' })
  })
})

describe('onlyDispatch', () => {
  test('sends jobs and does not promote, rescue or lead', async () => {
    const { database } = await withFunction()
    const work = await database.maintain({ onlyDispatch: true })
    const deferred = await database.enqueue('work', {}, { delay_seconds: 0.001 })
    const silent = await database.engine.runtimeStart('silent')
    await database.sql`update millrace.runtime set lost_at = now() - interval '1 second' where id = ${silent}`
    await work.closed(await database.enqueue('work'), 'completed')
    // Well over several pulses.
    for (let n = 0; n < 5; n++) await work.closed(await database.enqueue('work'), 'completed')
    expect(await database.job(deferred)).toMatchObject({ state: 'scheduled' })
    expect(await database.sql`select from millrace.runtime where id = ${silent}`).toHaveLength(1)
    expect(await database.sql`select from millrace.leader`).toHaveLength(0)
    await database.maintain({ noDispatch: true })
    await work.closed(deferred, 'completed')
  })
})

describe('contradictions are refused', () => {
  const sql = { query: async () => [] }

  test.each([
    [{ noDispatch: true, onlyDispatch: true }, 'leave nothing to do'],
    [{}, 'needs a transport'],
    [{ noDispatch: true, callbackUrl: 'nowhere' }, 'callback URL'],
  ])('%o', (options, message) => {
    expect(() => new Maintenance({ sql, ...options })).toThrow(
      expect.objectContaining({ code: 'invalid_configuration', message: expect.stringContaining(message) }),
    )
  })

  test('on the command line', async () => {
    const both = await runCli(['maintain', '--no-dispatch', '--only-dispatch', '--database-url', 'postgres://x/y'])
    expect(both).toMatchObject({ status: 2, stderr: expect.stringContaining('leave nothing to do') })
    const help = await runCli(['maintain', '--help'])
    for (const option of ['--no-dispatch', '--only-dispatch']) expect(help.stdout).toContain(option)
  })
})

test('millrace maintain --no-dispatch and --only-dispatch share the work', async () => {
  const { database, fn } = await withFunction()
  const start = async (option: string, env: Record<string, string> = {}) => {
    const started = await startCli(['maintain', option, '--json'], { env: { DATABASE_URL: database.url, ...env } })
    onTestFinished(() => {
      started.child.kill('SIGKILL')
    })
    return started
  }
  const maintaining = await start('--no-dispatch')
  const dispatching = await start('--only-dispatch', { MILLRACE_KEYS: formatKeyring(keyring) })
  expect(JSON.parse(maintaining.firstLine)).toMatchObject({ type: expect.stringMatching(/ready|leading/) })
  await database.enqueue('work', {}, { delay_seconds: 0.2 })
  await fn.received.first({})
  for (const { child } of [maintaining, dispatching]) child.kill('SIGTERM')
  expect(await Promise.all([maintaining.closed, dispatching.closed])).toEqual([0, 0])
  expect(await database.outcomes()).toEqual({ c: 1 })
  expect(await database.sql`select from millrace.runtime`).toHaveLength(0)
})
