// Runs the `millrace` program from its sources, as a process of its own.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'

export const program = fileURLToPath(new URL('../../functions/node/cli.ts', import.meta.url))

export interface CliOptions {
  readonly cwd?: string
  readonly env?: Readonly<Record<string, string>>
  /** Goes away after the first line of output, as `| head -1` does. */
  readonly firstLineOnly?: boolean
}

function spawnCli(args: readonly string[], { cwd, env }: CliOptions = {}): ChildProcess {
  const { DATABASE_URL: _, ...inherited } = process.env
  return spawn(process.execPath, ['-C', 'millrace-source', program, ...args], {
    cwd,
    // Functions of tests listen on this machine.
    env: { MILLRACE_ALLOW_TARGETS: 'loopback', ...inherited, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
}

/** Runs a command to its end. */
export async function runCli(args: readonly string[], options?: CliOptions) {
  const child = spawnCli(args, options)
  const closed = once(child, 'close')
  const output = options?.firstLineOnly ? firstLine(child.stdout as Readable) : text(child.stdout as never)
  const [stdout, stderr] = await Promise.all([output, text(child.stderr as never)])
  const [status] = (await closed) as [number | null]
  return { status, stdout, stderr }
}

async function firstLine(output: Readable): Promise<string> {
  let seen = ''
  for await (const chunk of output) {
    seen += chunk
    // Leaving the loop closes the pipe.
    if (seen.includes('\n')) break
  }
  return seen.slice(0, seen.indexOf('\n'))
}

/** Starts a command that stays, and resolves with its first line of output. */
export async function startCli(args: readonly string[], options?: CliOptions) {
  const child = spawnCli(args, options)
  const errors = text(child.stderr as never)
  const closed = once(child, 'close').then(([status]) => status as number | null)
  const line = once(createInterface({ input: child.stdout as never }), 'line').then(([first]) => first as string)
  const firstLine = await Promise.race([line, closed.then(() => undefined)])
  if (firstLine === undefined) throw new Error(`millrace ${args.join(' ')} ended: ${await errors}`)
  return { child, firstLine, closed }
}
