// `millrace job`: lists, one job with all that is known, enqueue, wait, retry, cancel.

import { expect, test } from 'vitest'
import { exactJson } from '../../core/exact-json.ts'
import { claimAll, close, enqueue, failed, fatal, only, view } from '../support/engine-database.ts'
import { useOperator } from '../support/operator.ts'

const { database, millrace, json } = useOperator()

test('list: newest first, by filter, page by page, or all of them', async () => {
  const [first, second, third] = await enqueue(database.sql, 3, { queue: 'mails' })
  await enqueue(database.sql, 1, { delay_seconds: 60 }, 'report')
  const [mails, page, all, scheduled, by, text] = await Promise.all([
    json('job list --queue mails --kind resize --since 1h'),
    json('job list --limit 1 --state available'),
    json('job list --all'),
    json('job list --state scheduled --state running'),
    json(`job list --id ${first} --id ${third}`),
    millrace('job list --kind resize --state available'),
  ])
  expect(mails.items.map(({ id }: { id: number }) => String(id))).toEqual([third, second, first])
  expect(mails.cursor).toBeNull()
  expect(page).toMatchObject({ items: [{ id: Number(third) }], cursor: expect.any(String) })
  expect(all).toMatchObject({ items: { length: 4 }, cursor: null })
  expect(scheduled).toMatchObject({ items: [{ kind: 'report', state: 'scheduled' }] })
  expect(by.items).toHaveLength(2)
  expect(text.stdout).toMatch(/^ID +STATE +KIND .*\n *\d+ +available +resize +mails +2 +1\/25 +\d{4}-.*Z \(/)

  const [next, none, wrong] = await Promise.all([
    json(`job list --limit 1 --state available --cursor ${page.cursor}`),
    millrace('job list --kind nothing'),
    millrace('job list --cursor 1x --json'),
  ])
  expect(next).toMatchObject({ items: [{ id: Number(second) }] })
  expect(none).toEqual({ status: 0, stdout: '', stderr: 'No such jobs\n' })
  expect(wrong).toMatchObject({ status: 2, stdout: '' })
  expect(JSON.parse(wrong.stderr).error).toMatchObject({
    ...{ code: 'invalid_request', message: expect.stringMatching(/^a cursor is/) },
  })
})

test('list: whoever has read enough of it may go (| head -1)', async () => {
  await database.sql`
    select millrace.enqueue('resize', jsonb_build_object('n', n)) from generate_series(1, 1500) n`
  const { status, stdout, stderr } = await millrace('job list --all', { firstLineOnly: true })
  expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: expect.stringMatching(/^ +ID +STATE/), stderr: '' })
})

test('show: arguments, attempts, errors and what became of it', async () => {
  const [id] = await enqueue(database.sql, 1, { metadata: { tenant: 'x' } })
  await close(database, only(await claimAll(database)), failed('paper\n\u001b[31mjam', 0))
  const [shown, text, unknown, wrong] = await Promise.all([
    json(`job show ${id}`),
    millrace(`job show ${id}`),
    millrace('job show 987654 --json'),
    millrace('job show twelve'),
  ])
  expect(shown).toMatchObject({
    ...{ id: Number(id), state: 'retryable', args: { n: 0 }, metadata: { tenant: 'x' } },
    attempts: [{ attempt: 1, state: 'retryable', error: { code: 'reported' } }],
  })
  expect(text.stdout).toContain('attempt 1: reported: paper [31mjam\n')
  expect(text.stdout).toContain('{"tenant":"x"}')
  expect(unknown).toMatchObject({ status: 1, stdout: '' })
  expect(JSON.parse(unknown.stderr)).toMatchObject({ error: { code: 'not_found' } })
  expect(wrong).toEqual({ status: 2, stdout: '', stderr: 'millrace: "twelve" is no id [usage]\n' })
})

