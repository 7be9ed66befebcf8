// The admin module on a database of its own, with segments that can be turned over.

import { admin } from 'millrace/admin'
import { expect, vi } from 'vitest'
import { type EngineDatabase, useEngine } from './engine-database.ts'

export interface AdminDatabase extends EngineDatabase {
  readonly admin: ReturnType<typeof admin>
  /** Opens the next segment. */
  rotate(): Promise<void>
  /** Seals the newest segment and empties it, as if its retention were over. */
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
  return Object.defineProperties(database, {
    admin: { get: () => admin(database.sql) },
    rotate: { value: rotate },
    prune: {
      async value() {
        await rotate()
        // Transactions of other tests' databases are waited for.
        await vi.waitFor(
          async () => {
            await database.sql`select millrace.survey()`
            await database.sql`update millrace.segment set opened_at = opened_at - interval '2 days'`
            const [row] = await database.sql`select millrace.prune() as pruned`
            expect(row?.pruned).not.toBeNull()
          },
          { timeout: 10_000, interval: 20 },
        )
      },
    },
  }) as AdminDatabase
}

/** Ids as strings, as enqueueing answers them. */
export const idsOf = (items: readonly { readonly id: number }[]): string[] => items.map(({ id }) => String(id))
