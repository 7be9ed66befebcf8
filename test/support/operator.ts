// The `millrace` program as an operator uses it: commands on a database of the test file's own.

import { expect } from 'vitest'
import { type CliOptions, runCli } from './cli.ts'
import { type EngineDatabase, useEngine } from './engine-database.ts'

/** Like {@link useEngine}, with the program. Commands are given as one text; no argument of theirs has a space in it. */
export function useOperator<Database extends EngineDatabase>(database = useEngine() as Database) {
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
