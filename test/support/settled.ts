// Waits until no transaction of the whole server is older than the newest segment: other tests have theirs open, too, and
// survey marks nothing as drained before.

import { setTimeout } from 'node:timers/promises'
import type { Client } from './engine-database.ts'

export async function settled(sql: Client): Promise<void> {
  for (;;) {
    const [row] = await sql`
      select pg_snapshot_xmin(pg_current_snapshot()) > max(opened_xid::text::bigint)::text::xid8 as settled from millrace.segment`
    if (row?.settled) return
    await setTimeout(5)
  }
}
