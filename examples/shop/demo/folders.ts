// The folders the demo writes to.

import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

export interface Folders {
  /** Stays: a new one for every run. */
  readonly receipts: string
  /** What goes when the demo ends. */
  readonly scratch: string
  removeScratch(): Promise<void>
}

export async function makeFolders(): Promise<Folders> {
  const receipts = await receiptsFolder()
  const scratch = await mkdtemp(join(tmpdir(), 'millrace-demo-'))
  return { receipts, scratch, removeScratch: () => rm(scratch, { recursive: true, force: true }) }
}

/** Below the working directory, or among the temporary files where that is read-only. */
async function receiptsFolder(): Promise<string> {
  const wanted = resolve('.millrace', 'demo')
  try {
    await mkdir(wanted, { recursive: true })
    return await mkdtemp(join(wanted, 'receipts-'))
  } catch {
    return await mkdtemp(join(tmpdir(), 'millrace-receipts-'))
  }
}
