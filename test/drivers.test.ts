// One suite over every driver: what is enqueued inside the caller's transaction shares its fate, whoever carries it.

import { Client as NeonClient, Pool as NeonPool, neon } from '@neondatabase/serverless'
import pg from 'pg'
import postgres from 'postgres'
import * as v from 'valibot'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  cancel,
  cancelByKey,
  type Database,
  defineKind,
  enqueue,
  enqueueMany,
  enqueueStatement,
  enqueueUnique,
  job,
  toSql,
} from '../core/index.ts'
import { useDatabase } from './support/database.ts'
import { startNeonHttp } from './support/neon-http.ts'
import { startNeonWebSocket } from './support/neon-websocket.ts'

const database = useDatabase()
const note = defineKind({ name: 'note', args: v.object({ text: v.string() }) })
const rollback = new Error('rolled back on purpose')
const cleanup = new AsyncDisposableStack()

/** A transaction of a driver: what it enqueues through, and its own way to run SQL. */
interface Transaction {
  readonly tx: Database
  run(text: string): PromiseLike<unknown>
}

/** `begin` commits when `work` resolves and rolls back when it rejects. */
interface Driver {
  readonly name: string
  /** Outside of any transaction. */
  connect(): Promise<Database>
  begin?(work: (transaction: Transaction) => Promise<unknown>): Promise<unknown>
}

interface PgPool {
  connect(): Promise<PgClient>
  end(): Promise<void>
}
interface PgClient {
  query(text: string, params?: unknown[]): Promise<unknown>
  release(): void
}

function overPg(name: string, open: () => PgPool): Driver {
  let pool: PgPool & { query: PgClient['query'] }
  return {
    name,
    async connect() {
      pool ??= cleanup.adopt(open(), opened => opened.end()) as typeof pool
      return pool
    },
    async begin(work) {
      const client = await ((await this.connect()) as typeof pool).connect()
      try {
        await client.query('begin')
        await work({ tx: client, run: text => client.query(text) })
        await client.query('commit')
      } catch (error) {
        await client.query('rollback')
        throw error
      } finally {
        client.release()
      }
    },
  }
}

function overPostgresJs(): Driver {
  let sql: postgres.Sql
  const connect = async () => {
    sql ??= cleanup.adopt(postgres(database.url, { max: 2 }), opened => opened.end())
    return sql
  }
  return {
    name: 'postgres.js',
    connect,
    begin: async work => (await connect()).begin(tx => work({ tx, run: text => tx.unsafe(text) })),
  }
}

const drivers: Driver[] = [
  overPostgresJs(),
  overPg('pg', () => new pg.Pool({ connectionString: database.url, max: 2 })),
  overPg('Neon over WebSocket', () => new NeonPool({ connectionString: database.url, max: 2 })),
  { name: 'Neon over HTTP', connect: async () => neon(database.url) },
]

/** What is committed, on a connection of its own. */
async function look(id: string): Promise<Record<string, unknown> | null> {
  const [row] = await database.sql`select millrace.job(${id}) as job`
  return row?.job
}

beforeAll(async () => {
  const { host } = new URL(database.url)
  cleanup.use(await startNeonWebSocket([host]))
  cleanup.use(await startNeonHttp([host]))
})
afterAll(() => cleanup.disposeAsync())

