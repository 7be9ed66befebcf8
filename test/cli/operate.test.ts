// `millrace queue`, `dlq`, `cron`, `batch`, `kind`, `runtime`: each on real jobs, with what it asks and refuses.

import { defineKind, defineManifest, syncManifest } from 'millrace'
import * as v from 'valibot'
import { expect, test } from 'vitest'
import { migrateDatabase } from '../../functions/node/migrations.ts'
import { close, enqueue, fatal, running, view } from '../support/engine-database.ts'
import { useOperator } from '../support/operator.ts'
import { setQueue } from '../support/queues.ts'
import { answer } from '../support/terminal.ts'

const { database, millrace, json } = useOperator()

async function dead(queue: string): Promise<string> {
  const job = await running(database, { queue })
  await close(database, job, fatal)
  return job.id
}

test('queue and kind: how they stand; pause, resume, drain', async () => {
  await setQueue(database.sql, 'mails', { max_running: 5, rate: 10 })
  const [first] = (await enqueue(database.sql, 3, { queue: 'mails' })) as [string]
  const [paused, asked, asJson] = await Promise.all([
    millrace('queue pause mails --by ann'),
    millrace('queue drain mails'),
    millrace('queue drain mails --json'),
  ])
  expect(paused).toEqual({ status: 0, stdout: 'mails is paused\n', stderr: '' })
  expect(asked).toMatchObject({ status: 2, stdout: '', stderr: expect.stringMatching(/^millrace: --yes is needed/) })
  expect(JSON.parse(asJson.stderr)).toMatchObject({ error: { code: 'usage' } })

  const [queues, text, kinds] = await Promise.all([
    json('queue list'),
    millrace('queue list', { env: { COLUMNS: '200' } }),
    json('kind list'),
  ])
  expect(queues).toMatchObject({
    items: [{ queue: 'mails', available: 3, max_running: 5, paused_by: 'ann', lag_seconds: expect.any(Number) }],
    cursor: null,
  })
  expect(text.stdout).toMatch(/mails +3 +0 +0 .* 5 at once, 10\/s +\d{4}-.*Z \(.*\) +ann\n/)
  expect(kinds).toMatchObject({ items: [{ kind: 'resize', available: 3 }], cursor: null })

  expect(await json('queue drain mails --yes --reason moved')).toEqual({ name: 'mails', cancelled: 3 })
  expect(await view(database, first)).toMatchObject({ state: 'cancelled', errors: [{ message: 'moved' }] })
  expect(await json('queue resume mails')).toEqual({ name: 'mails', paused: false, changed: true })
})

test('dlq: list, show, depth; retry and purge by ids or by a filter', async () => {
  const [mail, photo, other] = [await dead('mails'), await dead('photos'), await dead('photos')] as const
  const [list, shown, text, depth, unknown, refused, both] = await Promise.all([
    json('dlq list --queue photos --reason terminal_error'),
    json(`dlq show ${mail}`),
    millrace(`dlq show ${mail}`),
    json('dlq depth'),
    millrace('dlq show 987654'),
    millrace('dlq retry --queue photos'),
    millrace(`dlq purge ${mail} --all --yes`),
  ])
  expect(list.items.map(({ id }: { id: number }) => String(id))).toEqual([other, photo])
  expect(shown).toMatchObject({ reason: 'terminal_error', queue: 'mails', errors: [{ message: 'no such order' }] })
  expect(text.stdout).toMatch(/^job +\d+\nreason +terminal_error\n[\s\S]*attempt 1: reported: no such order\n$/)
  expect(depth).toMatchObject({
    total: 3,
    queues: [
      { queue: 'mails', count: 1 },
      { queue: 'photos', count: 2 },
    ],
  })
  expect([unknown.status, refused.status, both.status]).toEqual([1, 2, 2])

  const [byId, byFilter] = await Promise.all([
    json(`dlq retry ${mail} --to-queue slow --to-priority 4`),
    json('dlq purge --queue photos --yes'),
  ])
  expect(byId).toEqual({ retried: 1, refused: [] })
  expect(await view(database, mail)).toMatchObject({ state: 'available', queue: 'slow', priority: 4 })
  expect(byFilter).toEqual({ purged: 2 })
  expect(await millrace(`dlq retry ${photo}`)).toMatchObject({
    status: 1,
    stderr: expect.stringContaining('[not_found]'),
  })
})

test.skipIf(process.platform !== 'linux')(
  'on a terminal it asks first, and tells which database; the password stays out of it',
  async () => {
    await dead('photos')
    const env = { DATABASE_URL: database.url }
    const [no, nothing] = await Promise.all([
      answer('n\n', 'dlq purge --all', env),
      answer('\u0004', 'dlq purge --all', env),
    ])
    const { host, pathname, password } = new URL(database.url)
    expect(no.output).toContain('This deletes all dead letters, for good.')
    expect(no.output).toMatch(new RegExp(`postgres(ql)?://[^:/]*@${host}${pathname}\\s`))
    if (password) expect(no.output).not.toContain(`:${password}@`)
    expect(no.output).toContain('millrace: nothing was changed [declined]')
    expect([no.status, nothing.status]).toEqual([1, 1])
    const yes = await answer('y\n', 'dlq purge --all', env)
    expect(yes).toMatchObject({ status: 0, output: expect.stringContaining('1 deleted') })
  },
)

