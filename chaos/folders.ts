// Folders that are gone after the run, also when the run itself was killed.

import { spawn } from 'node:child_process'
import { rm } from 'node:fs/promises'

// Postgres and the processes have guards of their own; by then they are done.
const SCRIPT = 'read -r gone || { sleep 10; rm -rf "$@"; }'

/** Resolves once the folders are removed; a shell removes them if that is never called. */
export function removeInTheEnd(...folders: readonly string[]): () => Promise<void> {
  const shell = spawn('/bin/sh', ['-c', SCRIPT, 'chaos-guard', ...folders], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
    cwd: '/',
  })
  shell.on('error', () => undefined)
  shell.stdin.on('error', () => undefined)
  shell.unref()
  return async () => {
    for (const folder of folders) await rm(folder, { recursive: true, force: true })
    shell.stdin.end('gone\n')
  }
}
