// Jobs of tenants, as applications enqueue them: their unique keys are their own.

import { cancelByKey, defineKind, enqueueMany, enqueueUnique, job } from 'millrace'
import * as v from 'valibot'
import { expect, test } from 'vitest'
import { useEngine } from './support/engine-database.ts'

const database = useEngine()

const resize = defineKind({ name: 'resize', args: v.object({ n: v.number() }) })

const unique = (tenant?: string) => enqueueUnique(database.sql, resize, { n: 1 }, { unique: true, tenant })

test('the same job is unique for each tenant, and found again', async () => {
  const all = [await unique('acme'), await unique('other'), await unique()]
  expect(new Set(all.map(({ id }) => id)).size).toBe(3)
  expect(await unique('acme')).toEqual({ ...all[0], existing: true })
  const rows = await database.sql`select metadata ->> 'tenant' as tenant from millrace.job_log order by id`
  expect(rows.map(({ tenant }) => tenant)).toEqual(['acme', 'other', null])
})

test('a job is cancelled by the key with its tenant only', async () => {
  const [id = ''] = await enqueueMany(database.sql, [job(resize, { n: 1 }, { tenant: 'acme', unique: { key: 'k' } })])
  expect(await cancelByKey(database.sql, 'k')).toBeUndefined()
  expect(await cancelByKey(database.sql, 'k', { tenant: 'other' })).toBeUndefined()
  expect(await cancelByKey(database.sql, 'k', { tenant: 'acme' })).toMatchObject({ id, cancelled: true })
  const { id: next } = await unique('acme')
  const parts = { kind: resize, args: { n: 1 } }
  expect(await cancelByKey(database.sql, parts, { tenant: 'acme' })).toMatchObject({ id: next, cancelled: true })
})
