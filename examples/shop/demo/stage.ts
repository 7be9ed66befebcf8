// Sets the stage: Postgres, the tables, and every process, each once what it needs is there; and takes it down again.

import { syncManifest } from 'millrace'
import { deriveDispatchKeyring, formatKeyring, generateKeyring, generateWebhookSecret } from 'millrace/protocol'
import type postgres from 'postgres'
import { shopManifest } from '../manifest.ts'
import { createTables, type Database, startDatabase } from './database.ts'
import { type Folders, makeFolders } from './folders.ts'
import type { Say } from './narrator.ts'
import { type Processes, processes } from './processes.ts'
import { callbackIngress, functionService, maintenance, webhookEndpoint } from './services.ts'
import { ordersWorker } from './wrangler.ts'

/** What is there once everything is ready. */
export interface Stage {
  readonly databaseUrl: string
  readonly ordersUrl: string
  readonly callbacksUrl: string
  /** The folder of the PDFs. */
  readonly receipts: string
  readonly sql: postgres.Sql
}

export interface Theatre {
  readonly opened: Promise<Stage>
  /** Rejects when one of the processes ends by itself. */
  readonly failure: Promise<never>
  /** Ends the shop's and Millrace's processes, maintenance after what it has in hand. Postgres stays. */
  endProcesses(): Promise<void>
  /** Ends the rest, and leaves nothing but the receipts. */
  close(): Promise<void>
}

export function openTheatre(say: Say): Theatre {
  const crew = processes(say)
  const closers: (() => Promise<void>)[] = []
  const opened = open({ crew, closers, timed: timer(say) })
  opened.catch(() => undefined)
  return {
    opened,
    failure: crew.failure,
    async endProcesses() {
      await crew.stop()
      // A start that is under way ends at its next process, which is refused.
      await opened.catch(() => undefined)
    },
    async close() {
      for (const closer of closers.toReversed()) await closer()
    },
  }
}

interface Opening {
  readonly crew: Processes
  /** What has been opened so far adds here how it is closed. */
  readonly closers: (() => Promise<void>)[]
  readonly timed: Timed
}

async function open({ crew, closers, timed }: Opening): Promise<Stage> {
  const folders = await makeFolders()
  closers.push(folders.removeScratch)
  const database = await timed('starting Postgres', startDatabase)
  closers.push(database.close)
  await timed('creating the tables', () => createTables(database))
  const urls = await startProcesses(crew, database, folders)
  return { ...urls, databaseUrl: database.url, sql: database.sql, receipts: folders.receipts }
}

/** Maintenance comes last: it sends jobs as soon as it is there, and the manifest tells it where to. */
async function startProcesses({ start }: Processes, { url, sql }: Database, folders: Folders) {
  const keyring = generateKeyring()
  const keys = formatKeyring(keyring)
  const dispatchKeys = formatKeyring(deriveDispatchKeyring(keyring))
  const webhookSecret = generateWebhookSecret()
  const worker = await ordersWorker(url, folders.scratch)
  const [callbacksUrl, webhooksUrl, functionsUrl, ordersUrl] = await Promise.all([
    start(callbackIngress(url, keys)),
    start(webhookEndpoint(url, webhookSecret)),
    start(functionService(url, dispatchKeys, folders.receipts)),
    start(worker),
  ])
  await syncManifest(sql, shopManifest({ functionsUrl, webhookUrl: `${webhooksUrl}/webhooks`, webhookSecret }))
  await start(maintenance(url, keys, callbacksUrl))
  return { callbacksUrl, ordersUrl }
}

type Timed = <T>(what: string, work: () => Promise<T>) => Promise<T>

const timer =
  (say: Say): Timed =>
  async (what, work) => {
    say('demo', `${what} …`)
    const began = performance.now()
    const result = await work()
    say('demo', `${what}: done in ${((performance.now() - began) / 1000).toFixed(1)} s`)
    return result
  }
