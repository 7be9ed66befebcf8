// One process of the cast: started, watched, started again whenever it ends, and gone when the run is, however that ends.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout as wait } from 'node:timers/promises'

export interface Command {
  readonly name: string
  /** What Node is to run. */
  readonly args: readonly string[]
  readonly env: () => Readonly<Record<string, string>>
  /** Matches the line of output that says it is ready. */
  readonly ready: RegExp
  /** A function's way is to crash; anything else that ends by itself is a finding. */
  readonly mayEnd?: boolean
}

export interface Member {
  readonly name: string
  /** Whether it has said that it is ready, and has not been told to end since. */
  readonly isReady: () => boolean
  /** Sends a signal. After one that ends it, it is started again. */
  signal(signal: NodeJS.Signals): void
  /** Resolves when the process that is there now has said that it is ready; rejects when `patience` is over. */
  whenReady(patience: AbortSignal): Promise<void>
  /** Ends it for good. */
  stop(): Promise<void>
}

export interface Witness {
  /** It ended by itself, after it had been ready. */
  ended(name: string, lastWords: string): void
}

const LAST_WORDS = 12
const DRAIN_MS = 8_000
const RESTART_MS = 100

export function startMember(command: Command, witness: Witness): Member {
  let child = launch(command)
  let ready = false
  let ending = false
  let stopped = false

  const live = async (): Promise<void> => {
    while (!stopped) {
      const lastWords = listen(child, command.ready, () => {
        ready = true
      })
      await once(child, 'close')
      if (ready && !ending && !stopped && !command.mayEnd) witness.ended(command.name, lastWords.join('\n'))
      ready = false
      ending = false
      if (!stopped) await wait(RESTART_MS)
      if (!stopped) child = launch(command)
    }
  }
  const over = live()

  const signal = (name: NodeJS.Signals): void => {
    child.kill(name)
    if (name !== 'SIGTERM' && name !== 'SIGKILL') return
    ready = false
    ending = true
    const asked = child
    if (name === 'SIGTERM') setTimeout(() => hasEnded(asked) || asked.kill('SIGKILL'), DRAIN_MS).unref()
  }

  return {
    name: command.name,
    isReady: () => ready,
    signal,
    async whenReady(patience) {
      while (!ready) {
        if (patience.aborted) throw new Error(`${command.name} did not get ready`)
        await wait(20)
      }
    },
    async stop() {
      stopped = true
      child.kill('SIGKILL')
      await over
    },
  }
}

const hasEnded = ({ exitCode, signalCode }: ChildProcess): boolean => exitCode !== null || signalCode !== null

/** In a process group of its own: Ctrl-C reaches the run only, which then ends its processes in order. */
function launch({ args, env }: Command): ChildProcess {
  const child = spawn(process.execPath, ['-C', 'millrace-source', ...args], {
    env: { ...inheritedEnvironment(), ...env() },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  })
  child.on('error', () => undefined)
  guard(child)
  return child
}

/** A shell that ends the process when this one is gone, SIGKILL included: then the pipe closes without a word. */
function guard(child: ChildProcess): void {
  const script = 'read -r gone || kill -s KILL "$1"'
  const shell = spawn('/bin/sh', ['-c', script, 'chaos-guard', String(child.pid)], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
    cwd: '/',
  })
  shell.on('error', () => undefined)
  shell.stdin.on('error', () => undefined)
  shell.unref()
  child.once('close', () => shell.stdin.end('gone\n'))
}

/** Settings of the person who runs this must not lead its processes elsewhere. */
function inheritedEnvironment(): NodeJS.ProcessEnv {
  const foreign = /^(DATABASE_URL|PORT|NODE_OPTIONS|(PG|MILLRACE_|VITEST).*)$/
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !foreign.test(name)))
}

/** Reads both outputs until they end; answers the last lines, as they come. */
function listen(child: ChildProcess, ready: RegExp, onReady: () => void): string[] {
  const lastWords: string[] = []
  for (const input of [child.stdout, child.stderr]) {
    if (!input) continue
    createInterface({ input }).on('line', line => {
      lastWords.push(line)
      if (lastWords.length > LAST_WORDS) lastWords.shift()
      if (ready.test(line)) onReady()
    })
  }
  return lastWords
}
