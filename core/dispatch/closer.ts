// Puts outcomes and accepted attempts on record, many per statement, and does not give up while the database is away.

import { isDataError } from '../database-errors.ts'
import type { Delivered, DeliverItem } from '../delivery-report.ts'
import { attemptName, type Closed, type CloseItem, type Outcome, type WaitItem } from '../engine.ts'
import type { ClaimedJob } from '../engine-rows.ts'
import { groupedAttempts } from '../grouped-attempts.ts'
import { grouped } from '../grouping.ts'
import type { SqlEngine } from '../sql-engine.ts'
import { type Registered, registerWait } from '../waits/register.ts'
import type { OnEvent } from './events.ts'

const FIRST_WAIT_MS = 100
const LONGEST_WAIT_MS = 5_000
/** No function waits for an outcome to be on record, so a busy dispatcher lets some come together. */
const CLOSE_SPACING_MS = 10
/** What is not parked yet is open in the dispatcher's name, so this is in no hurry at all. */
const PARK_SPACING_MS = 25

interface Parking {
  readonly job: ClaimedJob
  readonly timeoutSeconds: number
}

export class Closer {
  readonly #close: (item: CloseItem) => Promise<Closed>
  readonly #deliver: (item: DeliverItem) => Promise<Delivered>
  readonly #park: (parking: Parking) => Promise<void>
  readonly #engine: SqlEngine
  readonly #onEvent: OnEvent

  constructor(engine: SqlEngine, onEvent: OnEvent) {
    this.#onEvent = onEvent
    this.#engine = engine
    this.#close = groupedAttempts((items: readonly CloseItem[]) => engine.close(items), {
      maxSize: 500,
      spacingMs: CLOSE_SPACING_MS,
    })
    this.#deliver = groupedAttempts((items: readonly DeliverItem[]) => engine.deliver(items), {
      maxSize: 500,
      spacingMs: CLOSE_SPACING_MS,
    })
    this.#park = grouped(items => parkAll(engine, items), {
      key: ({ job }) => attemptName(job),
      maxSize: 500,
      spacingMs: PARK_SPACING_MS,
      isItemsFault: isDataError,
    })
  }

  /** Resolves once the attempt's end is on record, whoever closed it. What Postgres cannot hold is left out. */
  close(item: CloseItem): Promise<Closed> {
    return this.#surely('close', () => this.#close(item)).catch(error => {
      this.#onEvent({ type: 'error', during: 'close: the outcome cannot be stored', error })
      return this.#surely('close', () => this.#close({ ...item, outcome: bare(item.outcome) }))
    })
  }

  /** The same for a webhook delivery, which goes on the log of deliveries with it. */
  deliver(item: DeliverItem): Promise<Delivered> {
    return this.#surely('close', () => this.#deliver(item)).catch(error => {
      this.#onEvent({ type: 'error', during: 'close: the delivery cannot be stored', error })
      const bareItem = { ...item, outcome: bare(item.outcome), report: { ...item.report, response: undefined } }
      return this.#surely('close', () => this.#deliver(bareItem))
    })
  }

  park(job: ClaimedJob, timeoutSeconds: number): Promise<void> {
    return this.#surely('park', () => this.#park({ job, timeoutSeconds }))
  }

  /**
   * Resolves once the attempt waits, or has ended. It may be asked for twice: the same wait is the same.
   *
   * @throws what Postgres cannot hold, as its error
   */
  wait(item: WaitItem): Promise<Registered> {
    return this.#surely('wait', () => registerWait(this.#engine, item))
  }

  /** Repeats what failed until it succeeds or is refused for its data. An outcome may be recorded twice: it is fenced. */
  async #surely<T>(during: string, work: () => Promise<T>): Promise<T> {
    for (let wait = FIRST_WAIT_MS; ; wait = Math.min(LONGEST_WAIT_MS, wait * 2)) {
      try {
        return await work()
      } catch (error) {
        if (isDataError(error)) throw error
        this.#onEvent({ type: 'error', during, error })
        await new Promise(resolve => setTimeout(resolve, wait))
      }
    }
  }
}

/** Without anything that came from outside. */
function bare(outcome: Outcome): Outcome {
  if (outcome.kind === 'completed') return { kind: 'completed' }
  if (outcome.kind === 'released' || outcome.kind === 'snoozed') return outcome
  return { ...outcome, error: { code: outcome.error.code, message: 'the error text could not be stored' } }
}

/** One statement for each different time-out. */
async function parkAll(engine: SqlEngine, parkings: readonly Parking[]): Promise<undefined[]> {
  const byTimeout = Map.groupBy(parkings, ({ timeoutSeconds }) => timeoutSeconds)
  for (const [timeoutSeconds, group] of byTimeout) {
    await engine.park(
      group.map(({ job }) => job),
      timeoutSeconds,
    )
  }
  return new Array(parkings.length).fill(undefined)
}
