// The chaos run, in short: real processes and a Postgres that break at random, books that balance, and nothing left behind.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { audit, type Evidence } from '../chaos/audit.ts'

const program = fileURLToPath(new URL('../chaos/chaos.ts', import.meta.url))
const PATIENCE_MS = 150_000

/** Runs it to its end; `onProgress` may interrupt it. */
async function runChaos(args: string[], onProgress: (line: string, interrupt: () => void) => void = () => undefined) {
  const { DATABASE_URL: _, ...env } = process.env
  const child = spawn(process.execPath, ['-C', 'millrace-source', program, ...args], { env })
  child.stderr.on('data', chunk => onProgress(String(chunk), () => child.kill('SIGINT')))
  const closed = once(child, 'close') as Promise<[number | null]>
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)])
  const [status] = await closed
  return { status, stdout, stderr }
}

it(
  'loses nothing and does nothing twice while everything breaks',
  async () => {
    const { status, stdout, stderr } = await runChaos(['--seconds', '4', '--seed', '3', '--json'])

    expect(status, stderr + stdout).toBe(0)
    const report = JSON.parse(stdout)
    expect(report).toMatchObject({ seconds: 4, seed: 3, lost: 0, doubledOutcomes: 0, phantoms: 0, contradictions: 0 })
    expect(report.completed + report.failed + report.cancelled).toBe(report.jobs)
    expect(report.jobs).toBeGreaterThan(10)
    expect(report.events.postgresRestarts).toBeGreaterThan(0)
  },
  PATIENCE_MS,
)

it(
  'leaves nothing behind when it is interrupted',
  async () => {
    const folders = async () => (await readdir(tmpdir())).filter(name => name.startsWith('millrace-chaos-'))
    const before = await folders()
    const { status, stderr } = await runChaos(['--seconds', '60'], (line, interrupt) => {
      if (line.includes('starting processes')) interrupt()
    })

    expect(status, stderr).toBe(130)
    expect((await folders()).filter(name => !before.includes(name))).toEqual([])
  },
  PATIENCE_MS,
)

const good: Evidence = {
  confirmed: new Set([1]),
  withdrawn: new Set([2]),
  enqueued: [{ token: 1, job: '10', kind: 'sync_0' }],
  entered: [
    { job: '10', attempt: 2, kind: 'sync_0', occasion: null, key: null },
    { job: '20', attempt: 1, kind: 'sync_1', occasion: '2026-01-01T00:00:59.000Z', key: null },
    { job: '21', attempt: 1, kind: 'sync_1', occasion: '2026-01-01T00:01:00.000Z', key: null },
  ],
  outcomes: [
    { job: '10', attempt: 1, state: 'r', nonce: null },
    { job: '10', attempt: 2, state: 'c', nonce: 'a' },
    { job: '20', attempt: 1, state: 'f', nonce: null },
    { job: '21', attempt: 1, state: 'x', nonce: null },
  ],
  journal: [
    { what: 'call', job: '10', attempt: 2, does: 'good', token: 1 },
    { what: 'says', job: '10', attempt: 2, nonce: 'a' },
    { what: 'heard', job: '10', attempt: 2, action: 'complete', state: 'completed', fresh: true, nonce: 'a' },
    { what: 'webhook', job: '10', type: 'job.completed' },
  ],
  cancelled: ['21'],
  retried: [],
  holds: [
    { key: 'exclusive 1', job: '30', since: '2026-01-01 00:00:01', until: '2026-01-01 00:00:02' },
    { key: 'exclusive 1', job: '31', since: '2026-01-01 00:00:03', until: '2026-01-01 00:00:04' },
  ],
  segments: { opened: 1, pruned: 0 },
  states: new Map([['10', 'completed']]),
}

const found = (evidence: Evidence) =>
  Object.entries(audit(evidence)).flatMap(([name, { length }]) => (length ? [name] : []))

it('finds nothing in books that balance', () => {
  expect(found(good)).toEqual([])
})

type Outcome = Evidence['outcomes'][number]
const [retried, completed, ...others] = good.outcomes as [Outcome, Outcome, ...Outcome[]]
const [call, says, heard, webhook] = good.journal as [
  Evidence['journal'][number],
  Evidence['journal'][number],
  Evidence['journal'][number],
  Evidence['journal'][number],
]
it.each<[string, Partial<Evidence>]>([
  ['lost', { confirmed: new Set([1, 3]) }],
  ['lost', { enqueued: [...good.enqueued, { token: 4, job: '11', kind: 'callback_0' }] }],
  ['doubledOutcomes', { outcomes: [retried, retried, completed, ...others] }],
  ['doubledOutcomes', { outcomes: [{ ...retried, state: 'f' }, completed, ...others] }],
  ['doubledOutcomes', { journal: [...good.journal, heard] }],
  ['phantoms', { withdrawn: new Set([1]) }],
  ['phantoms', { outcomes: [...good.outcomes, { ...completed, job: '12', state: 'f' }] }],
  ['phantoms', { journal: [...good.journal, { ...call, job: '13', attempt: 1 } as typeof call] }],
  ['unkeptCallbacks', { outcomes: [retried, { ...completed, nonce: 'b' }, ...others] }],
  ['unfounded', { journal: [call, heard, webhook] }],
  ['missingWebhooks', { journal: [call, says, heard] }],
  ['unkeptCancellations', { cancelled: [] }],
  ['unkeptCancellations', { cancelled: ['10', '21'] }],
  ['sharedKeys', { holds: good.holds.map(hold => ({ ...hold, since: '2026-01-01 00:00:01' })) }],
  [
    'misfires',
    { entered: good.entered.map(entry => ({ ...entry, occasion: entry.occasion && '2026-01-01T00:00:59Z' })) },
  ],
  ['contradictions', { states: new Map([['10', 'running']]) }],
])('tells of %s', (finding, evidence) => {
  expect(found({ ...good, ...evidence })).toEqual([finding])
})

it('tells of a job without an end', () => {
  expect(found({ ...good, outcomes: [retried, ...others], journal: [call], states: new Map() })).toEqual(['lost'])
})