test('enqueue: prints the id, checks what it is given, keeps to unique keys', async () => {
  const [id, again, bad, badJson] = await Promise.all([
    millrace('job enqueue mail {"to":"a@b.c"} --queue mails --priority 1 --delay 5m --tag x --unique-key once'),
    millrace('job enqueue mail --priority 5'),
    millrace('job enqueue mail {to}'),
    millrace('job enqueue millrace.webhook --json'),
  ])
  const job = await view(database, id.stdout.trim())
  expect(job).toMatchObject({ state: 'scheduled', queue: 'mails', priority: 1, args: { to: 'a@b.c' }, tags: ['x'] })
  expect([again.status, bad.status, badJson.status]).toEqual([2, 2, 1])
  expect(JSON.parse(badJson.stderr)).toMatchObject({ error: { code: 'invalid_kind' } })
  expect(await json('job enqueue mail --unique-key once')).toEqual({
    ...{ id: String(job.id), existing: true, replaced: false },
  })
})

test('wait: prints the result of a completed job; the status tells of any other end', async () => {
  const [good, bad] = (await enqueue(database.sql, 2)) as [string, string]
  const [waiting, late] = [millrace(`job wait ${good}`), await millrace(`job wait ${bad} --timeout 0.1s`)]
  const attempts = await claimAll(database)
  const attemptOf = (id: string) => only(attempts.filter(attempt => attempt.id === id))
  await close(database, attemptOf(good), { kind: 'completed', result: { pages: 3 } })
  await close(database, attemptOf(bad), fatal)
  expect(await waiting).toEqual({ status: 0, stdout: '{"pages":3}\n', stderr: '' })
  expect(late).toMatchObject({ status: 1, stderr: expect.stringContaining('[timeout]') })
  const failure = await millrace(`job wait ${bad}`)
  expect(failure).toMatchObject({ status: 1, stdout: '' })
  expect(failure.stderr).toBe(`millrace: job ${bad} ended as failed: reported: no such order [failed]\n`)
})

test('whole numbers beyond those of doubles stay what they are', async () => {
  const given = '{"id":12345678901234567890,"more":[-9007199254740993]}'
  const id = (await millrace(`job enqueue resize ${given}`)).stdout.trim()
  await close(database, only(await claimAll(database)), {
    ...{ kind: 'completed', result: exactJson('9007199254740993') },
  } as never)
  const shown = await Promise.all(
    [...[`job show ${id}`, `job show ${id} --json`, `job wait ${id}`, `job wait ${id} --json`]].map(command =>
      millrace(command),
    ),
  )
  for (const { stdout } of shown) expect(stdout).toContain('9007199254740993')
  for (const { stdout } of shown.slice(0, 2)) expect(stdout).toContain(given)
})

test('cancel and retry: the answer for each job; status 1 where one was left as it is', async () => {
  const [first, second, third] = (await enqueue(database.sql, 3)) as [string, string, string]
  await database.sql`select millrace.enqueue_many('[{"kind": "mail", "unique_key": "k"}]')`
  const cancelled = await json(`job cancel ${first} ${second} --reason unwanted`)
  expect(cancelled.items).toMatchObject([{ cancelled: true, state: 'cancelled' }, { cancelled: true }])
  expect((await view(database, first)).errors.at(-1)).toMatchObject({ message: 'unwanted' })

  const [byKey, noKey, unknown, retried, refused, nothing] = await Promise.all([
    json('job cancel --unique-key k'),
    millrace('job cancel --unique-key other'),
    millrace('job cancel 987654 --json'),
    json(`job retry ${first}`),
    millrace(`job retry ${third} 987654 --json`),
    millrace('job cancel'),
  ])
  expect(byKey).toMatchObject({ items: [{ state: 'cancelled', cancelled: true }] })
  expect(noKey).toMatchObject({ status: 1, stderr: expect.stringContaining('[not_found]') })
  expect(unknown).toMatchObject({ status: 1, stdout: '{"items":[]}\n' })
  expect(retried).toMatchObject({ items: [{ id: Number(first), retried: true, state: 'available' }] })
  expect(refused.status).toBe(1)
  expect(JSON.parse(refused.stdout)).toMatchObject({ items: [{ problem: 'not_retryable' }, { problem: 'not_found' }] })
  expect(JSON.parse(refused.stderr)).toMatchObject({ error: { code: 'not_retryable' } })
  expect(nothing).toMatchObject({ status: 2, stderr: expect.stringContaining('no id given') })
})
