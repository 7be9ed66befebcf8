// The lines of `millrace maintain`: one per event that is worth one.

import type { MaintenanceEvent } from '../../core/dispatch/events.ts'
import { errorText, type Level, type Log } from './log.ts'

export function tell(log: Log, event: MaintenanceEvent): void {
  const text = describe(log, event)
  if (text !== undefined) log(levelOf(event), told(log, event), text)
}

/** What a function or the database said goes, unless messages are printed. */
function told(log: Log, event: MaintenanceEvent): MaintenanceEvent {
  if (event.type === 'error') return { ...event, error: log.error(event.error) }
  if (event.type === 'closed' && event.message !== undefined) {
    const { message, ...rest } = event
    const said = log.message(message)
    return said === undefined ? rest : { ...rest, message: said }
  }
  return event
}

function levelOf(event: MaintenanceEvent): Level {
  if (event.type === 'error') return 'error'
  if (event.type === 'closed') return event.state === 'failed' || event.state === 'retryable' ? 'warn' : 'info'
  if (event.type === 'rescued') return event.stuck > 0 ? 'error' : 'warn'
  return ['throttled', 'deposed', 'prune_put_off', 'endpoint_disabled'].includes(event.type) ? 'warn' : 'info'
}

/** One line for people; none for what happens too often to read. */
function describe(log: Log, event: MaintenanceEvent): string | undefined {
  switch (event.type) {
    case 'dispatched':
      return `job ${event.job} ${event.kind}: attempt ${event.attempt} sent`
    case 'parked':
      return `job ${event.job} ${event.kind}: accepted, waits for its callback`
    case 'closed':
      return `job ${event.job} ${event.kind}: ${event.fresh ? '' : 'was '}${event.state}${why(event.code, log.message(event.message))}`
    case 'throttled':
      return `${event.origin} is throttled for ${Math.round(event.pauseMs)} ms`
    case 'promoted':
      return `${event.jobs} deferred jobs are due`
    case 'rescued':
      return `${event.parked + event.lost} attempts without an end are retried${event.stuck > 0 ? `, ${event.stuck} cannot be closed: see the log of the database` : ''}`
    case 'leading':
      return `leads, under epoch ${event.epoch}`
    case 'deposed':
      return `leads no more (epoch ${event.epoch})`
    case 'fired':
      return `schedule ${event.schedule} fired: ${event.jobs} jobs`
    case 'rotated':
      return `segment ${event.segment} is open`
    case 'pruned':
      return `segment ${event.segment ?? '(none)'} is pruned: ${event.carried} open attempts carried, ${event.archived} jobs archived`
    case 'forwarded':
      return `${event.jobs} unclaimed jobs of segment ${event.segment} are brought forward`
    case 'prune_put_off':
      return `pruning is put off: ${event.message}`
    case 'expired':
      return `${event.jobs} dead letters and archived jobs are deleted, their retention is over`
    case 'endpoint_disabled':
      return `endpoint ${event.endpoint} is disabled: ${event.reason}`
    case 'slept':
      return `slept for ${event.seconds.toFixed(0)} s, with ${event.statements} statements`
    case 'error':
      return `${event.during} failed and is tried again: ${errorText(log.error(event.error))}`
    default:
      return undefined
  }
}

function why(code: string | undefined, message: string | undefined): string {
  const parts = [code, message?.slice(0, 200)].filter(part => part !== undefined)
  return parts.length > 0 ? ` (${parts.join(': ')})` : ''
}
