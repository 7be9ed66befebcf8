#!/usr/bin/env node
// The `millrace` program: finds the command, parses its options, and turns errors into messages and exit statuses.

import { parseArgs } from 'node:util'
import { type Command, type Options, UsageError } from './cli-command.ts'
import { allEntries, find } from './cli-commands.ts'
import { commandHelp, commonOptions, groupHelp, programHelp } from './cli-help.ts'
import { packageVersion } from './cli-version.ts'

async function main(argv: readonly string[]): Promise<void> {
  const [name, ...rest] = argv
  if (name === '--version' || name === '-v') return print(packageVersion())
  if (name === undefined) throw new UsageError('no command given', programHelp(await allEntries()))
  if (name === '--help' || name === '-h' || name === 'help') return print(await help(rest))
  const { found, args } = await find(argv)
  if (!('commands' in found)) return runCommand(found, args)
  if (args.some(arg => arg === '--help' || arg === '-h')) return print(groupHelp(found))
  throw new UsageError(`${found.name} needs a command`, groupHelp(found))
}

async function help(words: readonly string[]): Promise<string> {
  if (words.length === 0) return programHelp(await allEntries())
  const { found } = await find(words)
  return 'commands' in found ? groupHelp(found) : commandHelp(found)
}

async function runCommand(command: Command, args: string[]): Promise<void> {
  const { values, positionals } = parse({ ...command.options, ...commonOptions }, command, args)
  if (values.help) return print(commandHelp(command))
  await command.run({
    values: values as never,
    positionals,
    json: values.json === true,
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
  return error instanceof UsageError || code === 'invalid_request' ? 2 : 1
}

function describe(error: unknown): { message: string; code: string; hint: string | undefined } {
  if (!(error instanceof Error)) return { message: String(error), code: 'unknown', hint: undefined }
  const { code, hint } = error as { code?: unknown; hint?: unknown }
  return {
    // A refused connection to a name with several addresses has no message of its own.
    // The engine's own begin with the name that we print anyway.
    message: withoutSecrets(error.message.replace(/^millrace: /, '') || String(code ?? error.name)),
    code: typeof code === 'string' ? code : error instanceof UsageError ? 'usage' : 'unknown',
    hint: typeof hint === 'string' ? hint : undefined,
  }
}

/** What was given in the wrong place is quoted, and may have been a keyring or a database's URL. */
const withoutSecrets = (message: string): string =>
  message.replace(/[0-9a-f]{64,}/gi, '***').replace(/(\/\/[^\s/@:]*):[^\s/@]+@/g, '$1:***@')

// Whoever reads our output may have read enough of it (`millrace migrate --sql | head`).
process.stdout.on('error', error => {
  if ((error as NodeJS.ErrnoException).code !== 'EPIPE') throw error
})
process.exitCode = await main(process.argv.slice(2)).then(() => 0, report)
