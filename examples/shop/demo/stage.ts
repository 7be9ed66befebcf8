// Sets the stage: Postgres, the tables, and every process, each once what it needs is there; and takes it down again.

import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { syncManifest } from 'millrace'
import { deriveDispatchKeyring, formatKeyring, generateKeyring, generateWebhookSecret } from 'millrace/protocol'
import postgres from 'postgres'
import { startPostgres } from '../../../functions/node/embedded-postgres.ts'
import { migrateDatabase } from '../../../functions/node/migrations.ts'
import { shopManifest } from '../manifest.ts'
import { receiptsFolder } from './folders.ts'
import type { Say } from './narrator.ts'
import { processes } from './processes.ts'
import { callbackIngress, functionService, maintenance, webhookEndpoint } from './services.ts'
import { ordersWorker } from './wrangler.ts'

export interface Stage {
  readonly databaseUrl: string
  readonly ordersUrl: string
  readonly callbacksUrl: string
  readonly receipts: string
  readonly sql: postgres.Sql
}

export interface Theatre {
  /** Resolves when everything is ready. */
  readonly opened: Promise<Stage>
  /** Rejects when one of the processes ends by itself. */
  readonly failure: Promise<never>
  /** Ends the shop's and Millrace's processes, maintenance after what it has in hand. Postgres stays. */
  endProcesses(): Promise<void>
  /** Ends the rest, and leaves nothing but the receipts. */
  close(): Promise<void>
}

type Closer = () => Promise<unknown>

export function openTheatre(say: Say): Theatre {
  const crew = processes(say)
  const closers: Closer[] = []
  const opened = open(crew.start, closers, say)
  opened.catch(() => undefined)
  const endProcesses = async () => {
    await crew.stop()
    // What was being started when the end came has noticed by now, or is Postgres, which is ready in a moment.
    await opened.catch(() => undefined)
  }
  const close = async () => {
    for (const closer of closers.toReversed()) await closer()
  }
  return { opened, failure: crew.failure, endProcesses, close }
}

async function open(start: ReturnType<typeof processes>['start'], closers: Closer[], say: Say): Promise<Stage> {
  const timed = timer(say)
  const receipts = await receiptsFolder()
  const folder = await mkdtemp(join(tmpdir(), 'millrace-demo-'))
  closers.push(() => rm(folder, { recursive: true, force: true }))

  const server = await timed('starting Postgres', () => startPostgres({ persistent: false, settings: DURABLE }))
  closers.push(() => server.stop())
  const databaseUrl = server.url
  const sql = postgres(databaseUrl, { max: 2, fetch_types: false, onnotice: () => undefined })
  closers.push(() => sql.end({ timeout: 5 }))
  await timed('creating the tables', async () => {
    await migrateDatabase(databaseUrl)
    await sql.unsafe(await readFile(new URL('../shop.sql', import.meta.url), 'utf8'))
  })

  const keyring = generateKeyring()
  const keys = formatKeyring(keyring)
  const dispatchKeys = formatKeyring(deriveDispatchKeyring(keyring))
  const webhookSecret = generateWebhookSecret()
  const worker = await ordersWorker(databaseUrl, folder)
  const [callbacksUrl, webhooksUrl, functionsUrl, ordersUrl] = await Promise.all([
    timed('starting the callback ingress', () => start(callbackIngress(databaseUrl, keys))),
    timed("starting the shop's webhook endpoint", () => start(webhookEndpoint(databaseUrl, webhookSecret))),
    timed('starting the function service', () => start(functionService(databaseUrl, dispatchKeys, receipts))),
    timed('starting the order API in workerd', () => start(worker)),
  ])
  await syncManifest(sql, shopManifest({ functionsUrl, webhookUrl: `${webhooksUrl}/webhooks`, webhookSecret }))
  await timed('starting maintenance', () => start(maintenance(databaseUrl, keys, callbacksUrl)))
  return { databaseUrl, ordersUrl, callbacksUrl, receipts, sql }
}

/** The server is thrown away in the end, but until then it works as one that is not. */
const DURABLE = { fsync: 'on', full_page_writes: 'on' }

const timer =
  (say: Say) =>
  async <T>(what: string, work: () => Promise<T>): Promise<T> => {
    say('demo', `${what} …`)
    const began = performance.now()
    const result = await work()
    say('demo', `${what}: done in ${((performance.now() - began) / 1000).toFixed(1)} s`)
    return result
  }
