// Gives statements up that have had no answer for too long: a driver may try to connect for ever.

import { MillraceError } from '../../core/errors.ts'
import type { Sql, SqlValue } from '../../core/sql.ts'

export interface Patience {
  /** Rejects a statement as `unavailable` that has had no answer for so many seconds, connecting included: 30. */
  readonly patienceSeconds?: number | undefined
}

const PATIENCE_SECONDS = 30

/** What is given up may have been carried out, as on a connection that broke. */
export function patient(sql: Sql, { patienceSeconds = PATIENCE_SECONDS }: Patience): Sql {
  return {
    async query<Row>(text: string, params?: readonly SqlValue[]) {
      const { promise, reject } = Promise.withResolvers<never>()
      const giveUp = () => reject(new MillraceError('unavailable', `No answer within ${patienceSeconds} s`))
      const timer = setTimeout(giveUp, patienceSeconds * 1_000)
      try {
        return await Promise.race([sql.query<Row>(text, params), promise])
      } finally {
        clearTimeout(timer)
      }
    },
  }
}
