// Events by job and name: through the client, the API and the program.

import { execFileSync } from 'node:child_process'
import { sendEvent, toSql } from 'millrace'
import { SqlEngine } from 'millrace/maintenance'
import { describe, expect, test } from 'vitest'
import type { WaitItem } from '../../core/engine.ts'
import { KEYS, useApi } from '../support/api.ts'
import { runCli } from '../support/cli.ts'
import { attempt } from '../support/ingress.ts'

const database = useApi()
const engine = () => new SqlEngine(toSql(database.sql))
const job = async (id: string) => (await engine().job(id)) ?? expect.fail('no job')

async function waiting(rules?: WaitItem['rules']): Promise<string> {
  const ref = await attempt(database.sql)
  const wait = { name: 'approval', timeoutSeconds: 60, onTimeout: 'fail' as const, rules }
  expect(await engine().wait({ ...ref, ...wait })).toMatchObject({ answer: 'waiting' })
  return ref.id
}

describe('the client', () => {
  test('sends an event in a transaction: it counts once that is committed', async () => {
    const id = await waiting()
    const rolledBack = database.sql.begin(async tx => {
      expect(await sendEvent(tx, id, 'approval', { payload: 'no' })).toMatchObject({ state: 'applied' })
      throw new Error('changed my mind')
    })
    await expect(rolledBack).rejects.toThrow('changed my mind')
    expect((await job(id)).state).toBe('waiting_external')
    const answer = await database.sql.begin(tx => sendEvent(tx, id, 'approval', { payload: 'yes', action: 'complete' }))
    expect(answer).toEqual({ state: 'applied', jobState: 'completed' })
    expect((await job(id)).result).toBe('yes')
  })

  test('evaluates the rules of the wait', async () => {
    const id = await waiting({ filter: 'payload.by != "bob"', default_action: 'complete', transform: 'payload.by' })
    expect(await sendEvent(database.sql, id, 'approval', { payload: { by: 'bob' } })).toEqual({ state: 'ignored' })
    expect(await sendEvent(database.sql, Number(id), 'approval', { payload: { by: 'ann' } })).toMatchObject({
      state: 'applied',
    })
    expect((await job(id)).result).toBe('ann')
  })

  test.each([
    ['no such job', '999999', 'approval', {}, 'not_found'],
    ['no id', 'x', 'approval', {}, 'invalid_request'],
    ['no name', '1', '', {}, 'invalid_event'],
    ['no payload', '1', 'a', { payload: Number.NaN }, 'invalid_event'],
    ['no action', '1', 'a', { action: 'cancel' as 'resume' }, 'invalid_event'],
    ['another schema', '1', 'a', { schema: 'nowhere' }, 'schema_missing'],
  ])('%s', async (_, id, name, options, code) => {
    await expect(sendEvent(database.sql, id, name, options)).rejects.toMatchObject({ code })
  })

  test('a job that has ended takes none', async () => {
    const id = await waiting()
    await sendEvent(database.sql, id, 'approval', { action: 'complete' })
    await expect(sendEvent(database.sql, id, 'approval')).rejects.toMatchObject({ code: 'already_ended' })
  })

  test('whoever enqueues or serves does not load CEL', () => {
    const script = `
      import { registerHooks } from 'node:module'
      registerHooks({ resolve: (name, context, next) => (name.includes('cel-js') && console.log(name), next(name, context)) })
      for (const name of process.argv.slice(1)) await import(name)`
    const loaded = (name: string) =>
      execFileSync(process.execPath, ['-C', 'millrace-source', '--input-type=module', '-e', script, name])
        .toString()
        .trim()
    expect(['millrace', 'millrace/function', 'millrace/protocol'].map(loaded)).toEqual(['', '', ''])
    expect(loaded('millrace/callbacks')).toBe('@marcbachmann/cel-js')
  })
})

describe('the API', () => {
  const send = (id: string, name: string, body?: object, key?: string) =>
    database.call('POST', `/api/jobs/${id}/events/${name}`, { body, ...(key && { key }) })

  test('sends an event', async () => {
    const id = await waiting()
    expect(await send(id, 'other')).toMatchObject({ status: 200, body: { state: 'kept' } })
    const answer = await send(id, 'approval', { payload: { by: 'ann' }, action: 'complete' }, KEYS.enqueue)
    expect([answer.status, answer.body]).toEqual([200, { state: 'applied', job_state: 'completed' }])
    expect((await job(id)).result).toEqual({ by: 'ann' })
    expect(await send(id, 'approval')).toMatchObject({ status: 409, body: { error: { code: 'already_ended' } } })
  })

  test('a name is one segment of the path, escaped', async () => {
    const id = await waiting()
    expect((await send(id, encodeURIComponent('order/42 é'))).body.state).toBe('kept')
    expect(await database.sql`select name from millrace.kept_event where job = ${id}`).toEqual([{ name: 'order/42 é' }])
  })

  test('is for keys that may enqueue', async () => {
    expect((await send(await waiting(), 'approval', {}, KEYS.read)).status).toBe(403)
  })

  test.each([
    ['no such job', '999999', 'a', {}, 404, 'not_found'],
    ['a name that is too long', '1', 'x'.repeat(201), {}, 400, 'invalid_event'],
    ['another action', '1', 'a', { action: 'cancel' }, 400, 'invalid_request'],
    ['something else', '1', 'a', { pay: 1 }, 400, 'invalid_request'],
  ])('%s is refused', async (_, id, name, body, status, code) => {
    expect(await send(id, name, body)).toMatchObject({ status, body: { error: { code } } })
  })

  test('a job that has enough events', async () => {
    const id = await waiting()
    await database.sql`update millrace.setting set value = 1 where name = 'kept_events_limit'`
    await send(id, 'other')
    const answer = await send(id, 'other')
    expect([answer.status, answer.body.error?.code, answer.headers.get('retry-after')]).toEqual([
      429,
      'too_many_events',
      '60',
    ])
  })
})

describe('the program', () => {
  const millrace = (...args: string[]) => runCli([...args, '--database-url', database.url])

  test('sends an event, and shows what is waited for', async () => {
    const id = await waiting()
    expect((await millrace('job', 'show', id)).stdout).toMatch(/waits for +approval\nwaits until +20\d\d-/)
    expect(await millrace('job', 'event', id, 'other')).toMatchObject({ status: 0, stdout: 'kept\n' })
    const args = ['--payload', '{"by": "ann"}', '--action', 'complete']
    expect(await millrace('job', 'event', id, 'approval', ...args)).toMatchObject({
      status: 0,
      stdout: 'applied: the job is completed\n',
    })
    expect((await job(id)).result).toEqual({ by: 'ann' })
    const late = await millrace('job', 'event', id, 'approval', '--json')
    expect([late.status, late.stderr]).toEqual([1, expect.stringContaining('already_ended')])
  })

  test.each([[['1']], [['x', 'a']], [['1', 'a', '--payload', '{']], [['1', 'a', '--action', 'cancel']]])(
    'what is wrong is told: %j',
    async args => expect((await millrace('job', 'event', ...args)).status).toBe(2),
  )
})
