// The chaos run, in short: real processes and a Postgres that break at random, books that balance, and nothing left behind.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { audit } from '../chaos/audit.ts'
import type { Attempt, Evidence, Outcome } from '../chaos/evidence.ts'

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
    expect(report).toMatchObject({ lostEvents: 0, doubledEvents: 0, missingFollowUps: 0, missingWebhooks: 0 })
    expect(report.followUps.enqueued).toBeGreaterThan(0)
    expect(report.waits).toBeGreaterThan(0)
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

const attempt = (job: string, nth: number, kind: string, more: Partial<Attempt> = {}): Attempt => ({
  ...{ job, attempt: nth, kind, tenant: null, follows: null, delivery: null, progress: null },
  ...more,
})
const outcome = (job: string, nth: number, state: string, more: Partial<Outcome> = {}): Outcome => ({
  ...{ job, attempt: nth, state, nonce: null, code: null, message: null, at: 10 },
  ...more,
})
const delivery = (id: string, job: string, nth: number, type: string, endpoint = 'chaos') =>
  attempt(id, 1, 'millrace.webhook', { delivery: { endpoint, type, job, attempt: nth, message: null } })
const arrival = {
  what: 'webhook',
  endpoint: 'chaos',
  id: 'msg_40',
  type: 'job.completed',
  job: '10',
  attempt: 2,
} as const
const resumed = { metadata: { checkpoint: 'payment:1' }, events: { payment: { payload: { nonce: 'e1' } } } }
const sent = {
  nonce: 'e1',
  job: '50',
  name: 'payment',
  action: 'event',
  ok: true,
  via: 'sql',
  answer: 'applied',
} as const

/** 10 has failed and was completed, 20 and 21 are scheduled and followed by 60 and 61, 40 is a webhook, 50 has waited. */
const good: Evidence = {
  confirmed: new Set([1, 5]),
  withdrawn: new Set([2]),
  enqueued: [
    { token: 1, job: '10', kind: 'sync_0' },
    { token: 5, job: '50', kind: 'waits_1' },
  ],
  entered: [
    { job: '10', attempt: 2, kind: 'sync_0', occasion: null, key: null },
    { job: '20', attempt: 1, kind: 'sync_1', occasion: '2026-01-01T00:00:59.000Z', key: null },
    { job: '21', attempt: 1, kind: 'sync_1', occasion: '2026-01-01T00:01:00.000Z', key: null },
    { job: '50', attempt: 2, kind: 'waits_1', occasion: null, key: null },
  ],
  attempts: [
    attempt('10', 1, 'sync_0'),
    attempt('10', 2, 'sync_0'),
    attempt('20', 1, 'sync_1'),
    attempt('21', 1, 'sync_1'),
    delivery('40', '10', 2, 'job.completed'),
    attempt('50', 1, 'waits_1'),
    attempt('50', 2, 'waits_1', { progress: resumed }),
    attempt('60', 1, 'noted', { follows: { job_id: 20, attempt: 1, event: 'failed', follow_up: 'ends' } }),
    attempt('61', 1, 'noted', { follows: { job_id: 21, attempt: 1, event: 'cancelled', follow_up: 'ends' } }),
  ],
  outcomes: [
    outcome('10', 1, 'r'),
    outcome('10', 2, 'c', { nonce: 'a' }),
    outcome('20', 1, 'f'),
    outcome('21', 1, 'x'),
    outcome('50', 1, 's'),
    outcome('50', 2, 'c', { nonce: 'b' }),
  ],
  journal: [
    { what: 'call', job: '10', attempt: 2, does: 'good', token: 1 },
    { what: 'says', job: '10', attempt: 2, nonce: 'a' },
    { what: 'heard', job: '10', attempt: 2, action: 'complete', state: 'completed', fresh: true, nonce: 'a' },
    { ...arrival, genuine: true, taken: true },
    { what: 'asked', job: '50', attempt: 1, name: 'payment', state: 'waiting_external' },
    {
      ...{ what: 'call', job: '50', attempt: 2, does: 'good', token: 5 },
      seen: { checkpoint: 'payment:1', events: { payment: 'e1' } },
    },
    { what: 'says', job: '50', attempt: 2, nonce: 'b' },
  ],
  cancelled: ['21'],
  retried: [],
  holds: [
    { key: 'exclusive 1', job: '30', since: '2026-01-01 00:00:01', until: '2026-01-01 00:00:02' },
    { key: 'exclusive 1', job: '31', since: '2026-01-01 00:00:03', until: '2026-01-01 00:00:04' },
  ],
  segments: { opened: 1, pruned: 0 },
  states: new Map([['10', 'completed']]),
  problems: [],
  waited: [{ job: '50', attempt: 1, name: 'payment', sure: true, missed: false, at: 5 }],
  sent: [sent],
  kept: [],
  buried: new Set(),
}

const found = (evidence: Evidence) =>
  Object.entries(audit(evidence)).flatMap(([name, { length }]) => (length ? [name] : []))

it('finds nothing in books that balance', () => {
  expect(found(good)).toEqual([])
})

const { attempts, outcomes, journal } = good
const [retried, completed, ...others] = outcomes as [Outcome, Outcome, ...Outcome[]]
const [call, , heard] = journal as [Evidence['journal'][number], unknown, Evidence['journal'][number]]
const without = (what: string, job: string) =>
  journal.filter(entry => entry.what !== what || !('job' in entry) || entry.job !== job)
