// Waits and events over HTTP: what the ingress takes, answers and refuses.

import { toSql } from 'millrace'
import { SqlEngine } from 'millrace/maintenance'
import { type CallbackAction, type EventAction, eventKey, eventToken } from 'millrace/protocol'
import { describe, expect, test } from 'vitest'
import type { AttemptRef } from '../../core/engine.ts'
import { useDatabase } from '../support/database.ts'
import { attempt, boundHeaders, keyring, startIngress } from '../support/ingress.ts'
import { post } from '../support/waiting.ts'

const database = useDatabase()
const start = (options = {}) => startIngress(toSql(database.sql), options)
const job = async ({ id }: AttemptRef) => (await new SqlEngine(toSql(database.sql)).job(id)) ?? expect.fail('no job')
const tokenOf = (id: string, name: string, action?: EventAction) =>
  eventToken(eventKey(keyring.keys[0], id), id, name, action)
/** Of an action, as it stands in the path: nothing, or `/complete` and the like. */
const pathOf = (id: string, name: string, action = '') =>
  `/api/events/${tokenOf(id, name, (action.slice(1) || 'event') as EventAction)}${action}`

async function waiting(body: object = {}) {
  const [ingress, ref] = [await start(), await attempt(database.sql)]
  const answer = await ingress.call(ref, 'wait', { body: { name: 'payment', ...body } })
  expect(answer).toMatchObject({ status: 200, body: { state: 'waiting_external' } })
  const send = (payload?: unknown, action = '', headers = {}) =>
    post(`${ingress.url}${pathOf(ref.id, 'payment', action)}`, payload, headers)
  return { ...ingress, ref, send }
}

describe('the action wait', () => {
  test('keeps the attempt open; the same again is the same', async () => {
    const { call, ref } = await waiting({ timeout_seconds: 60, progress: { percent: 120, metadata: { page: 2 } } })
    expect(await call(ref, 'wait', { body: { name: 'payment' } })).toMatchObject({ status: 200 })
    const { state, wait, progress } = await job(ref)
    expect({ state, progress }).toEqual({
      state: 'waiting_external',
      progress: { percent: 100, metadata: { page: 2 } },
    })
    expect(wait).toMatchObject({ name: 'payment' })
  })

  test('is answered with the end that a kept event makes', async () => {
    const [{ call, url }, ref] = [await start(), await attempt(database.sql)]
    expect((await post(`${url}/api/events/${tokenOf(ref.id, 'payment')}`, 1)).body).toEqual({ state: 'kept' })
    expect((await call(ref, 'wait', { body: { name: 'payment' } })).body.state).toBe('available')
    expect(await call(ref, 'wait', { body: { name: 'payment' } })).toMatchObject({
      status: 409,
      body: { code: 'attempt_closed', state: 'available' },
    })
  })

  test('an attempt that waits can still be closed, and then nobody waits', async () => {
    const { call, ref, send } = await waiting()
    expect((await call(ref, 'complete', { body: { payload: 'done' } })).body.state).toBe('completed')
    expect(await send()).toMatchObject({ status: 409, body: { code: 'already_ended' } })
    expect(await call(ref, 'wait', { body: { name: 'payment' } })).toMatchObject({ status: 409 })
  })

  test.each([
    ['no name', {}, 'invalid_event'],
    ['a name that is no text', { name: 1 }, 'invalid_event'],
    ['a name that is too long', { name: 'x'.repeat(201) }, 'invalid_event'],
    ['a time-out of nothing', { name: 'a', timeout_seconds: 0 }, 'invalid_request'],
    ['a time-out without end', { name: 'a', timeout_seconds: 1e12 }, 'invalid_request'],
    ['another on_timeout', { name: 'a', on_timeout: 'cancel' }, 'invalid_request'],
    ['progress that is none', { name: 'a', progress: 1 }, 'invalid_request'],
    ['an expression that is none', { name: 'a', filter: 'payload.' }, 'invalid_expression'],
    ['another default_action', { name: 'a', default_action: 'retry' }, 'invalid_request'],
  ])('%s is refused', async (_, body, code) => {
    const [{ call }, ref] = [await start(), await attempt(database.sql)]
    expect(await call(ref, 'wait', { body })).toMatchObject({ status: 422, body: { code } })
    expect((await job(ref)).wait).toBeNull()
  })

  test('is authenticated as the others are', async () => {
    const [{ call, url }, ref] = [await start(), await attempt(database.sql)]
    const body = { name: 'payment' }
    for (const action of ['complete', 'heartbeat', 'fail'] as CallbackAction[]) {
      const headers = boundHeaders(`k1.${ref.segment}.${ref.id}.${ref.attempt}`, action, { body })
      expect(await call(ref, 'wait', { body, headers })).toMatchObject({
        status: 401,
        body: { code: 'invalid_signature' },
      })
    }
    expect((await post(`${url}/api/callbacks/k1.0.1.1/wait`, body)).status).toBe(401)
    expect((await job(ref)).wait).toBeNull()
  })
})

