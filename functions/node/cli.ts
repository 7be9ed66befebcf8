#!/usr/bin/env node
// The `millrace` program: finds the command, parses its options, and turns errors into messages and exit statuses.

import { parseArgs } from 'node:util'
import { callbacksCommand } from './cli-callbacks.ts'
import { type Command, type Options, UsageError } from './cli-command.ts'
import { commandHelp, commonOptions, nearest, programHelp } from './cli-help.ts'
import { keysCommand } from './cli-keys.ts'
import { maintainCommand } from './cli-maintain.ts'
import { migrateCommand } from './cli-migrate.ts'
import { pgCommand } from './cli-pg.ts'
import { tickCommand } from './cli-tick.ts'
import { packageVersion } from './cli-version.ts'

const commands: readonly Command[] = [
  migrateCommand,
  pgCommand,
  keysCommand,
  callbacksCommand,
  maintainCommand,
  tickCommand,
]

async function main(argv: readonly string[]): Promise<void> {
  const [name, ...rest] = argv
  if (name === '--version' || name === '-v') return print(packageVersion())
  if (name === undefined) throw new UsageError('no command given', programHelp(commands))
  if (name === '--help' || name === '-h' || name === 'help') return print(help(rest[0]))
  await runCommand(find(name), rest)
}

function help(name: string | undefined): string {
  return name === undefined ? programHelp(commands) : commandHelp(find(name))
}

function find(name: string): Command {
  const found = commands.find(command => command.name === name)
  if (found) return found
  const names = commands.map(command => command.name)
  const meant = nearest(name, names)
  const hint = meant ? `Did you mean ${meant}?` : `There are: ${names.join(', ')}.`
  throw new UsageError(`unknown command "${name}"`, hint)
}

async function runCommand(command: Command, args: string[]): Promise<void> {
  const { values, positionals } = parse({ ...command.options, ...commonOptions }, command, args)
  if (values.help) return print(commandHelp(command))
  await command.run({
    values: values as never,
    positionals,
    result: (text, value) => print(values.json ? JSON.stringify(value) : text),
    progress: line => {
      if (!values.json) process.stderr.write(`${line}\n`)
    },
  })
}

function parse(options: Options, command: Command, args: string[]) {
  const allowPositionals = command.operands !== undefined
  try {
    return parseArgs({ args, options, allowPositionals, strict: true })
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error), `millrace ${command.name} --help`)
  }
}

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}

/** Millrace's codes, SQLSTATEs and the system's error codes alike. */
function report(error: unknown): number {
  const { message, code, hint } = describe(error)
  if (process.argv.includes('--json')) process.stderr.write(`${JSON.stringify({ error: { code, message, hint } })}\n`)
  else process.stderr.write(`millrace: ${message} [${code}]\n${hint ? `${hint}\n` : ''}`)
  return error instanceof UsageError ? 2 : 1
}

function describe(error: unknown): { message: string; code: string; hint: string | undefined } {
  if (!(error instanceof Error)) return { message: String(error), code: 'unknown', hint: undefined }
  const { code, hint } = error as { code?: unknown; hint?: unknown }
  return {
    // A refused connection to a name with several addresses has no message of its own.
    message: error.message || String(code ?? error.name),
    code: typeof code === 'string' ? code : error instanceof UsageError ? 'usage' : 'unknown',
    hint: typeof hint === 'string' ? hint : undefined,
  }
}

// Whoever reads our output may have read enough of it (`millrace migrate --sql | head`).
process.stdout.on('error', error => {
  if ((error as NodeJS.ErrnoException).code !== 'EPIPE') throw error
})
process.exitCode = await main(process.argv.slice(2)).then(() => 0, report)
