// One running server process: started, watched, stopped, and never outliving the process that started it.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as wait } from 'node:timers/promises'
import type { ServerUser } from './embedded-postgres-user.ts'

export interface ServerCommand {
  /** The folder that holds `bin/postgres`. */
  readonly home: string
  readonly user: ServerUser
  readonly dataDir: string
  readonly port: number
  readonly settings: Readonly<Record<string, string>>
  readonly log: (line: string) => void
  /** Removed once the server is gone, also when this process was killed. */
  readonly disposable?: string | undefined
}

export interface ServerProcess {
  readonly pid: number
  /** Resolves when the server has ended, for whatever reason. */
  readonly exited: Promise<void>
  /** Ends every session and the server; resolves when it is gone. */
  stop(): Promise<void>
}

/** The server ended before it was ready; `message` holds its last words. */
export class ServerFailed extends Error {}

/** Milliseconds a server may take to recover and start, and later to stop in good order. */
const START_TIMEOUT_MS = 60_000
const STOP_TIMEOUT_MS = 20_000

/** Starts the server and resolves when it accepts connections. */
export async function runServer(command: ServerCommand): Promise<ServerProcess> {
  const child = spawn(join(command.home, 'bin', 'postgres'), serverArguments(command), {
    ...command.user,
    cwd: '/',
    env: serverEnvironment(),
    // A session of its own: Ctrl-C goes to the process in front, which stops the server after its clients.
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const lastLines = collect(child, command.log)
  const exited = once(child, 'close').then(() => undefined)
  await once(child, 'spawn')
  const pid = child.pid as number
  const guard = guardServer(command, pid)
  exited.then(() => guard.stdin?.end('gone\n'))
  await becomesReady(command.dataDir, pid, exited).catch(async error => {
    child.kill('SIGQUIT')
    await exited
    throw new ServerFailed(lastLines.join('\n') || String(error))
  })
  return { pid, exited, stop: () => stopServer(child, exited) }
}

function serverArguments({ dataDir, port, settings }: ServerCommand): string[] {
  const all = { listen_addresses: '127.0.0.1', unix_socket_directories: '', ...settings }
  return [
    '-D',
    dataDir,
    '-p',
    String(port),
    ...Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
  ]
}

/** The caller's environment without its PG* variables, in a language whose messages we know. */
export function serverEnvironment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !name.startsWith('PG'))
  return { ...Object.fromEntries(kept), LC_ALL: 'C', LC_MESSAGES: 'C' }
}

function collect(child: ChildProcess, log: (line: string) => void): string[] {
  const last: string[] = []
  if (!child.stderr) return last
  createInterface({ input: child.stderr }).on('line', line => {
    last.push(line)
    if (last.length > 20) last.shift()
    log(line)
  })
  return last
}

/** The server writes `ready` into the eighth line of its lock file: also true when its log goes elsewhere. */
async function becomesReady(dataDir: string, pid: number, exited: Promise<void>): Promise<void> {
  let ended = false
  exited.then(() => {
    ended = true
  })
  const deadline = Date.now() + START_TIMEOUT_MS
  while (!ended && Date.now() < deadline) {
    const lines = (await readFile(join(dataDir, 'postmaster.pid'), 'utf8').catch(() => '')).split('\n')
    if (Number(lines[0]) === pid && lines[7]?.startsWith('ready')) return
    await Promise.race([wait(10), exited])
  }
  throw new Error(ended ? 'the server ended' : `the server was not ready within ${START_TIMEOUT_MS / 1000} s`)
}

/**
 * A shell that waits on a pipe from this process. When this process ends in any way, SIGKILL included, the pipe
 * closes and the shell shuts the server down: no handler of ours has to run for that.
 */
function guardServer({ user, disposable }: ServerCommand, pid: number): ChildProcess {
  const script = `read -r gone || { kill -INT "$1"; while kill -0 "$1"; do sleep 0.1; done; [ -z "$2" ] || rm -rf "$2"; }`
  const guard = spawn('/bin/sh', ['-c', script, 'millrace-pg-guard', String(pid), disposable ?? ''], {
    ...user,
    cwd: '/',
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  guard.on('error', () => undefined)
  guard.stdin?.on('error', () => undefined)
  guard.unref()
  return guard
}

async function stopServer(child: ChildProcess, exited: Promise<void>): Promise<void> {
  child.kill('SIGINT')
  const patience = AbortSignal.timeout(STOP_TIMEOUT_MS)
  // Immediate shutdown, if sessions cannot be ended: the next start recovers from the log.
  const impatient = () => child.kill('SIGQUIT')
  patience.addEventListener('abort', impatient)
  await exited
  patience.removeEventListener('abort', impatient)
}
