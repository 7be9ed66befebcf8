// The chaos run's command line.

import { parseArgs } from 'node:util'

export interface Options {
  /** How long jobs are enqueued and things are broken. */
  readonly seconds: number
  readonly seed: number
  readonly json: boolean
  /** A server to use instead of an embedded one; it is not restarted. */
  readonly databaseUrl: string | undefined
}

export const HELP = `Usage: npm run chaos -- [options]

Runs Millrace in real processes against hostile functions, kills, stops and restarts all of them and Postgres at
random, then lets everything recover and checks that no job was lost and none was done with twice.

Options:
  --seconds N     how long jobs are enqueued and things are broken (default: 30)
  --seed N        makes the same random choices again, as far as timing allows (default: any)
  --database-url  a server to use instead of an embedded one; it is not restarted (default: $DATABASE_URL)
  --json          print the report as one line of JSON, and nothing else on stdout
  -h, --help      show this help

Exit status: 0 all is well, 1 something was lost, doubled or did not end, 2 wrong usage.`

const LONGEST = 3600

/** Undefined when only help was asked for. Throws an error whose message is for people when the call is wrong. */
export function readOptions(args: string[]): Options | undefined {
  const { values } = parseArgs({
    args,
    options: {
      seconds: { type: 'string', default: '30' },
      seed: { type: 'string' },
      'database-url': { type: 'string' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  if (values.help) return undefined
  const seconds = whole('seconds', values.seconds, 1, LONGEST)
  const seed = whole('seed', values.seed ?? String(Math.floor(Math.random() * 1_000_000)), 0, 1e9)
  return { seconds, seed, json: values.json, databaseUrl: values['database-url'] ?? process.env.DATABASE_URL }
}

function whole(option: string, text: string, from: number, to: number): number {
  const number = Number(text)
  if (/^\d+$/.test(text) && number >= from && number <= to) return number
  throw new Error(`--${option} takes a whole number from ${from} to ${to}, not "${text}"`)
}