describe.each(drivers)('$name', driver => {
  it('enqueues at once outside of a transaction, and answers the id as text', async () => {
    const id = await enqueue(await driver.connect(), note, { text: 'at once' })

    expect(id).toMatch(/^\d+$/)
    expect(await look(id)).toMatchObject({ state: 'available', kind: 'note', args: { text: 'at once' } })
  })

  it('carries every option and any text unharmed', async () => {
    const text = `it's "quoted" \\ back\\\\slashed, {braced}, $1, 日本 🛶 \u2028 end`
    const options = {
      queue: 'q "1"',
      priority: 3,
      maxAttempts: 7,
      tags: [text, 'a,b', 'NULL'],
      metadata: { text, n: [1, null] },
      orderingKey: text,
      rateKey: text,
    }
    const unique = (key: string) => ({
      unique: { key: `${key} ${driver.name} ${text}`, states: ['available' as const] },
    })
    const db = await driver.connect()

    const id = await enqueue(db, note, { text }, { ...options, ...unique('one') })
    const [same] = await enqueueMany(db, [job(note, { text }, { ...options, ...unique('many') })])

    const expected = {
      queue: 'q "1"',
      priority: 3,
      max_attempts: 7,
      args: { text },
      tags: options.tags,
      metadata: options.metadata,
    }
    expect(await look(id)).toMatchObject(expected)
    expect(await look(String(same))).toMatchObject(expected)
    expect(await enqueueUnique(db, note, { text: '' }, unique('one'))).toEqual({ id, existing: true, replaced: false })
    expect(await cancelByKey(db, unique('many').unique.key)).toEqual({ id: same, state: 'cancelled', cancelled: true })
    expect(await cancel(db, [id], { reason: text })).toEqual([{ id, state: 'cancelled', cancelled: true }])
    expect(await look(id)).toMatchObject({ errors: [{ message: text }] })
  })

  it('schedules for an instant or after a delay', async () => {
    const db = await driver.connect()
    const runAt = new Date(Date.now() + 3_600_000)

    const at = await look(await enqueue(db, note, { text: 'at' }, { runAt }))
    const after = await look(await enqueue(db, note, { text: 'after' }, { delaySeconds: 90.5 }))

    expect(at?.state).toBe('scheduled')
    expect(new Date(String(at?.run_at))).toEqual(runAt)
    expect(Date.parse(String(after?.run_at)) - Date.parse(String(after?.enqueued_at))).toBe(90_500)
  })

  it('enqueues many in one statement and answers their ids in order', async () => {
    const jobs = Array.from({ length: 50 }, (_, n) => job(note, { text: `${n}` }, { priority: 1 + (n % 4) }))

    const ids = await enqueueMany(await driver.connect(), jobs)

    expect(new Set(ids).size).toBe(50)
    for (const n of [0, 1, 49]) expect(await look(String(ids[n]))).toMatchObject({ args: { text: `${n}` } })
  })

  it('tells a limit by its code, with a hint and the database error as cause', async () => {
    const error = await enqueue(await driver.connect(), note, { text: '' }, { priority: 5 }).catch(
      (error: unknown) => error,
    )

    expect(error).toMatchObject({ name: 'MillraceError', code: 'invalid_priority', cause: { code: '23514' } })
    expect(error).toHaveProperty('hint', expect.stringMatching(/./))
  })

  it('answers rows alike: int8 as text, jsonb parsed, numbers and booleans as parameters', async () => {
    const sql = toSql(await driver.connect())

    const text = `select 9007199254740993 as big, $1::text::jsonb as json, $2::text::int + 1 as n, $3::text as yes, $4::text as none`
    await expect(sql.query(text, ['{"a":[1]}', 41, true, null])).resolves.toEqual([
      { big: '9007199254740993', json: { a: [1] }, n: 42, yes: 'true', none: null },
    ])
  })
})

describe.each(drivers.filter(driver => driver.begin))('$name, in a transaction', ({ begin, ...driver }) => {
  const transaction = (work: (transaction: Transaction) => Promise<unknown>) => begin?.call({ ...driver, begin }, work)

  it('shows the job to nobody before the commit, and then to all', async () => {
    let id = ''
    await transaction(async ({ tx }) => {
      id = await enqueue(tx, note, { text: 'committed' })
      expect(await look(id)).toBeNull()
    })

    expect(await look(id)).toMatchObject({ state: 'available' })
  })

  it('loses the job with a rollback', async () => {
    let ids: string[] = []
    const work = transaction(async ({ tx }) => {
      ids = [await enqueue(tx, note, { text: 'gone' }), ...(await enqueueMany(tx, [job(note, { text: 'gone too' })]))]
      throw rollback
    })

    await expect(work).rejects.toBe(rollback)
    expect(await Promise.all(ids.map(look))).toEqual([null, null])
  })

  it('loses what a savepoint took back and keeps the rest', async () => {
    let [kept, lost] = ['', '']
    await transaction(async ({ tx, run }) => {
      kept = await enqueue(tx, note, { text: 'kept' })
      await run('savepoint before')
      lost = await enqueue(tx, note, { text: 'lost' })
      await run('rollback to savepoint before')
    })

    expect(await look(kept)).toMatchObject({ state: 'available' })
    expect(await look(lost)).toBeNull()
  })

  it('is not harmed by arguments that are refused before they are sent', async () => {
    let id = ''
    await transaction(async ({ tx }) => {
      await expect(enqueue(tx, note, { text: 1 } as never)).rejects.toMatchObject({ code: 'invalid_args' })
      id = await enqueue(tx, note, { text: 'second try' })
    })

    expect(await look(id)).toMatchObject({ state: 'available' })
  })
})

