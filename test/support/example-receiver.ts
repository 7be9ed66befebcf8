// A function from examples/receivers as a process, with the dispatcher, the ingress and the database it works for.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { toSql } from 'millrace'
import type { CallbackEvent } from 'millrace/callbacks'
import { deriveDispatchKeyring, formatKeyring } from 'millrace/protocol'
import { onTestFinished } from 'vitest'
import { keyring, startIngress } from './ingress.ts'
import { freshDatabase } from './maintenance.ts'
import { Recorder } from './maintenance-recorder.ts'

const dispatchKeys = formatKeyring(deriveDispatchKeyring(keyring))

export const receiverFolder = (language: string): string =>
  fileURLToPath(new URL(`../../examples/receivers/${language}`, import.meta.url))

export interface ReceiverProcess {
  readonly program: string
  readonly args?: readonly string[]
  readonly cwd: string
  readonly env?: NodeJS.ProcessEnv
}

/** Runs until the test is over; answers its base URL. */
export async function startReceiver({ program, args = [], cwd, env = process.env }: ReceiverProcess): Promise<string> {
  const child = spawn(program, args, {
    cwd,
    env: { ...env, MILLRACE_DISPATCH_KEYS: dispatchKeys, PORT: '0' },
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const ended = once(child, 'exit')
  onTestFinished(async () => {
    child.stdin.end()
    await ended
  })
  const [line] = (await Promise.race([
    once(createInterface({ input: child.stdout }), 'line'),
    ended.then(() => Promise.reject(new Error(`${program} has ended`))),
  ])) as [string]
  return line.replace('functions on ', '')
}

/**
 * Declares the kinds `double_<name>` (callback) and `double_<name>_sync` with the function at `base` as their target, and works.
 * The bearer header is switched off on both sides: callbacks come bound, or not at all.
 */
export async function workWith(base: string, name: string) {
  const database = await freshDatabase()
  const target = { url: `${base}/jobs?from=%C3%A4&x=1` }
  await database.declare([
    { name: `double_${name}`, target },
    { name: `double_${name}_sync`, target: { ...target, mode: 'sync' } },
    { name: 'unheard_of', target, maxAttempts: 1 },
  ])
  const heard = new Recorder<CallbackEvent>()
  const ingress = await startIngress(toSql(database.sql), { onEvent: heard.push, compatible: false })
  const work = await database.maintain({ callbackUrl: ingress.url, compatible: false })
  return { database, work, heard }
}
