// The test harness itself: databases of their own, and connections that nobody closed.

import { cloneDatabase } from 'millrace/testing'
import postgres from 'postgres'
import { expect, inject, test } from 'vitest'

const { url, template } = inject('postgres')

test('every database starts as the migrated template and is apart from the others', async () => {
  const [one, other] = await Promise.all([cloneDatabase(url, template), cloneDatabase(url, template)])
  await one.sql`select millrace.enqueue('render_receipt', '{}')`
  expect(await other.sql`select count(*)::int as jobs from millrace.job_log`).toEqual([{ jobs: 0 }])
  await Promise.all([one.drop(), other.drop()])
})

test('dropping a database reports the connections that were left open, and drops it all the same', async () => {
  const database = await cloneDatabase(url, template)
  const forgotten = postgres(database.url, {
    max: 1,
    fetch_types: false,
    connection: { application_name: 'forgotten' },
  })
  await forgotten`select 1`
  await expect(database.drop()).rejects.toThrow('Connections left open:\nforgotten (idle): select 1')
  const admin = postgres(url, { max: 1, fetch_types: false })
  expect(await admin`select from pg_database where datname = ${database.name}`).toHaveLength(0)
  await Promise.all([admin.end(), forgotten.end()])
})