const notOf = (job: string) => attempts.filter(one => one.job !== job)
const edited = (job: string, nth: number, more: Partial<Attempt>) =>
  attempts.map(one => (one.job === job && one.attempt === nth ? { ...one, ...more } : one))

it.each<[string, Partial<Evidence>]>([
  ['lost', { confirmed: new Set([1, 3]) }],
  ['lost', { enqueued: [...good.enqueued, { token: 4, job: '11', kind: 'callback_0' }] }],
  ['doubledOutcomes', { journal: [...journal, heard] }],
  ['phantoms', { withdrawn: new Set([1]) }],
  ['phantoms', { outcomes: [...outcomes, { ...completed, job: '12', state: 'f' }] }],
  ['phantoms', { journal: [...journal, { ...call, job: '13', attempt: 1 } as typeof call] }],
  ['unkeptCallbacks', { outcomes: [retried, { ...completed, nonce: 'b' }, ...others] }],
  ['unfounded', { journal: without('says', '10') }],
  ['missingWebhooks', { journal: without('webhook', '10') }],
  ['missingWebhooks', { attempts: notOf('40'), journal: without('webhook', '10') }],
  [
    'phantomWebhooks',
    { attempts: [...attempts, delivery('41', '10', 2, 'job.completed')], journal: [...journal, again('msg_41')] },
  ],
  [
    'phantomWebhooks',
    {
      attempts: [...attempts, delivery('41', '10', 1, 'job.failed')],
      journal: [...journal, again('msg_41', 'job.failed', 1)],
    },
  ],
  ['forgedWebhooks', { journal: [...journal, { ...arrival, genuine: false, taken: true }] }],
  ['forgedWebhooks', { journal: [...journal, again('msg_99')] }],
  ['unburiedWebhooks', { outcomes: [...outcomes, outcome('40', 1, 'f')], entered: [...good.entered, entered('40')] }],
  ['missingFollowUps', { attempts: notOf('60') }],
  ['phantomFollowUps', { attempts: [...attempts, { ...(attempts.at(-1) as Attempt), job: '62' }] }],
  [
    'missingFollowUps and phantomFollowUps',
    { attempts: edited('60', 1, { follows: { job_id: 20, attempt: 2, event: 'failed', follow_up: 'ends' } }) },
  ],
  ['phantomFollowUps', { problems: [{ follow_up: 'broken', event: 'failed', job: '20', attempt: 1 }] }],
  ['lostEvents', { sent: [sent, { ...sent, nonce: 'e2' }] }],
  [
    'lost and lostEvents',
    {
      sent: [sent, { ...sent, nonce: 'e2', answer: 'kept' }],
      outcomes: outcomes.slice(0, -1),
      journal: without('says', '50'),
    },
  ],
  ['lostEvents', { waited: good.waited.map(one => ({ ...one, missed: true })) }],
  ['lostEvents', { kept: [{ job: '50', nonce: 'e2', missed: true, still: false }] }],
  ['doubledEvents', { sent: [] }],
  ['doubledEvents', { sent: [{ ...sent, answer: 'withdrawn' }] }],
  ['doubledEvents', { sent: [{ ...sent, ok: false }] }],
  ['doubledEvents', { outcomes: outcomes.map(one => ({ ...one, ...(one.nonce === 'b' && { nonce: 'e1' }) })) }],
  ['unkeptWaits', { waited: [] }],
  ['unkeptWaits', { outcomes: outcomes.map(one => (one.state === 's' ? { ...one, code: 'deadline_exceeded' } : one)) }],
  ['unkeptWaits', { attempts: edited('50', 2, { progress: { ...resumed, metadata: null } }) }],
  ['unauthorized', { sent: [sent, { ...sent, nonce: 'e2', answer: 'invalid_signature' }] }],
  ['unauthorized', { journal: [...journal, { what: 'unauthorized', where: 'dispatch', job: '10', attempt: 1 }] }],
  ['unkeptCancellations', { cancelled: [] }],
  ['unkeptCancellations', { cancelled: ['10', '21'] }],
  ['sharedKeys', { holds: good.holds.map(hold => ({ ...hold, since: '2026-01-01 00:00:01' })) }],
  [
    'misfires',
    { entered: good.entered.map(entry => ({ ...entry, occasion: entry.occasion && '2026-01-01T00:00:59Z' })) },
  ],
  ['contradictions', { states: new Map([['10', 'running']]) }],
])('tells of %s', (finding, evidence) => {
  expect(found({ ...good, ...evidence }).join(' and ')).toEqual(finding)
})

it('tells of an attempt and of a job with two ends', () => {
  expect(audit({ ...good, outcomes: [retried, ...outcomes] }).doubledOutcomes).toEqual(['attempt 10/1 ended 2 times'])
  const failed = { ...retried, state: 'f' }
  expect(audit({ ...good, outcomes: [failed, completed, ...others] }).doubledOutcomes).toEqual(['job 10 ended 2 times'])
})

it('tells of a job without an end', () => {
  const evidence = { ...good, outcomes: outcomes.filter(one => one !== completed), journal: without('heard', '10') }
  expect(audit({ ...evidence, states: new Map() }).lost).toEqual(['job 10 (sync_0): attempt 2 is open'])
})

function again(id: string, type = 'job.completed', nth = 2): Evidence['journal'][number] {
  return { ...arrival, id, type, attempt: nth, genuine: true, taken: true }
}

function entered(job: string): Evidence['entered'][number] {
  return { job, attempt: 1, kind: 'millrace.webhook', occasion: null, key: null }
}
