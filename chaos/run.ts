// One chaos run: set up, let everything break for a while, let everything recover, audit, and clean up whatever happened.

import { mkdtemp, readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { audit, type Findings } from './audit.ts'
import { type Cast, startCast } from './cast.ts'
import { ownEvents } from './event-client.ts'
import type { Evidence } from './evidence.ts'
import { removeInTheEnd } from './folders.ts'
import { clean } from './janitor.ts'
import { readJournals } from './journal.ts'
import { countOpen, describeOpen, readEvidence } from './ledger.ts'
import { EVERY_SECOND } from './manifest.ts'
import type { Witness } from './member.ts'
import { monkey, pause } from './monkey.ts'
import { operate, resumeAll } from './operator.ts'
import { openServer, type Server } from './postgres.ts'
import { pranks } from './pranks.ts'
import { newProduction, type Production, produce } from './producer.ts'
import { randomFor } from './random.ts'
import { enableAll, redeliverAll } from './redelivery.ts'
import { rotateKeys } from './rotation.ts'
import { type Sender, startSender } from './sender.ts'
import { withSession } from './session.ts'

export interface RunOptions {
  readonly seconds: number
  readonly seed: number
  readonly databaseUrl: string | undefined
  readonly progress: (line: string) => void
  /** Ends the run early; it then cleans up and rejects. */
  readonly interrupted: AbortSignal
}

export interface Outcome {
  readonly events: Readonly<Record<string, number>>
  readonly evidence: Evidence
  readonly findings: Findings
}

const PRODUCERS = 3
const START_MS = 60_000
/** How long everything may take to come to its end once nothing is broken any more. */
const PATIENCE_MS = 90_000
/** Seconds from one restart of Postgres to the next, at most. */
const RESTART_EVERY = 16

export async function runChaos(options: RunOptions): Promise<Outcome> {
  await using closing = new AsyncDisposableStack()
  const folder = await mkdtemp(join(tmpdir(), 'millrace-chaos-'))
  closing.defer(removeInTheEnd(folder))
  const server = await openServer(options.databaseUrl)
  closing.defer(() => server.stop())
  const schema = await readFile(new URL('schema.sql', import.meta.url), 'utf8')
  await withSession(server.url, session => session.query(schema))

  const events: Record<string, number> = { unexpectedExits: 0 }
  const witness: Witness = {
    ended: (name, lastWords) => {
      events.unexpectedExits = (events.unexpectedExits ?? 0) + 1
      options.progress(`${name} ended by itself:\n${lastWords}`)
    },
  }
  options.progress('starting processes')
  const cast = await startCast({ databaseUrl: server.url, seed: options.seed, folder }, witness)
  closing.defer(async () => void (await Promise.all(cast.all.map(member => member.stop()))))
  const sync = 'select millrace.sync_manifest($1::text::jsonb)'
  await withSession(server.url, session => session.query(sync, [cast.manifest]))
  await allReady(cast, options.interrupted)

  const sender = startSender(server.url, cast, options.seed, randomFor(options.seed, 'sender'))
  closing.defer(async () => void (await sender.stop()))
  const production = await breakThings(options, { server, cast, events })
  options.interrupted.throwIfAborted()
  await recover(options, cast, server.url, sender)
  const journal = await readJournals(folder)
  const sent = [...(await sender.stop()), ...ownEvents(journal)]
  const evidence = await readEvidence(server.url, production, { sent, journal })
  return { events, evidence, findings: audit(evidence) }
}

const allReady = async ({ all }: Cast, interrupted: AbortSignal): Promise<void> => {
  const patience = AbortSignal.any([AbortSignal.timeout(START_MS), interrupted])
  await Promise.all(all.map(member => member.whenReady(patience)))
}

interface Victims {
  readonly server: Server
  readonly cast: Cast
  readonly events: Record<string, number>
}

/** Enqueues and breaks things for as long as was asked for. */
async function breakThings({ seconds, seed, progress, interrupted }: RunOptions, { server, cast, events }: Victims) {
  const until = AbortSignal.any([AbortSignal.timeout(seconds * 1000), interrupted])
  const production = newProduction()
  progress(`breaking things for ${seconds} s, seed ${seed}`)
  const random = randomFor(seed, 'pranks')
  const producing = Array.from({ length: PRODUCERS }, (_, nth) =>
    produce(server.url, nth, randomFor(seed, 'producer', nth), production, until),
  )
  await Promise.all([
    ...producing,
    monkey(pranks(cast, server, random, until), randomFor(seed, 'monkey'), events, until),
    rotateKeys(cast, seconds, events, until),
    crashNowAndThen(server, seconds, events, until),
    clean(server.url, randomFor(seed, 'janitor'), events, until),
    operate(server.url, randomFor(seed, 'operator'), events, until),
    report(production, events, progress, until),
  ])
  return production
}

async function crashNowAndThen({ crash }: Server, seconds: number, events: Record<string, number>, until: AbortSignal) {
  if (!crash) return
  const every = Math.min(RESTART_EVERY, seconds / 2) * 1000
  for (;;) {
    await pause(every, until)
    if (until.aborted) return
    await crash()
    events.postgresRestarts = (events.postgresRestarts ?? 0) + 1
  }
}

async function report(
  production: Production,
  events: Record<string, number>,
  say: (line: string) => void,
  until: AbortSignal,
) {
  for (;;) {
    await pause(5_000, until)
    if (until.aborted) return
    say(`${production.confirmed.size} jobs committed; ${JSON.stringify(events)}`)
  }
}

/** Everything works again, functions included, until every job has come to its end or patience is over. */
async function recover(options: RunOptions, cast: Cast, url: string, sender: Sender): Promise<void> {
  const { progress, interrupted } = options
  progress('letting everything recover')
  cast.behave()
  await allReady(cast, interrupted)
  await resumeAll(url, EVERY_SECOND.name)
  await enableAll(url)
  sender.finish()
  const deadline = performance.now() + PATIENCE_MS
  // Until nothing is left that a webhook endpoint has not got.
  do await settle(options, url, deadline)
  while ((await redeliverAll(url)) > 0 && performance.now() < deadline)
  for (const job of await describeOpen(url)) progress(`did not end: ${job}`)
}

async function settle({ progress, interrupted }: RunOptions, url: string, deadline: number): Promise<void> {
  for (let nth = 1; performance.now() < deadline; nth++) {
    const open = await countOpen(url)
    if (open === 0) return
    if (nth % 20 === 0) progress(`${open} jobs are still open`)
    await pause(250, interrupted)
    interrupted.throwIfAborted()
  }
}
