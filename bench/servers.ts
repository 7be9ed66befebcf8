// The bench's other processes: starting them, stopping them, and reading what they counted.

import { fork } from 'node:child_process'
import { once } from 'node:events'

/** What function and ingress server count; each has its own part of it. */
export interface Counts {
  /** Jobs that arrived. */
  readonly calls: number
  /** Of these, answered for good at once. */
  readonly answered: number
  /** Of these, accepted and called back with success. */
  readonly calledBack: number
  /** Calls of the bare loop. */
  readonly bare: number
}

export interface RunningServer {
  readonly url: string
  stop(): Promise<void>
}

export async function startServer(file: string, env: Record<string, string>): Promise<RunningServer> {
  const child = fork(new URL(file, import.meta.url), { env: { ...process.env, ...env } })
  const exited = once(child, 'exit')
  const early = exited.then(() => Promise.reject(new Error(`${file} ended before it was ready`)))
  const [{ url }] = (await Promise.race([once(child, 'message'), early])) as [{ url: string }]
  early.catch(() => undefined)
  const stop = async () => {
    child.disconnect()
    await exited
  }
  return { url, stop }
}

/** The counts, once they are as wanted. Gives up after ten seconds. */
export async function readCounts(url: string, wanted: (counts: Counts) => boolean = () => true): Promise<Counts> {
  for (const giveUpAt = performance.now() + 10_000; ; ) {
    const counts = (await (await fetch(`${url}/counts`)).json()) as Counts
    if (wanted(counts) || performance.now() > giveUpAt) return counts
    await new Promise(resolve => setTimeout(resolve, 20))
  }
}
