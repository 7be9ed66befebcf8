// What an operator does once webhook endpoints work again: enables those that were disabled, and sends what has failed once more.

import { withSession } from './session.ts'

export const enableAll = (url: string): Promise<void> =>
  withSession(url, async session => {
    await session.query('select millrace.endpoint_enable(name) from millrace.endpoint where disabled_at is not null')
  })

/** Answers how many deliveries are under way again. */
export const redeliverAll = (url: string): Promise<number> =>
  withSession(url, async session => {
    const { rows: endpoints } = await session.query<{ name: string }>('select name from millrace.endpoint')
    let redelivered = 0
    for (const { name } of endpoints) {
      let cursor: string | null = null
      do {
        const { rows }: { rows: { did: Redelivered }[] } = await session.query(
          'select millrace.redeliver_many($1, cursor => $2) as did',
          [name, cursor],
        )
        redelivered += rows[0]?.did.redelivered ?? 0
        cursor = rows[0]?.did.cursor ?? null
      } while (cursor !== null)
    }
    return redelivered
  })

interface Redelivered {
  readonly redelivered: number
  readonly cursor: string | null
}
