// The `millrace` program on a terminal, by util-linux' script(1), with somebody who answers what it asks.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { program } from './cli.ts'

/** Runs a command, answers its question, and tells all that the terminal showed. */
export async function answer(keys: string, command: string, env: Readonly<Record<string, string>>) {
  const line = `${process.execPath} -C millrace-source ${program} ${command}`
  const child = spawn('script', ['-qec', line, '/dev/null'], {
    env: { ...process.env, ...env },
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  let output = ''
  let answered = false
  child.stdout.on('data', chunk => {
    output += chunk
    if (!answered && output.includes('[y/N]')) {
      answered = true
      child.stdin.write(keys)
    }
  })
  const [status] = (await once(child, 'close')) as [number | null]
  return { status, output }
}
