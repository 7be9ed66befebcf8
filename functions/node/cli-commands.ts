// Every command of the `millrace` program, and how one is found by its words.

import { batchGroup } from './cli-batch.ts'
import { callbacksCommand } from './cli-callbacks.ts'
import { type Command, type Group, UsageError } from './cli-command.ts'
import { cronGroup } from './cli-cron.ts'
import { dlqGroup } from './cli-dlq.ts'
import { nearest } from './cli-help.ts'
import { jobGroup } from './cli-job.ts'
import { keysCommand } from './cli-keys.ts'
import { maintainCommand } from './cli-maintain.ts'
import { migrateCommand } from './cli-migrate.ts'
import { pgCommand } from './cli-pg.ts'
import { runtimeGroup } from './cli-runtime.ts'
import { tickCommand } from './cli-tick.ts'

export const entries: readonly (Command | Group)[] = [
  migrateCommand,
  pgCommand,
  keysCommand,
  callbacksCommand,
  maintainCommand,
  tickCommand,
  jobGroup,
  dlqGroup,
  cronGroup,
  batchGroup,
  runtimeGroup,
]

/** What the first words name, and the words after them. @throws {UsageError} */
export function find([name = '', ...args]: readonly string[]): { found: Command | Group; args: string[] } {
  const found = pick(entries, name)
  const [next, ...rest] = args
  if (!('commands' in found) || next === undefined || next.startsWith('-')) return { found, args }
  return { found: pick(found.commands, `${name} ${next}`), args: rest }
}

function pick<Entry extends Command | Group>(among: readonly Entry[], name: string): Entry {
  const found = among.find(entry => entry.name === name)
  if (found) return found
  const names = among.map(entry => entry.name)
  const meant = nearest(name, names)
  const hint = meant ? `Did you mean ${meant}?` : `There are: ${names.join(', ')}.`
  throw new UsageError(`unknown command "${name}"`, hint)
}
