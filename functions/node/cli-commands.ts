// Every command of the `millrace` program, and how one is found by its words.

import { type Command, type Group, UsageError } from './cli-command.ts'
import { nearest } from './cli-help.ts'

type Entry = Command | Group

/** Loaded when they are needed: most of a short command's time would go into what it does not use. */
const LOAD: Readonly<Record<string, () => Promise<Entry>>> = {
  migrate: async () => (await import('./cli-migrate.ts')).migrateCommand,
  pg: async () => (await import('./cli-pg.ts')).pgCommand,
  roles: async () => (await import('./cli-roles.ts')).rolesGroup,
  keys: async () => (await import('./cli-keys.ts')).keysGroup,
  'api-key': async () => (await import('./cli-api-key.ts')).apiKeyGroup,
  callbacks: async () => (await import('./cli-callbacks.ts')).callbacksCommand,
  api: async () => (await import('./cli-api.ts')).apiCommand,
  maintain: async () => (await import('./cli-maintain.ts')).maintainCommand,
  tick: async () => (await import('./cli-tick.ts')).tickCommand,
  job: async () => (await import('./cli-job.ts')).jobGroup,
  queue: async () => (await import('./cli-queue.ts')).queueGroup,
  kind: async () => (await import('./cli-kind.ts')).kindGroup,
  dlq: async () => (await import('./cli-dlq.ts')).dlqGroup,
  cron: async () => (await import('./cli-cron.ts')).cronGroup,
  batch: async () => (await import('./cli-batch.ts')).batchGroup,
  webhook: async () => (await import('./cli-webhook.ts')).webhookGroup,
  runtime: async () => (await import('./cli-runtime.ts')).runtimeGroup,
  audit: async () => (await import('./cli-audit.ts')).auditCommand,
  health: async () => (await import('./cli-health.ts')).healthCommand,
}

/** All of them, for the program's help. */
export const allEntries = (): Promise<Entry[]> => Promise.all(Object.values(LOAD).map(load => load()))

/** What the first words name, and the words after them. @throws {UsageError} */
export async function find([name = '', ...args]: readonly string[]): Promise<{ found: Entry; args: string[] }> {
  const found = await LOAD[known(name, Object.keys(LOAD))]?.()
  const [next, ...rest] = args
  if (!found || !('commands' in found) || next === undefined || next.startsWith('-'))
    return { found: found as Entry, args }
  const names = found.commands.map(command => command.name)
  const meant = known(`${name} ${next}`, names)
  return { found: found.commands.find(command => command.name === meant) as Command, args: rest }
}

function known(name: string, names: readonly string[]): string {
  if (names.includes(name)) return name
  const meant = nearest(name, names)
  const hint = meant ? `Did you mean ${meant}?` : `There are: ${names.join(', ')}.`
  throw new UsageError(`unknown command "${name}"`, hint)
}
