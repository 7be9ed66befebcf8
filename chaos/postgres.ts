// The Postgres under attack: an embedded one that can be crashed and comes back as it was, or one that is given.

import { dirname } from 'node:path'
import { migrateDatabase, type RunningPostgres, startPostgres } from 'millrace/node'
import { startTestPostgres } from 'millrace/testing'
import { removeInTheEnd } from './folders.ts'
import { freePort } from './ports.ts'

export interface Server {
  readonly url: string
  /** Ends the server at once, without a checkpoint, and starts it again; undefined where it is not ours to restart. */
  readonly crash: (() => Promise<void>) | undefined
  stop(): Promise<void>
}

/** As durable as a real one: what it has confirmed must be there after a crash. */
const DURABLE = { fsync: 'on', full_page_writes: 'on', max_connections: '200' }

/** A server with Millrace's schema in its database. */
export async function openServer(url: string | undefined): Promise<Server> {
  return url === undefined ? embedded() : given(url)
}

async function given(url: string): Promise<Server> {
  const server = await startTestPostgres({ url })
  const database = await server.createDatabase()
  const stop = async () => {
    await database.drop()
    await server.stop()
  }
  return { url: database.url, crash: undefined, stop }
}

async function embedded(): Promise<Server> {
  const first = await startPostgres({ persistent: false, port: await freePort(), settings: DURABLE })
  const { dataDir, port, url } = first
  let current: RunningPostgres = first
  let stopped = false
  // After a restart the server's own guard knows of the data only, not of the temporary folder around it.
  const removeFolder = removeInTheEnd(dirname(dataDir))
  const crash = async () => {
    process.kill(current.pid, 'SIGQUIT')
    await current.exited
    if (!stopped) current = await startPostgres({ persistent: false, dataDir, port, settings: DURABLE })
  }
  const stop = async () => {
    stopped = true
    await current.stop()
    await removeFolder()
  }
  await migrateDatabase(url).catch(error => stop().then(() => Promise.reject(error)))
  return { url, crash, stop }
}
