// Tries every event on a job in every state, and compares with the table in docs/states.md.

import type postgres from 'postgres'
import { describe, expect, it } from 'vitest'
import { useEngine } from '../support/engine-database.ts'
import { readTable } from './document.ts'
import { EVENTS } from './events.ts'
import { STATES, type Subject } from './states.ts'

const database = useEngine()
const table = readTable().map(cell => ({ ...cell, name: `${cell.section}: ${cell.event}` }))

/** What says nothing of jobs: which processes live, which lanes are known, how far a sweep has come. */
const ASIDE = ['runtime', 'leader', 'lane', 'sweep']

async function dump(sql: postgres.ISql): Promise<string> {
  const tables = await sql<{ name: string }[]>`
    select relname as name from pg_class where relnamespace = 'millrace'::regnamespace and relkind in ('r', 'p') and not relispartition
      and relname <> all (${`{${ASIDE.join(',')}}`}::text::text[]) order by relname`
  const parts = tables.map(({ name }) => `select '${name} ' || to_jsonb(t)::text as row from millrace.${name} t`)
  const rows = await sql.unsafe<{ row: string }[]>(`${parts.join(' union all ')} order by 1`)
  return rows.map(({ row }) => row).join('\n')
}

const SHORT: Readonly<Record<string, string>> = { waiting_external: 'waiting' }

async function look(sql: postgres.ISql, { id }: Subject): Promise<{ state: string; attempt: number | undefined }> {
  const [row] = await sql<{ state: string; attempt: number }[]>`
    select job ->> 'state' as state, (job ->> 'attempt')::int as attempt from millrace.job(${id}::text::bigint) job where job is not null`
  return { state: row ? (SHORT[row.state] ?? row.state) : 'unknown', attempt: row?.attempt }
}

/** What happened, in the table's terms. */
async function attempt(sql: postgres.ISql, subject: Subject, name: string) {
  const event = EVENTS[name]
  if (!event) throw new Error(`No event "${name}"`)
  await event.prepare?.(sql, subject)
  const [before, was] = [await dump(sql), await look(sql, subject)]
  const answer = await event.run(sql, subject)
  const [after, is] = [await dump(sql), await look(sql, subject)]
  const step = is.attempt === undefined || was.attempt === undefined ? 0 : is.attempt - was.attempt
  return { changed: before !== after, was, becomes: is.state, step, answer }
}

class Undo extends Error {}

describe.each(Object.entries(STATES))('%s', (state, build) => {
  it('is as the table says after every event', async () => {
    const subject = await build(database)
    const started = await look(database.sql, subject)
    expect(`${state} `, 'the state it is tried in').toMatch(
      new RegExp(`^(${started.state}|dead letter|archived|for an event)\\b`),
    )
    const expected: Record<string, string> = {}
    const found: Record<string, string> = {}
    for (const cell of table.filter(candidate => candidate.state === state)) {
      await database.sql
        .begin(async sql => {
          const { changed, was, becomes, step, answer } = await attempt(sql, subject, cell.name)
          const end = cell.refused ? was.state : cell.becomes
          expected[cell.name] = `${end} +${cell.step} "${cell.answer}"${cell.refused ? ', nothing changed' : ''}`
          found[cell.name] = `${becomes} +${step} "${answer}"${cell.refused && !changed ? ', nothing changed' : ''}`
          throw new Undo()
        })
        .catch(error => {
          if (!(error instanceof Undo)) found[cell.name] = String(error)
        })
    }
    expect(found).toEqual(expected)
  })
})

it('has a row for every event and a column for every state', () => {
  expect(new Set(table.map(({ name }) => name))).toEqual(new Set(Object.keys(EVENTS)))
  expect(new Set(table.map(({ state }) => state))).toEqual(new Set(Object.keys(STATES)))
  expect(table.length).toBe(Object.keys(EVENTS).length * Object.keys(STATES).length)
})
