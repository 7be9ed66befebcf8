// What the roles print of their work: ids, kinds, codes and times. Never headers, keys, tokens, addresses with their query, or
// payloads; and what functions and databases say in their own words, which may hold payloads, only if that is asked for.

import type { Options } from './cli-command.ts'

export type Level = 'info' | 'warn' | 'error'

/** One thing that happened. */
export interface Entry {
  readonly type: string
  readonly [field: string]: unknown
}

export interface Log {
  /** `text` is for people, `entry` for programs; what is undefined in it is left out. */
  (level: Level, entry: Entry, text: string): void
  /** A message that may hold payload, where such are printed; undefined elsewhere. */
  message(text: string | undefined): string | undefined
  /** An error, as its codes; with its message where such are printed. */
  error(error: unknown): { readonly code: string; readonly cause?: string; readonly message?: string }
}

export interface LogOptions {
  readonly json: boolean
  readonly messages: boolean
  write(line: string): void
}

export const logOptions = {
  'log-messages': {
    type: 'boolean',
    help: 'print messages of errors as well, which may hold payload; by default their codes only',
  },
} as const satisfies Options

export function logger({ json, messages, write }: LogOptions): Log {
  const message = (text: string | undefined) => (messages ? text : undefined)
  const log = (level: Level, entry: Entry, text: string): void =>
    write(json ? JSON.stringify({ time: new Date().toISOString(), level, ...entry }) : text)
  return Object.assign(log, { message, error: (error: unknown) => errorFields(error, message) })
}

/** An error as one line of text. */
export const errorText = ({ code, cause, message }: ReturnType<Log['error']>): string =>
  [cause === undefined ? code : `${code}, ${cause}`, message].filter(part => part !== undefined).join(': ')

function errorFields(error: unknown, message: Log['message']): ReturnType<Log['error']> {
  const inner = error instanceof Error && error.cause instanceof Error ? codeOf(error.cause) : undefined
  const [code, said] = [codeOf(error), message(error instanceof Error ? error.message : String(error))]
  return { code, ...(inner !== undefined && inner !== code && { cause: inner }), ...(said && { message: said }) }
}

/** Millrace's codes, SQLSTATEs and those of the system; else what kind of error it is. */
function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return typeof error
  const { code } = error as { code?: unknown }
  return typeof code === 'string' ? code : error.name
}
