// The program for API keys, the audit log and tenants.

import { hostname } from 'node:os'
import { expect, test } from 'vitest'
import { makeApi } from '../support/api.ts'
import { claimAll, close, enqueue, fatal } from '../support/engine-database.ts'
import { useOperator } from '../support/operator.ts'

const { database, millrace, json } = useOperator()

const status = async (key: string) =>
  (await makeApi({ sql: database.sql, apiKeys: 'database' }).call('GET', '/api/jobs', { key })).status

test('api-key makes a key that the API takes, lists it without, rotates and revokes it', async () => {
  const made = await millrace('api-key create --name shop --scope read --tenant acme --expires 90d --by ann')
  expect(made).toMatchObject({ status: 0, stdout: expect.stringMatching(/^mk_[A-Za-z0-9_-]{43}\n$/) })
  expect(made.stderr).toMatch(/^key \d+, shop: read, tenant acme, until .*shown this one time\.\n$/)
  const key = made.stdout.trim()
  expect(await status(key)).toBe(200)

  const [list, text] = await Promise.all([json('api-key list'), millrace('api-key list')])
  const [{ id, ...view }] = list.items
  expect(view).toMatchObject({ name: 'shop', scopes: ['read'], tenant: 'acme', created_by: 'ann', expired: false })
  expect(Date.parse(view.expires_at) - Date.parse(view.created_at)).toBe(90 * 86_400_000)
  expect(text.stdout).toMatch(/^ID +NAME +KEY +SCOPES +TENANT .*\n *\d+ +shop +mk_.{4}\.\.\. +read +acme /)
  expect(JSON.stringify(list) + text.stdout).not.toContain(key.slice(8))

  const next = await json(`api-key rotate ${id} --grace 0`)
  expect(next).toMatchObject({ name: 'shop', tenant: 'acme', created_by: expect.stringContaining(`@${hostname()}`) })
  expect([await status(key), await status(next.key)]).toEqual([401, 200])
  const [again, revoked] = await Promise.all([millrace(`api-key rotate ${id}`), json(`api-key revoke ${next.id}`)])
  expect(again).toMatchObject({ status: 1, stdout: '', stderr: expect.stringContaining('[not_found]') })
  expect(revoked).toEqual({ id: next.id, revoked: true })
  expect(await status(next.key)).toBe(401)
})

test('api-key says what is wrong', async () => {
  await millrace('api-key create --name shop')
  expect((await json('api-key list')).items).toMatchObject([{ scopes: ['enqueue', 'read'], tenant: null }])
  const [nameless, scope, time, taken, id, gone] = await Promise.all([
    millrace('api-key create'),
    millrace('api-key create --name x --scope root'),
    millrace('api-key create --name x --expires soon'),
    millrace('api-key create --name shop'),
    millrace('api-key revoke shop'),
    millrace('api-key revoke 999999'),
  ])
  for (const wrong of [nameless, scope, time, id]) expect(wrong).toMatchObject({ status: 2, stdout: '' })
  expect(taken).toMatchObject({ status: 1, stdout: '', stderr: expect.stringContaining('[api_key_exists]') })
  expect(gone).toMatchObject({ status: 1, stdout: '', stderr: expect.stringContaining('[not_found]') })
})

test('audit tells what was done, and by whom', async () => {
  const [job = ''] = await enqueue(database.sql, 1, { unique_key: 'once' })
  await millrace('queue pause mails --by ann')
  await millrace('queue resume mails', { env: { USER: 'bob' } })
  await millrace('job cancel --unique-key once --reason late --by ann')
  const [all, ann, text, none] = await Promise.all([
    json('audit'),
    json('audit --actor ann --action queue'),
    millrace('audit --since 1h --limit 2'),
    millrace('audit --until 1h'),
  ])
  expect(all.items).toMatchObject([
    { actor: 'ann', action: 'job.cancel', detail: { ids: [Number(job)], reason: 'late' } },
    { actor: `bob@${hostname()}`, action: 'queue.resume', detail: { queue: 'mails' } },
    { actor: 'ann', action: 'queue.pause', detail: { queue: 'mails' } },
  ])
  expect(ann.items).toHaveLength(1)
  expect(text.stdout).toMatch(/^AT +ACTOR +LOGIN +ACTION +DETAIL\n.* ann +\S+ +job\.cancel +\{"ids":\[\d+\]/)
  expect(text.stderr).toMatch(/^There are more: --cursor \d+\n$/)
  expect(none).toEqual({ status: 0, stdout: '', stderr: 'Nothing was done\n' })
})

test('jobs and dead letters go by tenant', async () => {
  const [dead = ''] = await enqueue(database.sql, 1, { metadata: { tenant: 'acme' } })
  const [lost = ''] = await enqueue(database.sql)
  for (const job of await claimAll(database)) await close(database, job, fatal)
  const enqueued = await json('job enqueue mail --tenant acme --unique-key k')
  const jobs = await json('job list --tenant acme')
  expect(jobs.items).toMatchObject([{ id: Number(enqueued.id), unique_key: 'tenant:acme:k' }, { id: Number(dead) }])
  expect((await json('dlq list --tenant acme')).items).toMatchObject([{ id: Number(dead) }])
  expect(await json('batch preview cancel --tenant acme')).toMatchObject({ count: 1 })
  expect(await json('dlq purge --tenant acme --yes')).toEqual({ purged: 1 })
  expect((await json('dlq list')).items).toMatchObject([{ id: Number(lost) }])
})
