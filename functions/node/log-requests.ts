// The lines of the roles that serve: what could not be answered, and every request if asked for.

import type { Options } from './cli-command.ts'
import { type Entry, errorText, type Log, logger, logOptions } from './log.ts'

export const requestLogOptions = {
  ...logOptions,
  'log-requests': { type: 'boolean', help: 'print a line per request; by default only those that failed here' },
} as const satisfies Options

interface Answered {
  readonly status: number
  readonly cause?: unknown
}

/** On stderr: stdout has the URL, and nothing else. */
export function requestLog(values: { 'log-messages'?: boolean; 'log-requests'?: boolean }, json: boolean) {
  const log = logger({
    json,
    messages: values['log-messages'] === true,
    write: line => void process.stderr.write(`${line}\n`),
  })
  return (entry: Entry & Answered, what: string): void => {
    const { cause, ...told } = entry
    const isFailed = entry.status >= 500 || cause !== undefined
    if (!isFailed && !values['log-requests']) return
    const failure = cause === undefined ? undefined : log.error(cause)
    const text = `${what} answered ${entry.status}${failure ? `: ${errorText(failure)}` : ''}`
    log(levelOf(entry.status, isFailed), { ...told, ...(failure && { error: failure }) }, text)
  }
}

/** Of the first line, on stdout. */
export const readyEntry = () => ({ time: new Date().toISOString(), level: 'info', type: 'ready' })

const levelOf = (status: number, isFailed: boolean): Parameters<Log>[0] =>
  status >= 500 ? 'error' : isFailed ? 'warn' : 'info'
