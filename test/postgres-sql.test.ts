// The database port over postgres.js: types, and a listener that survives its connection.

import { expect, onTestFinished, test } from 'vitest'
import { postgresSql } from '../functions/node/postgres-sql.ts'
import { useDatabase } from './support/database.ts'

const database = useDatabase()

test('answers int8 and times as text, jsonb parsed, and hears notifications', async () => {
  const sql = postgresSql(database.url)
  onTestFinished(() => sql.end())
  const rows = await sql.query(
    `select $1::text::int8 as id, $2::text::jsonb as data, $3::text::boolean as yes,
    timestamptz '2026-01-02 03:04:05.678901+00' = $4::text::timestamptz as same, date '2026-01-02' as day`,
    [42, '{"a":1}', true, '2026-01-02T03:04:05.678901Z'],
  )
  expect(rows).toEqual([{ id: '42', data: { a: 1 }, yes: true, same: true, day: '2026-01-02' }])
  const heard = Promise.withResolvers<string>()
  const unlisten = await sql.listen('news', heard.resolve)
  await sql.query(`select pg_notify('news', 'hello')`)
  expect(await heard.promise).toBe('hello')
  await unlisten()
})

test('a listener whose connection broke is back by itself, and is told that it may have missed something', async () => {
  const sql = postgresSql(database.url)
  onTestFinished(() => sql.end())
  const heard = Promise.withResolvers<string>()
  await sql.listen('news', heard.resolve)
  await database.sql`select pg_terminate_backend(pid) from pg_stat_activity where query ilike 'listen %' and datname = current_database()`
  expect(await heard.promise).toBe('')
})

test('a statement that is not answered in time is given up; the next one goes its own way', async () => {
  const sql = postgresSql(database.url, { patienceSeconds: 0.2, max: 2 })
  onTestFinished(() => sql.end(0))
  await expect(sql.query('select pg_sleep(30)')).rejects.toMatchObject({ code: 'unavailable' })
  expect(await sql.query('select 1 as one')).toEqual([{ one: 1 }])
  await sql.query("select pg_terminate_backend(pid, 5000) from pg_stat_activity where query = 'select pg_sleep(30)'")
})
