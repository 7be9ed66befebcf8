// A slice of the maintenance object's work: a tick, and the question when the next one is due.

import { fetchTransport, type ServiceBinding } from '../../core/dispatch/fetch-transport.ts'
import { nextDue } from '../../core/maintenance/next-due.ts'
import { type TickSummary, tick } from '../../core/maintenance/tick.ts'
import { limitedTransport } from './limited-transport.ts'
import type { MaintenanceObjectOptions } from './maintenance-options.ts'
import type { SliceResult } from './rest.ts'

const BUDGET_SECONDS = 20
const MAX_JOBS = 500
const REQUESTS = 5
const BATCH = 50
/** For each request that can be in flight: what waits here for its turn is out of reach of other objects. */
const IN_HAND = 5

/** Never rejects. `isDuty`: not only to dispatch. */
export async function runSlice(options: MaintenanceObjectOptions, env: object, isDuty: boolean): Promise<SliceResult> {
  const { database, name = 'durable object', onEvent = logErrors } = options
  try {
    const summary = await tick({
      ...sendingOf(options, env),
      ...{ sql: database, name, onEvent, onlyDispatch: !isDuty },
    })
    const due = summary.more ? undefined : await nextDue({ sql: database, name, schema: options.schema })
    return { did: didAnything(summary), isDuty, due }
  } catch (error) {
    onEvent({ type: 'error', during: 'slice', error })
    return { failed: true }
  } finally {
    await database.end().catch(() => undefined)
  }
}

function sendingOf(options: MaintenanceObjectOptions, env: object) {
  const { allow, bindings = { ...env }, requests = REQUESTS, budgetSeconds = BUDGET_SECONDS, ...sending } = options
  const { maxJobs = MAX_JOBS, transport = fetchTransport({ allow, bindings: name => serviceIn(bindings, name) }) } =
    options
  return {
    secrets: (name: string) => textIn(env, `MILLRACE_SECRET_${name}`),
    ...sending,
    maxJobs,
    transport: limitedTransport(transport, requests),
    budgetMs: budgetSeconds * 1_000,
    batch: Math.min(BATCH, maxJobs),
    inHand: IN_HAND * requests,
  }
}

/** Anything that has `fetch` is taken for one: which name is asked for is the deployment's own declaration. */
function serviceIn(bindings: Readonly<Record<string, unknown>>, name: string): ServiceBinding | undefined {
  const found = Object.hasOwn(bindings, name) ? (bindings[name] as Partial<ServiceBinding> | undefined) : undefined
  return typeof found?.fetch === 'function' ? (found as ServiceBinding) : undefined
}

function textIn(env: object, name: string): string | undefined {
  const value = (env as Record<string, unknown>)[name]
  return typeof value === 'string' ? value : undefined
}

const didAnything = ({ promoted, rescued, claimed, fired }: TickSummary): boolean =>
  promoted + rescued + claimed + fired > 0

/** Messages may quote arguments; codes do not. */
const logErrors: NonNullable<MaintenanceObjectOptions['onEvent']> = event => {
  if (event.type !== 'error') return
  const { code, name } = event.error as { code?: unknown; name?: unknown }
  console.error(`maintenance: ${event.during} failed: ${code ?? name}`)
}
