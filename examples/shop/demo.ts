// `npm run demo`: the whole shop on one machine, as separate processes. What it runs is beside this file; how, in demo/.

import { setTimeout as wait } from 'node:timers/promises'
import { type Books, balance, totalsLine } from './demo/books.ts'
import { placeOrders } from './demo/customers.ts'
import { invitation } from './demo/invitation.ts'
import { readLedger } from './demo/ledger.ts'
import { type Narrator, narrator } from './demo/narrator.ts'
import { HELP, type Options, readOptions } from './demo/options.ts'
import { openTheatre, type Stage } from './demo/stage.ts'

/** Long enough for a slow machine, short enough to notice that something hangs. */
const patienceMs = (orders: number): number => 60_000 + orders * 250
const POLL_MS = 150

async function main(options: Options): Promise<number> {
  const to = narrator(options.json ? process.stderr : process.stdout)
  const theatre = openTheatre(to.say)
  const interrupted = interruption().then(() => (options.exit ? 130 : 0))
  let status = await Promise.race([play(theatre.opened, options, to), theatre.failure, interrupted]).catch(error => {
    to.say('demo', `failed: ${error instanceof Error ? error.message : error}`)
    return 1
  })
  to.say('demo', 'stopping everything …')
  await theatre.endProcesses()
  const books = options.exit ? await lastBooks(theatre.opened, options) : undefined
  await theatre.close()
  if (books) tell(books, options)
  if (books && books.problems.length > 0) status ||= 1
  return status
}

/** Ends with the exit status; without `--exit` it does not end by itself. */
async function play(opened: Promise<Stage>, options: Options, { say, print }: Narrator): Promise<number> {
  const stage = await opened
  say('demo', `placing ${options.orders} orders; receipts go to ${stage.receipts}`)
  await placeOrders(stage.ordersUrl, options.orders)
  const books = await settled(stage, options.orders)
  for (const problem of books.problems) say('demo', `the books do not balance: ${problem}`)
  if (options.exit) return books.problems.length === 0 ? 0 : 1
  tell(books, options)
  print(invitation(stage))
  return await new Promise<never>(() => undefined)
}

/** Reads the books until they balance or patience is over. */
async function settled(stage: Stage, orders: number): Promise<Books> {
  const deadline = performance.now() + patienceMs(orders)
  for (;;) {
    const books = balance(await readLedger(stage.sql, stage.receipts), orders)
    if (books.problems.length === 0 || performance.now() > deadline) return books
    await wait(POLL_MS)
  }
}

/** What counts is on record once every process has ended. Undefined if it has not come to that. */
async function lastBooks(opened: Promise<Stage>, { orders }: Options): Promise<Books | undefined> {
  const stage = await opened.catch(() => undefined)
  return stage && balance(await readLedger(stage.sql, stage.receipts), orders)
}

function tell({ totals }: Books, { json }: Options): void {
  process.stdout.write(`${json ? JSON.stringify(totals) : totalsLine(totals)}\n`)
}

/** Resolves at the first Ctrl-C, or when nobody reads on; further ones do not interrupt the taking down. */
const interruption = (): Promise<void> =>
  new Promise(resolve => {
    for (const stream of [process.stdout, process.stderr]) stream.on('error', () => resolve())
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => resolve())
  })

try {
  const options = readOptions(process.argv.slice(2))
  if (options) process.exitCode = await main(options)
  else console.log(HELP)
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 2
}
