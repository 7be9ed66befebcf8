// `npm run bench -- engine|http|rotation|backlog`: measures the engine and the dispatcher, and prints what it measured.

import { parseArgs } from 'node:util'
import { benchBacklog } from './backlog.ts'
import { withBenchDatabase } from './database.ts'
import { benchEngine } from './engine.ts'
import { benchHttp } from './http.ts'
import { benchRotation } from './rotation.ts'

const USAGE = `npm run bench -- engine [--seconds N] [--pinned] [--json]
npm run bench -- http [--seconds N] [--mode sync|callback] [--json]
npm run bench -- rotation [--seconds N] [--json]
npm run bench -- backlog [--jobs N] [--json]

engine   enqueue, claim and close, each job individually, in batches of 100
  --pinned         runs once without and once with an old snapshot held open, and compares
http     jobs dispatched over HTTP to a function in another process, beside the bare loop of the same calls
  --mode MODE      sync (default) or callback
rotation the engine's traffic while segments are rotated and pruned every second or two under an old snapshot
backlog  how long a claim takes with 1,000 and with many ready jobs
  --jobs N         so many (5000000)
all
  --seconds N      how long each phase enqueues or calls (10)
  --database-url   a server to use instead of an embedded one with durability on (default: $DATABASE_URL)
  --json           one line of JSON`

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: 'string', default: '10' },
    pinned: { type: 'boolean', default: false },
    jobs: { type: 'string', default: '5000000' },
    mode: { type: 'string', default: 'sync' },
    'database-url': { type: 'string' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

const seconds = Number(values.seconds)
const [what] = positionals
const { mode } = values
const jobs = Number(values.jobs)
const known =
  what !== undefined &&
  ['engine', 'http', 'rotation', 'backlog'].includes(what) &&
  (mode === 'sync' || mode === 'callback')
if (values.help || !known || !(seconds > 0 && seconds <= 600) || !(jobs >= 1_000 && jobs <= 50_000_000)) {
  console.log(USAGE)
  process.exit(values.help ? 0 : 2)
}

const progress = (line: string) => process.stderr.write(`${line}\n`)
interface Figures {
  readonly lost: number
  readonly doubled: number
}

function measure(url: string): Promise<Figures> {
  if (what === 'engine') return benchEngine(url, { seconds, pinned: values.pinned, progress })
  if (what === 'rotation') return benchRotation(url, { seconds, progress })
  if (what === 'backlog') return benchBacklog(url, { jobs, progress })
  return benchHttp(url, { seconds, mode: mode as 'sync' | 'callback', progress })
}

const figures = await withBenchDatabase(values['database-url'] ?? process.env.DATABASE_URL, measure)
if (values.json) console.log(JSON.stringify(figures))
else console.table(figures)
process.exitCode = figures.lost === 0 && figures.doubled === 0 ? 0 : 1