describe('particulars', () => {
  it('postgres.js: a reserved connection and a nested savepoint take jobs too', async () => {
    const { sql } = database
    const reserved = await sql.reserve()
    const first = await enqueue(reserved, note, { text: 'reserved' }).finally(() => reserved.release())
    let second = ''
    await sql.begin(async tx => {
      const nested = tx.savepoint(async inner => {
        second = await enqueue(inner, note, { text: 'nested' })
        throw rollback
      })
      await expect(nested).rejects.toBe(rollback)
    })

    expect(await look(first)).toMatchObject({ state: 'available' })
    expect(await look(second)).toBeNull()
  })

  it.each([
    ['pg', () => new pg.Client(database.url)],
    ['Neon', () => new NeonClient(database.url)],
  ])('%s: a single client takes jobs too', async (_, open) => {
    const client = open()
    await client.connect()
    const id = await enqueue(client, note, { text: 'client' }).finally(() => client.end())

    expect(await look(id)).toMatchObject({ args: { text: 'client' } })
  })

  it('Neon over HTTP: a batch is a transaction, and the job is part of it', async () => {
    const sql = neon(database.url)
    const { text, values } = await enqueueStatement(note, { text: 'batched' })

    const [, rows] = await sql.transaction([sql`select 1`, sql.query(text, values)])
    expect(await look(rows?.[0]?.id)).toMatchObject({ args: { text: 'batched' } })

    const count = async () => (await database.sql`select count(*)::int as n from millrace.job_log`)[0]?.n
    const before = await count()
    await expect(sql.transaction([sql.query(text, values), sql`select 1 / 0`])).rejects.toMatchObject({ code: '22012' })
    expect(await count()).toBe(before)
  })

  it('Neon over HTTP: settings of the function for its own answers do not matter', async () => {
    const id = await enqueue(neon(database.url, { arrayMode: true, fullResults: true }), note, { text: 'arrays' })

    expect(await look(id)).toMatchObject({ args: { text: 'arrays' } })
  })

  it('pg takes the statement as a query config', async () => {
    const pool = new pg.Pool({ connectionString: database.url, max: 1 })
    const { rows } = await pool.query(await enqueueStatement(note, { text: 'config' })).finally(() => pool.end())

    expect(await look(rows[0].id)).toMatchObject({ args: { text: 'config' } })
  })

  it('leaves no named prepared statement behind, for the sake of poolers, unless asked to', async () => {
    const sql = postgres(database.url, { max: 1 })
    const client = new pg.Client(database.url)
    await client.connect()
    try {
      for (const db of [sql, client]) {
        const named = () =>
          toSql(db).query<{ n: number }>(
            'select count(*)::int as n from pg_prepared_statements where statement like $1::text',
            ['%/* mine */'],
          )
        await toSql(db).query('select $1::text /* mine */', ['x'])
        expect(await named()).toEqual([{ n: 0 }])
        await toSql(db, { prepare: true }).query('select $1::text /* mine */', ['x'])
        expect(await named()).toEqual([{ n: 1 }])
      }
    } finally {
      await Promise.all([sql.end(), client.end()])
    }
  })

  it.each([[undefined], [null], ['postgres://'], [{}], [() => 1]])('refuses %s as a connection', db => {
    expect(() => toSql(db as never)).toThrow(expect.objectContaining({ code: 'unsupported_driver' }))
  })
})
