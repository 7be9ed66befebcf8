// What the commands for operators share: the admin module on one connection, ids, times, and asking before it destroys.

import { once } from 'node:events'
import { hostname } from 'node:os'
import { createInterface } from 'node:readline/promises'
import { type Admin, type AdminOptions, admin } from '../../core/admin/admin.ts'
import type { Sql } from '../../core/sql.ts'
import {
  type Command,
  databaseOption,
  databaseUrl,
  Failure,
  type Options,
  type Run,
  schemaOption,
  UsageError,
  type ValuesOf,
} from './cli-command.ts'
import { postgresSql } from './postgres-sql.ts'

export interface AdminRun<O extends Options> extends Run<O> {
  readonly sql: Sql
  readonly schema: string
  readonly admin: Admin
  /** Which database, for people; without its password. */
  readonly target: string
}

/** A command that works on a database through the admin module; it gets the options for that. */
export function adminCommand<const O extends Options>(
  command: Omit<Command, 'options' | 'run'> & {
    readonly options: O
    /** Of its options, what the admin module is to know. */
    adminOptions?(values: ValuesOf<O>): AdminOptions
    run(run: AdminRun<O>): Promise<void>
  },
): Command {
  const run = async (given: Run<Options>): Promise<void> => {
    const values = given.values as Record<string, string | undefined>
    const { schema = 'millrace' } = values
    const url = databaseUrl(values)
    // Named statements would need a pooler that follows them.
    const sql = postgresSql(url, { max: 1, prepare: false, applicationName: `millrace ${command.name}` })
    try {
      const target = `${withoutPassword(url)}${schema === 'millrace' ? '' : `, schema ${schema}`}`
      const options = command.adminOptions?.(given.values as ValuesOf<O>)
      const acting = admin(sql, { schema, by: values.by ?? whoever(), exact: true, ...options })
      await command.run({ ...given, sql, schema, admin: acting, target } as unknown as AdminRun<O>)
    } finally {
      await sql.end()
    }
  }
  return { ...command, options: { ...command.options, ...databaseOption, ...schemaOption }, run }
}

function withoutPassword(text: string): string {
  const { protocol, username, host, pathname } = new URL(text)
  return `${protocol}//${username && `${username}@`}${host}${pathname}`
}

/** For what changes something; the admin module of the command knows it. */
export const byOption = {
  by: { type: 'string', value: 'WHO', help: 'who does it, for the audit log (default: $USER@host)' },
} as const satisfies Options

const whoever = (): string =>
  `${process.env.USER ?? process.env.USERNAME ?? process.env.LOGNAME ?? 'somebody'}@${hostname()}`

export const yesOption = { yes: { type: 'boolean', short: 'y', help: 'do not ask' } } as const satisfies Options

/** Asks on the terminal, unless `--yes` said it. @throws {UsageError} where nobody can be asked; {@link Failure} `declined` */
export async function confirm(
  what: string,
  { values, json, target, progress }: Pick<AdminRun<typeof yesOption>, 'values' | 'json' | 'target' | 'progress'>,
): Promise<void> {
  if (values.yes) return progress(`${what}\n${target}`)
  if (json || !process.stdin.isTTY || !process.stderr.isTTY) {
    throw new UsageError(`--yes is needed where nobody can be asked. ${what} (${target})`)
  }
  if (!/^y(es)?$/i.test(await ask(`${what}\n${target}\nGo on? [y/N] `))) {
    throw new Failure('declined', 'nothing was changed')
  }
}

/** Ctrl-C and Ctrl-D are no answer. */
async function ask(question: string): Promise<string> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  const closed = once(terminal, 'close').then(() => '')
  const answer = terminal.question(question).catch(() => '')
  return (await Promise.race([answer, closed]).finally(() => terminal.close())).trim()
}

/** The ids among the words of a command. @throws {UsageError} when there is none, or one that is no id */
export function ids(words: readonly string[], least = 1): readonly string[] {
  const wrong = words.find(word => !/^\d{1,18}$/.test(word))
  if (wrong !== undefined) throw new UsageError(`"${wrong}" is no id`)
  if (words.length < least) throw new UsageError('no id given')
  return [...new Set(words)]
}

/** The one word that a command takes. */
export function one(words: readonly string[], what: string): string {
  const [word] = words
  if (word === undefined || words.length > 1) throw new UsageError(`one ${what} is needed, not ${words.length}`)
  return word
}

export function none(words: readonly string[]): void {
  if (words.length > 0) throw new UsageError(`unexpected argument "${words[0]}"`)
}

const UNITS: Readonly<Record<string, number>> = { '': 1, s: 1, m: 60, h: 3_600, d: 86_400 }

/** Seconds: `90`, `90s`, `5m`, `2h`, `7d`. */
export function seconds(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const [, number, unit = ''] = /^(\d+(?:\.\d+)?)([smhd]?)$/.exec(text) ?? []
  if (number !== undefined) return Number(number) * (UNITS[unit] as number)
  throw new UsageError(`--${name} takes a time such as 90s, 5m, 2h or 7d, not "${text}"`)
}

/** An instant: ISO 8601, or how long ago. */
export function instant(name: string, text: string | undefined): Date | undefined {
  if (text === undefined) return undefined
  if (/^[\d.]+[smhd]$/.test(text)) return new Date(Date.now() - (seconds(name, text) as number) * 1_000)
  const at = new Date(text)
  if (/^\d{4}-/.test(text) && !Number.isNaN(at.getTime())) return at
  throw new UsageError(`--${name} takes a time in ISO 8601 or how long ago, such as 2h, not "${text}"`)
}
