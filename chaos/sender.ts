// The outside world: sends events to jobs that wait for them, or will, until it knows what became of each; in SQL and by URL.

import { sendEvent } from 'millrace'
import { eventKey, eventsUrl, eventToken } from 'millrace/protocol'
import type { Cast } from './cast.ts'
import { pause } from './monkey.ts'
import { PATIENT_SECONDS, planOf, type Sending } from './plans.ts'
import type { Random } from './random.ts'
import { withSession } from './session.ts'

/** One try to send an event, under a nonce of its own: whoever does not hear the answer tries again. */
export interface Sent {
  readonly nonce: string
  readonly job: string
  readonly name: string
  readonly action: Sending['action']
  readonly ok: boolean
  readonly via: 'sql' | 'url'
  /** applied, kept, ignored; withdrawn (rolled back); an error's code; undefined: nobody knows. */
  answer?: string
  /** The job's from then on, where it was applied. */
  state?: string
}

type Answer = Pick<Sent, 'answer' | 'state'>

type Task = Sending & { readonly job: string; readonly name: string; readonly id: number; dueAt: number }

export interface Sender {
  /** Nothing is broken any more: all there is to be sent is sent now, and again to whoever waits in vain. */
  finish(): void
  /** Ends it, and answers all it has tried. */
  stop(): Promise<readonly Sent[]>
}

const WORKERS = 3
const LOOK_MS = 200
/** So soon after a job began to wait comes what is late. */
const LATE_MS = 600
const TIMEOUT_MS = 3_000
const FINAL = ['already_ended', 'not_found', 'too_many_events', 'too_many_requests', 'invalid_signature']

const WAITING = `select distinct job::text as job from chaos.enqueued where kind like 'waits%'`
const WAITS = 'select id::text as job, name from millrace.wait'
/** Their event was sent, and is used up: by a retry, or in an earlier life. */
const IN_VAIN = `select id::text as job, name from millrace.wait w
  where deadline > now() + make_interval(secs => ${PATIENT_SECONDS / 2}) and since < now() - interval '1 second'
    and not exists (select from millrace.kept_event k where k.job = w.id and k.name = w.name)`

export function startSender(url: string, cast: Cast, seed: number, random: Random): Sender {
  const tried: Sent[] = []
  const tasks: Task[] = []
  const known = new Set<string>()
  const stopped = new AbortController()
  let finishing = false
  let count = 0

  const add = (job: string, name: string, sending: Sending) =>
    tasks.push({
      ...{ ...sending, job, name, id: count++ },
      dueAt: sending.late ? Number.POSITIVE_INFINITY : performance.now() + sending.afterMs,
    })

  const look = async (): Promise<void> => {
    const [jobs, waits, inVain] = await withSession(url, async session => {
      const read = async (text: string) => (await session.query<{ job: string; name: string }>(text)).rows
      const isIdle = finishing && tasks.length === 0
      return [await read(WAITING), await read(WAITS), isIdle ? await read(IN_VAIN) : []] as const
    })
    for (const { job } of jobs.filter(({ job }) => !known.has(job))) {
      known.add(job)
      for (const { name, sendings } of planOf(seed, job)) for (const one of sendings) add(job, name, one)
    }
    const waiting = new Set(waits.map(({ job, name }) => `${job} ${name}`))
    for (const task of tasks.filter(
      ({ dueAt, job, name }) => dueAt === Number.POSITIVE_INFINITY && waiting.has(`${job} ${name}`),
    ))
      task.dueAt = performance.now() + random.int(0, LATE_MS)
    for (const { job, name } of inVain) add(job, name, { late: false, afterMs: 0, action: 'resume', ok: true })
  }

  const next = (): Task | undefined => {
    const nth = tasks.findIndex(({ dueAt }) => finishing || dueAt <= performance.now())
    return nth < 0 ? undefined : tasks.splice(nth, 1)[0]
  }

  const loop = async (work: () => Promise<unknown>): Promise<void> => {
    while (!stopped.signal.aborted) {
      await work().catch(() => undefined)
      await pause(finishing ? LOOK_MS / 4 : LOOK_MS, stopped.signal)
    }
  }

  const send = async ({ job, name, action, ok, id }: Task): Promise<void> => {
    for (let nth = 0; !stopped.signal.aborted; nth++) {
      const via = random.chance(0.5) ? 'sql' : 'url'
      const sent: Sent = { nonce: `e${id}.${nth}`, job, name, action, ok, via }
      tried.push(sent)
      const way = via === 'sql' ? bySql(url, sent, !finishing && random.chance(0.1)) : byUrl(cast, sent, random)
      Object.assign(sent, await way.catch(codeOf))
      if (sent.answer !== undefined && sent.answer !== 'withdrawn') return
      await pause(random.int(20, 300), stopped.signal)
    }
  }

  const work = async (): Promise<void> => {
    for (let task = next(); task !== undefined; task = next()) await send(task)
  }
  const working = [loop(look), ...Array.from({ length: WORKERS }, () => loop(work))]
  return {
    finish() {
      finishing = true
    },
    async stop() {
      stopped.abort()
      await Promise.all(working)
      return tried
    },
  }
}

const payloadOf = ({ nonce, ok }: Sent) => ({ nonce, ok, error: nonce })

/** What was said for good; nothing: try again. */
function codeOf(error: unknown): Answer {
  const code = FINAL.find(final => final === (error as { code?: string }).code)
  return code === undefined ? {} : { answer: code }
}

const bySql = (url: string, sent: Sent, withdraws: boolean): Promise<Answer> =>
  withSession(url, async session => {
    await session.query('begin')
    const options = { payload: payloadOf(sent), action: sent.action }
    const answer = await sendEvent(session, sent.job, sent.name, options)
    await session.query(withdraws ? 'rollback' : 'commit')
    if (withdraws) return { answer: 'withdrawn' }
    return { answer: answer.state, ...(answer.state === 'applied' && { state: answer.jobState }) }
  })

async function byUrl({ ingressUrls, keyrings }: Cast, sent: Sent, random: Random): Promise<Answer> {
  const { job, name, action } = sent
  const token = eventToken(eventKey(random.pick(keyrings.signing()), job), job, name, action)
  const path = action === 'event' ? token : `${token}/${action}`
  const response = await fetch(`${eventsUrl(random.pick(ingressUrls))}/${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(payloadOf(sent)),
    signal: AbortSignal.timeout(TIMEOUT_MS),
  })
  const body = (await response.json()) as { state?: string; job_state?: string; code?: string }
  if (response.status !== 200 || body.state === undefined) return codeOf(body)
  return { answer: body.state, ...(body.job_state && { state: body.job_state }) }
}
