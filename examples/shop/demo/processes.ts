// Starts the demo's processes, waits until each says that it is ready, and ends them in the reverse order.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { type Guard, startGuard } from './guard.ts'
import type { Say } from './narrator.ts'

export interface Command {
  /** Stands before every line of its output. */
  readonly name: string
  /** What it is, in a sentence: `the order API`. */
  readonly title: string
  /** What Node is to run. */
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string>>
  readonly cwd?: string
  /** Matches the line that says it is ready; the first group, if any, is its URL. */
  readonly ready: RegExp
  /** What people are shown of a line: undefined for nothing. */
  readonly show?: (line: string) => string | undefined
}

export interface Processes {
  /** Resolves with the URL from the ready line, or '' if there is none in it. */
  start(command: Command): Promise<string>
  /** Rejects when a process ends that nobody has asked to. */
  readonly failure: Promise<never>
  /** Ends all of them, the last one first, each in good order; for good. */
  stop(): Promise<void>
}

const START_TIMEOUT_MS = 60_000
const STOP_TIMEOUT_MS = 15_000
const LAST_WORDS = 15

export function processes(say: Say): Processes {
  const guard = startGuard()
  const children: ChildProcess[] = []
  const failed = Promise.withResolvers<never>()
  failed.promise.catch(() => undefined)
  let stopping = false

  const run = (command: Command): ChildProcess => {
    if (stopping) throw new Error('The demo is being stopped')
    const child = launch(command, guard)
    children.push(child)
    return child
  }

  const start = async (command: Command): Promise<string> => {
    say('demo', `starting ${command.title} …`)
    const began = performance.now()
    const child = run(command)
    const lastWords: string[] = []
    const ended = once(child, 'close').then(([status, signal]) => {
      const error = new Error(`${command.name} ended (${signal ?? status}):\n${lastWords.join('\n')}`)
      if (!stopping) failed.reject(error)
      throw error
    })
    ended.catch(() => undefined)
    const url = await Promise.race([ready(child, command, lastWords, say), ended, tooLate(command)])
    const seconds = ((performance.now() - began) / 1000).toFixed(1)
    say('demo', `${command.title} is ready after ${seconds} s: process ${child.pid}${url && `, ${url}`}`)
    return url
  }

  const stop = async (): Promise<void> => {
    stopping = true
    for (const child of children.toReversed()) await end(child)
    guard.dismiss()
  }

  return { start, stop, failure: failed.promise }
}

/** In a process group of its own: Ctrl-C reaches the demo only, which then ends its processes in order. */
function launch({ args, env, cwd }: Command, guard: Guard): ChildProcess {
  const child = spawn(process.execPath, args, {
    env: { ...inheritedEnvironment(), ...env },
    cwd,
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  })
  if (child.pid !== undefined) guard.watch(child.pid)
  return child
}

/** Settings of the person who runs the demo must not lead its processes elsewhere. */
function inheritedEnvironment(): NodeJS.ProcessEnv {
  const foreign = /^(DATABASE_URL|PORT|NODE_OPTIONS|(PG|MILLRACE_|CLOUDFLARE_|WRANGLER_|VITEST).*)$/
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !foreign.test(name)))
}

/** Reads both outputs until they end, and resolves at the ready line. */
function ready(child: ChildProcess, command: Command, lastWords: string[], say: Say): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  child.on('error', reject)
  const hear = (line: string) => {
    lastWords.push(line)
    if (lastWords.length > LAST_WORDS) lastWords.shift()
    const match = command.ready.exec(line)
    if (match) return resolve(match[1] ?? '')
    const shown = command.show ? command.show(line) : line
    if (shown) say(command.name, shown)
  }
  for (const input of [child.stdout, child.stderr]) if (input) createInterface({ input }).on('line', hear)
  return promise
}

async function tooLate({ title }: Command): Promise<never> {
  await new Promise(resolve => setTimeout(resolve, START_TIMEOUT_MS).unref())
  throw new Error(`${title} was not ready within ${START_TIMEOUT_MS / 1000} s`)
}

/** Asks, waits, and at last insists; then sweeps up whatever the process has left of its group. */
async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null && child.pid !== undefined) {
    const ended = once(child, 'exit')
    child.kill('SIGTERM')
    const patience = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS)
    await ended
    clearTimeout(patience)
  }
  killGroup(child)
}

function killGroup({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL')
  } catch {
    // Nobody of the group is left.
  }
}
