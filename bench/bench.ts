// `npm run bench -- engine|http`: measures the engine and the dispatcher, and prints what it measured.

import { parseArgs } from 'node:util'
import { withBenchDatabase } from './database.ts'
import { benchEngine } from './engine.ts'
import { benchHttp } from './http.ts'

const USAGE = `npm run bench -- engine [--seconds N] [--pinned] [--json]
npm run bench -- http [--seconds N] [--mode sync|callback] [--json]

engine   enqueue, claim and close, each job individually, in batches of 100
  --pinned         runs once without and once with an old snapshot held open, and compares
http     jobs dispatched over HTTP to a function in another process, beside the bare loop of the same calls
  --mode MODE      sync (default) or callback
both
  --seconds N      how long each phase enqueues or calls (10)
  --database-url   a server to use instead of an embedded one with durability on (default: $DATABASE_URL)
  --json           one line of JSON`

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: 'string', default: '10' },
    pinned: { type: 'boolean', default: false },
    mode: { type: 'string', default: 'sync' },
    'database-url': { type: 'string' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

const seconds = Number(values.seconds)
const [what] = positionals
const { mode } = values
const known = (what === 'engine' || what === 'http') && (mode === 'sync' || mode === 'callback')
if (values.help || !known || !(seconds > 0 && seconds <= 600)) {
  console.log(USAGE)
  process.exit(values.help ? 0 : 2)
}

const progress = (line: string) => process.stderr.write(`${line}\n`)
interface Figures {
  readonly lost: number
  readonly doubled: number
}

const figures = await withBenchDatabase<Figures>(values['database-url'] ?? process.env.DATABASE_URL, url =>
  what === 'engine'
    ? benchEngine(url, { seconds, pinned: values.pinned, progress })
    : benchHttp(url, { seconds, mode, progress }),
)
if (values.json) console.log(JSON.stringify(figures))
else console.table(figures)
process.exitCode = figures.lost === 0 && figures.doubled === 0 ? 0 : 1