describe('events by token', () => {
  test.each([
    ['', { state: 'applied', job_state: 'available' }, { state: 'available', result: null }],
    ['/resume', { state: 'applied', job_state: 'available' }, { state: 'available' }],
    ['/retry', { state: 'applied', job_state: 'available' }, { state: 'available', errors: [] }],
    ['/complete', { state: 'applied', job_state: 'completed' }, { state: 'completed', result: { n: 1 } }],
    ['/fail', { state: 'applied', job_state: 'failed' }, { state: 'failed', errors: [{ code: 'event' }] }],
  ])('"%s"', async (action, answer, expected) => {
    const { ref, send } = await waiting()
    expect(await send({ n: 1 }, action)).toEqual({ status: 200, body: answer })
    expect(await job(ref)).toMatchObject(expected)
  })

  test('the message of a failure is what the payload says', async () => {
    const { ref, send } = await waiting()
    await send({ error: 'declined' }, '/fail')
    expect((await job(ref)).errors).toMatchObject([{ code: 'event', message: 'declined' }])
  })

  test('rules decide, unless the action is said', async () => {
    const { send } = await waiting({ filter: 'payload.paid == true', default_action: 'complete' })
    expect((await send({ paid: false })).body).toEqual({ state: 'ignored' })
    expect((await send()).body).toEqual({ state: 'ignored' })
    expect((await send({ paid: true })).body).toEqual({ state: 'applied', job_state: 'completed' })
    const other = await waiting({ filter: 'payload.paid == true' })
    expect((await other.send({ paid: false }, '/resume')).body).toMatchObject({ state: 'applied' })
  })

  test('a form is an object of texts, and of lists where a name comes twice', async () => {
    const { ref, send } = await waiting({ default_action: 'complete' })
    const type = { 'content-type': 'application/x-www-form-urlencoded; charset=utf-8' }
    expect((await send('Status=paid&tag=a&tag=b&name=%C3%84+%26', '', type)).status).toBe(200)
    expect((await job(ref)).result).toEqual({ Status: 'paid', tag: ['a', 'b'], name: 'Ä &' })
  })

  test.each([
    ['""', ''],
    ['null', null],
    ['[1]', [1]],
    ['0', 0],
  ])('any JSON is a payload: %s', async (text, value) => {
    const { ref, send } = await waiting({ default_action: 'complete' })
    expect((await send(text)).status).toBe(200)
    expect((await job(ref)).result).toEqual(value)
  })

  test.each([
    ['not JSON', '{', {}, 400, 'invalid_request'],
    ['not UTF-8', '\ud800', { 'content-type': 'text/plain' }, 400, 'invalid_request'],
    [
      'a form that is not UTF-8',
      'a=%ff',
      { 'content-type': 'application/x-www-form-urlencoded' },
      400,
      'invalid_request',
    ],
    [
      'a form with half of é',
      'a=%C3&b=%A9',
      { 'content-type': 'application/x-www-form-urlencoded' },
      400,
      'invalid_request',
    ],
    ['multipart', 'x', { 'content-type': 'multipart/form-data; boundary=x' }, 422, 'invalid_request'],
    ['NUL', '"\\u0000"', {}, 422, 'invalid_request'],
    ['NUL in a form', 'a=%00', { 'content-type': 'application/x-www-form-urlencoded' }, 422, 'invalid_request'],
    ['nested', `${'['.repeat(101)}${']'.repeat(101)}`, {}, 422, 'invalid_request'],
    ['larger than a payload may be', JSON.stringify('x'.repeat(300_000)), {}, 413, 'payload_too_large'],
    ['larger than a body may be', JSON.stringify('x'.repeat(1_100_000)), {}, 413, 'body_too_large'],
  ])('%s is refused, and the job waits on', async (_, body, headers, status, code) => {
    const { ref, send } = await waiting()
    await database.sql`update millrace.setting set value = 262144 where name = 'payload_limit_bytes'`
    expect(await send(body, '', headers)).toMatchObject({ status, body: { code } })
    expect((await job(ref)).wait).not.toBeNull()
  })

  test('GET never acts: links are followed by previews and scanners', async () => {
    const { ref, url } = await waiting()
    for (const action of ['', '/resume', '/complete', '/fail', '/retry']) {
      for (const method of ['GET', 'HEAD', 'PUT', 'DELETE', 'OPTIONS']) {
        const response = await fetch(`${url}${pathOf(ref.id, 'payment', action)}`, { method })
        expect([response.status, response.headers.get('allow')]).toEqual([405, 'POST'])
      }
    }
    expect((await job(ref)).wait).not.toBeNull()
  })

  test('every token that is none gets the same answer', async () => {
    const { ref, url } = await waiting()
    const token = tokenOf(ref.id, 'payment')
    const [kid, , encoded, mac] = token.split('.')
    const forged = [
      ...['x', 'k1.1.a.b', `${token}0`, `${kid}.999999.${encoded}.${mac}`, `k9.${ref.id}.${encoded}.${mac}`],
      ...[
        `${kid}.${ref.id}.b3RoZXI.${mac}`,
        token.replace(/.$/, last => (last === '0' ? '1' : '0')),
        token.toUpperCase(),
      ],
    ]
    const answers = await Promise.all(
      forged.flatMap(one => ['', '/complete'].map(action => post(`${url}/api/events/${one}${action}`, '{'))),
    )
    const expected = { status: 401, body: { error: 'Not an event token', code: 'invalid_signature' } }
    expect(answers).toEqual(forged.flatMap(() => [expected, expected]))
    expect((await job(ref)).wait).not.toBeNull()
  })

  test('a token is for one action: none gets round the rules', async () => {
    const { ref, url } = await waiting({ filter: 'payload.paid == true' })
    const actions = ['event', 'resume', 'complete', 'fail', 'retry'] as const
    for (const [made, used] of actions.flatMap(one => actions.map(other => [one, other] as const))) {
      if (made === used) continue
      const action = used === 'event' ? '' : `/${used}`
      const answer = await post(`${url}/api/events/${tokenOf(ref.id, 'payment', made)}${action}`, { paid: true })
      expect(answer).toMatchObject({ status: 401, body: { code: 'invalid_signature' } })
    }
    expect((await job(ref)).wait).not.toBeNull()
  })

  test('a token of another key of the keyring is taken', async () => {
    const { ref, url } = await waiting()
    const old = keyring.keys[1] ?? expect.fail('one key')
    const answer = await post(`${url}/api/events/${eventToken(eventKey(old, ref.id), ref.id, 'payment')}`)
    expect(answer.body.state).toBe('applied')
  })

  test('a job that is not there, and one that has enough events', async () => {
    const { url } = await waiting()
    expect(await post(`${url}/api/events/${tokenOf('999999', 'payment')}`)).toMatchObject({
      status: 404,
      body: { code: 'not_found' },
    })
    const other = await attempt(database.sql)
    await database.sql`update millrace.setting set value = 2 where name = 'kept_events_limit'`
    const target = `${url}/api/events/${tokenOf(other.id, 'early')}`
    expect([(await post(target)).status, (await post(target)).status]).toEqual([200, 200])
    const response = await fetch(target, { method: 'POST' })
    expect([response.status, response.headers.get('retry-after')]).toEqual([429, '60'])
    expect(await response.json()).toMatchObject({ code: 'too_many_events' })
  })

  test('of many at once one is applied', async () => {
    const { ref, send } = await waiting({ filter: 'payload >= 0.0', default_action: 'complete' })
    const answers = await Promise.all(Array.from({ length: 20 }, (_, n) => send(n)))
    const applied = answers.flatMap(({ body }, n) => (body.state === 'applied' ? [n] : []))
    expect(applied).toHaveLength(1)
    expect(answers.filter(({ body }) => body.code === 'already_ended')).toHaveLength(19)
    expect((await job(ref)).result).toBe(applied[0])
  })

  test('no path that is not one of these is there', async () => {
    const { ref, url } = await waiting()
    const token = tokenOf(ref.id, 'payment')
    for (const path of [`/api/events/${token}/cancel`, `/api/events/${token}/complete/x`, '/api/events', `/${token}`]) {
      expect((await post(`${url}${path}`)).status).toBe(404)
    }
  })

  test('they come in at another prefix, but not at none', async () => {
    const ref = await attempt(database.sql)
    const { url } = await start({ eventsPrefix: 'hooks/' })
    expect((await post(`${url}/hooks/${tokenOf(ref.id, 'a')}`)).body).toEqual({ state: 'kept' })
    await expect(start({ eventsPrefix: ' / ' })).rejects.toMatchObject({ code: 'invalid_configuration' })
  })

  test('an ingress without keys takes none, however it is asked', async () => {
    const ref = await attempt(database.sql)
    const { url } = await start({ keyring: undefined, allowUnsigned: true })
    expect((await post(`${url}/api/events/${tokenOf(ref.id, 'a')}`)).status).toBe(401)
  })
})

describe('whole numbers that no double can tell', () => {
  const id = '12345678901234567890'
  const raw = (JSON as unknown as { rawJSON(text: string): unknown }).rawJSON(id)
  const stored = async ({ id }: AttemptRef, path: string) =>
    (await database.sql`select millrace.job(${id}) #>> ${path}::text::text[] as text`)[0]?.text

  test.each([
    ['', {}],
    [' that rules let through', { filter: 'payload.order > 1' }],
  ])('are kept exactly in an event%s, now or from before', async (_, rules) => {
    const { ref, send, url, call } = await waiting(rules)
    await send({ order: raw })
    expect(await stored(ref, '{progress,events,payment,payload,order}')).toBe(id)
    const early = await attempt(database.sql)
    await post(`${url}${pathOf(early.id, 'payment')}`, { order: raw })
    await call(early, 'wait', { body: { name: 'payment', ...rules } })
    expect(await stored(early, '{progress,events,payment,payload,order}')).toBe(id)
  })

  test('are kept exactly in a result', async () => {
    const [{ call }, ref] = [await start(), await attempt(database.sql)]
    await call(ref, 'complete', { body: { payload: { order: raw } } })
    expect(await stored(ref, '{result,order}')).toBe(id)
  })
})
