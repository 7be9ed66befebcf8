// The demo's command line.

import { parseArgs } from 'node:util'

export interface Options {
  /** How many orders are placed at first. */
  readonly orders: number
  /** Ends once the books balance, instead of staying up. */
  readonly exit: boolean
  readonly json: boolean
}

export const HELP = `Usage: npm run demo -- [options]

Runs a small shop on this machine: an order API in workerd, a function service, a webhook
endpoint, and Millrace between them, on a Postgres of their own. Ctrl-C takes all of it down.

Options:
  --orders N  place N orders (default: 10); every fourth is rolled back on purpose
  --exit      end once the books balance, with one line of totals; exit status 0 only if they do
  --json      print the totals as JSON, and nothing else on stdout
  -h, --help  show this help`

const MOST_ORDERS = 10_000

/** Undefined when only help was asked for. Throws an error whose message is for people when the call is wrong. */
export function readOptions(args: string[]): Options | undefined {
  const { values } = parseArgs({
    args,
    options: {
      orders: { type: 'string', default: '10' },
      exit: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  if (values.help) return undefined
  const orders = Number(values.orders)
  if (!/^\d+$/.test(values.orders) || orders > MOST_ORDERS) {
    throw new Error(`--orders takes a whole number from 0 to ${MOST_ORDERS}, not "${values.orders}"`)
  }
  return { orders, exit: values.exit, json: values.json }
}
