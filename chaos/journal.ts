// What the functions saw and said, a line of JSON each: written before anything follows from it, so a crash loses none.

import { appendFileSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Seen } from './progress.ts'

export type Entry =
  /** A dispatch arrived. `token` is missing where the function did not read so far. */
  | {
      readonly what: 'call'
      readonly job: string
      readonly attempt: number
      readonly does: string
      readonly token?: number
      /** What a job that waits for events brought along. */
      readonly seen?: Seen
    }
  /** About to say, by answer or callback, that the attempt is done. */
  | { readonly what: 'says'; readonly job: string; readonly attempt: number; readonly nonce: string }
  /** A callback was answered with 200. `fresh`: as if it were the first. */
  | {
      readonly what: 'heard'
      readonly job: string
      readonly attempt: number
      readonly action: 'complete' | 'fail'
      readonly state: string
      readonly fresh: boolean
      readonly nonce: string
    }
  /** A wait was answered with 200. */
  | {
      readonly what: 'asked'
      readonly job: string
      readonly attempt: number
      readonly name: string
      readonly state: string
    }
  /** About to send its own job an event, and what became of that. */
  | {
      readonly what: 'sends'
      readonly nonce: string
      readonly job: string
      readonly attempt: number
      readonly name: string
    }
  | { readonly what: 'sent'; readonly nonce: string; readonly answer: string }
  /** A webhook arrived. `taken`: and is answered so, if the answer gets through. */
  | {
      readonly what: 'webhook'
      readonly endpoint: string
      readonly id: string
      readonly type: string
      readonly job: string
      readonly attempt: number
      readonly genuine: boolean
      readonly taken: boolean
    }
  /** Something was signed with a key that was not known. */
  | { readonly what: 'unauthorized'; readonly where: string; readonly job: string; readonly attempt: number }

export type Note = (entry: Entry) => void

export const journal =
  (path: string): Note =>
  entry =>
    appendFileSync(path, `${JSON.stringify(entry)}\n`)

/** All entries of all journals in a folder. A process killed in the middle of a line leaves half of one. */
export async function readJournals(folder: string): Promise<Entry[]> {
  const files = (await readdir(folder)).filter(name => name.endsWith('.journal'))
  const texts = await Promise.all(files.map(name => readFile(join(folder, name), 'utf8')))
  return texts
    .flatMap(text => text.split('\n'))
    .flatMap(line => (line.endsWith('}') ? [JSON.parse(line) as Entry] : []))
}
