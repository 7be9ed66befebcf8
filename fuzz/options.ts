// The fuzz run's command line.

import { parseArgs } from 'node:util'

export interface Options {
  readonly requests: number
  readonly seed: number
  /** Of a failure, as it was printed: goes right there. */
  readonly path: string | undefined
  readonly json: boolean
  /** A server to use instead of an embedded one. */
  readonly databaseUrl: string | undefined
}

export const HELP = `Usage: npm run fuzz -- [options]

Sends generated requests to the callback ingress and the admin API, over a real Postgres with jobs in every state, and checks
that no answer is a 5xx, that every refusal has the documented form, that what is not authenticated changes nothing in the
database, and that what is changes only what it may.

Options:
  --requests N    how many (default: 10000)
  --seed N        generates the same requests again (default: any)
  --path PATH     goes right to a failure: as printed, together with its seed
  --database-url  a server to use instead of an embedded one (default: $DATABASE_URL)
  --json          print the report as one line of JSON, and nothing else on stdout
  -h, --help      show this help

Exit status: 0 nothing was found, 1 something was, 2 wrong usage.`

/** Undefined when only help was asked for. Throws an error whose message is for people when the call is wrong. */
export function readOptions(args: string[]): Options | undefined {
  const { values } = parseArgs({
    args,
    options: {
      requests: { type: 'string', default: '10000' },
      seed: { type: 'string' },
      path: { type: 'string' },
      'database-url': { type: 'string' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  if (values.help) return undefined
  const { path, json } = values
  if (path !== undefined && !/^\d+(:\d+)*$/.test(path)) throw new Error(`--path takes what was printed, not "${path}"`)
  const requests = whole('requests', values.requests, 1, 10_000_000)
  const seed = whole('seed', values.seed ?? String(Math.floor(Math.random() * 1_000_000)), 0, 2 ** 31 - 1)
  return { requests, seed, path, json, databaseUrl: values['database-url'] ?? process.env.DATABASE_URL }
}

function whole(option: string, text: string, from: number, to: number): number {
  const number = Number(text)
  if (/^\d+$/.test(text) && number >= from && number <= to) return number
  throw new Error(`--${option} takes a whole number from ${from} to ${to}, not "${text}"`)
}
