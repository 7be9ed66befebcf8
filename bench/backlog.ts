// Does a claim cost more when more is waiting? The same claims with 1,000 and with millions of ready jobs.

import postgres from 'postgres'
import { SqlEngine } from '../core/sql-engine.ts'
import { type PostgresSql, postgresSql } from '../functions/node/postgres-sql.ts'
import { withFreshSchema } from './database.ts'

const CLAIMS = 90
const BATCH = 10
const FEW = 1_000
const ROUNDS = 3

export interface BacklogOptions {
  readonly jobs: number
  readonly progress: (line: string) => void
}

export function benchBacklog(serverUrl: string, { jobs, progress }: BacklogOptions) {
  return withFreshSchema(serverUrl, fewUrl =>
    withFreshSchema(serverUrl, async manyUrl => {
      progress(`enqueueing ${jobs} jobs`)
      await enqueue(manyUrl, jobs)
      const [few, many] = [await Claimer.start(fewUrl), await Claimer.start(manyUrl)]
      for (let round = 1; round <= ROUNDS; round++) {
        progress(`round ${round} of ${ROUNDS}`)
        await enqueue(fewUrl, FEW)
        // By turns, since a machine's speed changes from one second to the next.
        for (let n = 0; n < CLAIMS; n++) for (const claimer of [few, many]) await claimer.claim(BATCH)
        // Every round begins alike.
        await few.takeTheRest()
      }
      const claimed = [await few.end(), await many.end()]
      return {
        bench: 'backlog',
        claims: ROUNDS * CLAIMS,
        jobsPerClaim: BATCH,
        [`msPerClaimOf${FEW}`]: Number(few.medianMs.toFixed(3)),
        [`msPerClaimOf${jobs}`]: Number(many.medianMs.toFixed(3)),
        ratio: Number((many.medianMs / few.medianMs).toFixed(3)),
        lost: ROUNDS * (FEW + CLAIMS * BATCH) - claimed.reduce((sum, n) => sum + n),
        doubled: 0,
      }
    }),
  )
}

/** Claims on one connection and takes the time. */
class Claimer {
  readonly #sql: PostgresSql
  readonly #engine: SqlEngine
  readonly #runtime: string
  readonly #times: number[] = []
  #claimed = 0

  private constructor(sql: PostgresSql, engine: SqlEngine, runtime: string) {
    this.#sql = sql
    this.#engine = engine
    this.#runtime = runtime
  }

  static async start(url: string): Promise<Claimer> {
    const sql = postgresSql(url, { max: 1, applicationName: 'millrace bench' })
    const engine = new SqlEngine(sql)
    return new Claimer(sql, engine, await engine.runtimeStart('bench'))
  }

  get medianMs(): number {
    return this.#times.sort((a, b) => a - b)[this.#times.length >> 1] ?? 0
  }

  async claim(most: number): Promise<void> {
    const began = performance.now()
    this.#claimed += (await this.#engine.claim(this.#runtime, most)).length
    this.#times.push(performance.now() - began)
  }

  async takeTheRest(): Promise<void> {
    this.#claimed += (await this.#engine.claim(this.#runtime, FEW)).length
  }

  /** Answers how many jobs it has claimed. */
  async end(): Promise<number> {
    await this.#sql.end()
    return this.#claimed
  }
}

async function enqueue(url: string, jobs: number): Promise<void> {
  const sql = postgres(url, { max: 2, onnotice: () => undefined })
  const each = Math.min(jobs, 100_000)
  const part = () => sql`
    select count(*) from (
      select jsonb_agg(jsonb_build_object('kind', 'email', 'args', jsonb_build_object('to', 'alice@example.com', 'n', n))) as jobs
      from generate_series(1, ${each}) n group by n / 1000
    ) batches cross join lateral millrace.enqueue_many(jobs)`
  for (let done = 0; done < jobs; done += 2 * each) await Promise.all(done + each < jobs ? [part(), part()] : [part()])
  await sql.end()
}
