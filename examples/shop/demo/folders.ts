// Where the demo leaves its receipts.

import { mkdir, mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

/** A new folder for every run, below the working directory, or among the temporary files where that is read-only. */
export async function receiptsFolder(): Promise<string> {
  const wanted = resolve('.millrace', 'demo')
  try {
    await mkdir(wanted, { recursive: true })
    return await mkdtemp(join(wanted, 'receipts-'))
  } catch {
    return await mkdtemp(join(tmpdir(), 'millrace-receipts-'))
  }
}
