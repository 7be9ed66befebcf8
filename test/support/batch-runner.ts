// A process that does chunks of a batch, to be killed: prints a line for every chunk.

import postgres from 'postgres'
import { admin } from '../../core/admin.ts'

const [url = '', id = ''] = process.argv.slice(2)
const sql = postgres(url, { max: 1, fetch_types: false })
for (;;) {
  const batch = await admin(sql).batches.step(id)
  console.log(batch?.state ?? 'not open')
  if (batch?.state !== 'running') break
}
await sql.end()