test('cron: list with the next times, pause, resume, trigger', async () => {
  const kind = defineKind({ name: 'report', args: v.object({}), target: { url: 'http://127.0.0.1:1/' } })
  const schedules = [{ name: 'nightly', cron: '0 3 * * *', timezone: 'Europe/Berlin', kind, args: {} }]
  await syncManifest(database.sql, defineManifest({ kinds: [kind], schedules }))
  expect(await json('cron pause nightly --by ann')).toEqual({ name: 'nightly', paused: true, changed: true })
  const [list, text, triggered, unknown] = await Promise.all([
    json('cron list'),
    millrace('cron list'),
    json('cron trigger nightly'),
    millrace('cron resume weekly'),
  ])
  expect(list).toMatchObject({ items: [{ name: 'nightly', paused_by: 'ann', next: { length: 5 } }], cursor: null })
  expect(text.stdout).toMatch(/nightly +0 3 \* \* \* +Europe\/Berlin +report .*Z \(in \d+[hms]\) +paused by ann\n$/)
  expect(await view(database, triggered.job)).toMatchObject({ kind: 'report', state: 'available' })
  expect(unknown).toMatchObject({ status: 1, stderr: 'millrace: there is no schedule weekly [not_found]\n' })
  expect(await json('cron resume nightly')).toEqual({ name: 'nightly', paused: false, changed: true })
})

test('batch: preview, submit, wait for its end, list, show, cancel', async () => {
  const jobs = await enqueue(database.sql, 3, { queue: 'mails' })
  const [preview, refused, empty, wrong] = await Promise.all([
    json('batch preview cancel --queue mails'),
    millrace('batch submit cancel --queue mails'),
    millrace('batch submit cancel --yes'),
    millrace('batch submit set-priority --all --to-priority 9 --yes'),
  ])
  expect(preview).toMatchObject({ count: 3, lower_bound: false, sample: { length: 3 } })
  expect(refused).toMatchObject({ status: 2, stderr: expect.stringContaining('This cancels 3 jobs.') })
  expect([empty.status, wrong.status]).toEqual([2, 2])

  const submitted = await json('batch submit move-queue --queue mails --to-queue slow --by ann --yes')
  expect(submitted).toMatchObject({ operation: 'move_queue', params: { queue: 'slow' }, created_by: 'ann' })
  const waiting = millrace('batch submit cancel --kind resize --yes --wait')
  await expect.poll(async () => (await database.admin.batches.open()).length, { timeout: 30_000 }).toBe(2)
  // As the leader does.
  for (const id of [submitted.id, submitted.id + 1]) await database.admin.batches.step(id)
  const done = await waiting
  expect(done).toMatchObject({ status: 0, stdout: expect.stringMatching(/state +completed\n[\s\S]*changed +3\n/) })
  expect(await view(database, jobs[0] as string)).toMatchObject({ queue: 'slow', state: 'cancelled' })

  const [list, shown, late, unknown] = await Promise.all([
    json('batch list --state completed --limit 1'),
    json(`batch show ${submitted.id}`),
    millrace(`batch cancel ${submitted.id}`),
    millrace('batch show 987654'),
  ])
  expect(list).toMatchObject({ items: [{ operation: 'cancel', changed: 3 }], cursor: expect.any(String) })
  expect(shown).toMatchObject({ id: submitted.id, state: 'completed', changed: 3 })
  expect(late).toMatchObject({ status: 1, stderr: expect.stringContaining('[already_ended]') })
  expect(unknown).toMatchObject({ status: 1, stderr: expect.stringContaining('[not_found]') })
})

test('health and runtime list: each check by its name; what fails decides the status', async () => {
  await migrateDatabase(database.url)
  const [failing, unreachable, missing] = await Promise.all([
    millrace('health --json'),
    millrace('health', { env: { DATABASE_URL: 'postgres://nobody:secret@127.0.0.1:1/none' } }),
    millrace('health --schema nowhere'),
  ])
  expect(failing.status).toBe(1)
  expect(JSON.parse(failing.stdout)).toMatchObject({
    ...{ ok: false, failing: ['leader', 'dispatchers'], restored: false, live_runtimes: 0, oldest_lag_seconds: 0 },
    checks: ['database', 'schema', 'cluster', 'leader', 'dispatchers', 'lag'].map(name => ({ name })),
  })
  expect(JSON.parse(failing.stderr)).toMatchObject({ error: { code: 'unhealthy' } })
  expect(unreachable.stdout).toMatch(/^FAILS {2}database .*ECONNREFUSED/)
  expect(missing).toMatchObject({ status: 1, stdout: expect.stringMatching(/\nFAILS +schema +there is none/) })

  await database.engine.runtimeStart('worker-1')
  await database.sql`insert into millrace.leader values ('maintenance', 'worker-1', 1, now() + interval '1 minute')`
  await enqueue(database.sql, 1, { queue: 'mails' })
  const [well, runtimes, lagging, ticks] = await Promise.all([
    json('health'),
    json('runtime list'),
    millrace('health --max-lag 0s'),
    json('health --ticks'),
  ])
  expect(well).toMatchObject({ ok: true, failing: [], leader: 'worker-1', live_runtimes: 1 })
  expect(well.schema_version).toBe(well.expected_schema_version)
  expect(runtimes).toMatchObject({ items: [{ name: 'worker-1', alive: true }], leaders: [{ epoch: 1 }], cursor: null })
  expect(lagging).toMatchObject({ status: 1, stdout: expect.stringMatching(/FAILS +lag .* in queue mails/) })
  expect(ticks).toMatchObject({ ok: true })

  await database.sql`update millrace.cluster set identifier = 1`
  const restored = await millrace('health --json')
  expect(JSON.parse(restored.stdout)).toMatchObject({ failing: ['cluster'], restored: true })
})
