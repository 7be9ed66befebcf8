// The admin module on a database of its own, with segments that can be turned over.

import { admin, type Batch, type BatchFilter, type BatchOperation, type Lane } from 'millrace/admin'
import { expect, vi } from 'vitest'
import { claimAll, type EngineDatabase, enqueue, fatal, ref, useEngine } from './engine-database.ts'

export interface AdminDatabase extends EngineDatabase {
  readonly admin: ReturnType<typeof admin>
  /** Opens the next segment. */
  rotate(): Promise<void>
  /** Seals the newest segment, as if its retention were over. */
  prunable(): Promise<void>
  /** The same, and empties it. */
  prune(): Promise<void>
}

/** Like {@link useEngine}. */
export function useAdmin(): AdminDatabase {
  const database = useEngine()
  const rotate = async () => {
    await database.sql`update millrace.segment set opened_at = opened_at - interval '5 hours'`
    const [opened] = await database.sql`select millrace.rotate()::int as number`
    expect(opened?.number).not.toBeNull()
  }
  const prunable = async () => {
    await rotate()
    // Transactions of other tests' databases are waited for.
    await vi.waitFor(
      async () => {
        await database.sql`select millrace.survey()`
        await database.sql`update millrace.segment set opened_at = opened_at - interval '2 days'`
        const [row] = await database.sql`select drained from millrace.prunable()`
        expect(row?.drained).toBe(true)
      },
      { timeout: 10_000, interval: 20 },
    )
  }
  const prune = async () => {
    await prunable()
    const [row] = await database.sql`select millrace.prune() as pruned`
    expect(row?.pruned).toHaveProperty('carried')
  }
  return Object.defineProperties(database, {
    admin: { get: () => admin(database.sql) },
    rotate: { value: rotate },
    prunable: { value: prunable },
    prune: { value: prune },
  }) as AdminDatabase
}

/** Ids as strings, as enqueueing answers them. */
export const idsOf = (items: readonly { readonly id: number }[]): string[] => items.map(({ id }) => String(id))

/** What tests of batches do. */
export function batchTools(database: AdminDatabase) {
  const batches = () => database.admin.batches
  const submit = (operation: BatchOperation, filter: BatchFilter, params?: Lane) =>
    batches().submit(operation, filter, params, 'tests')

  /** Does a batch to its end; answers it, and how many chunks that took. */
  async function finish({ id }: Batch): Promise<Batch & { steps: number }> {
    for (let steps = 1; ; steps++) {
      const batch = await batches().step(id)
      if (batch === undefined) throw new Error(`Batch ${id} is not open`)
      if (batch.state !== 'running') return { ...batch, steps }
    }
  }

  /** So many jobs that have failed. */
  async function failedJobs(count: number, queue = 'default'): Promise<string[]> {
    await enqueue(database.sql, count, { queue })
    const jobs = await claimAll(database, count)
    await database.engine.close(jobs.map(job => ({ ...ref(job), outcome: fatal })))
    return jobs.map(({ id }) => id)
  }

  /** How many jobs stand in each queue, state and attempt. */
  async function standing(): Promise<Record<string, number>> {
    const found: Record<string, number> = {}
    for (let cursor: string | null | undefined; cursor !== null; ) {
      const page = await database.admin.jobs.list({}, { limit: 1000, cursor })
      for (const { queue, state, attempt } of page.items) {
        const name = `${queue} ${state} ${attempt}`
        found[name] = (found[name] ?? 0) + 1
      }
      cursor = page.cursor
    }
    return found
  }

  return { batches, submit, finish, failedJobs, standing }
}
