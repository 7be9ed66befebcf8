// The `millrace` program as an operator uses it: commands on a database of the test file's own.

import { expect, vi } from 'vitest'
import { useAdmin } from './admin.ts'
import { type CliOptions, runCli } from './cli.ts'

/** Like {@link useAdmin}, with the program. Commands are given as one text; no argument of theirs has a space in it. */
export function useOperator() {
  const database = useAdmin()
  // A process takes a third of a second, and several where the machine is busy.
  vi.setConfig({ testTimeout: 60_000 })
  const millrace = (command: string, options: CliOptions = {}) =>
    runCli(command.split(' '), { ...options, env: { DATABASE_URL: database.url, ...options.env } })

  /** What a command that must go well answers under `--json`, which is one line. */
  const json = async (command: string) => {
    const { status, stdout, stderr } = await millrace(`${command} --json`)
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    expect(stdout).toMatch(/^[^\n]+\n$/)
    return JSON.parse(stdout)
  }
  return { database, millrace, json }
}
