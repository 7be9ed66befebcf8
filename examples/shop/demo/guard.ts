// Sees to it that no process outlives the demo, however the demo ends, SIGKILL included.

import { spawn } from 'node:child_process'

export interface Guard {
  /** From now on this process and all below it end with the demo. */
  watch(pid: number): void
  /** Everything was ended in good order: nothing is left to do. */
  dismiss(): void
}

// When the demo's end of the pipe closes without `done`, the process groups it has named are ended.
const SCRIPT = `
while read -r pid; do
  case "$pid" in done) exit ;; esac
  groups="$groups -$pid"
done
[ -n "$groups" ] || exit
kill -s TERM -- $groups
sleep 5
kill -s KILL -- $groups`

/** A shell in a session of its own, which Ctrl-C does not reach. */
export function startGuard(): Guard {
  const shell = spawn('/bin/sh', ['-c', SCRIPT], { detached: true, stdio: ['pipe', 'ignore', 'ignore'], cwd: '/' })
  shell.on('error', () => undefined)
  shell.stdin.on('error', () => undefined)
  shell.unref()
  return {
    watch: pid => void shell.stdin.write(`${pid}\n`),
    dismiss: () => void shell.stdin.end('done\n'),
  }
}
