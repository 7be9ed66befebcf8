// The `millrace` program: help, versions, errors and exit statuses.

import { expect, test } from 'vitest'
import { runCli } from './support/cli.ts'

test('without a command it explains itself and fails as wrong usage', async () => {
  const { status, stderr } = await runCli([])
  expect(status).toBe(2)
  expect(stderr).toContain('Usage: millrace <command>')
})

test('--help of the program lists the commands, --help of a command its options', async () => {
  const program = await runCli(['--help'])
  expect(program).toMatchObject({ status: 0, stdout: expect.stringMatching(/migrate .*\n.*pg /) })
  const command = await runCli(['migrate', '--help'])
  expect(command).toMatchObject({ status: 0, stdout: expect.stringContaining('--dry-run') })
})

test('commands on one subject are listed by it, and told apart from their own help', async () => {
  const calls = [['job', '--help'], ['help', 'job', 'list'], ['job'], ['job', 'lits'], ['job', 'list', 'extra']]
  const [group, command, none, mistyped, extra] = await Promise.all(calls.map(args => runCli(args)))
  expect(group).toMatchObject({
    status: 0,
    stdout: expect.stringMatching(/^Usage: millrace job <command>[\s\S]*job retry /),
  })
  expect(command).toMatchObject({
    status: 0,
    stdout: expect.stringMatching(/^Usage: millrace job list[\s\S]*--cursor/),
  })
  expect(none).toMatchObject({ status: 2, stdout: '', stderr: expect.stringContaining('job needs a command [usage]') })
  expect(mistyped?.stderr).toBe('millrace: unknown command "job lits" [usage]\nDid you mean job list?\n')
  expect(extra?.status).toBe(2)
})

test("--version is the package's", async () => {
  expect(await runCli(['--version'])).toMatchObject({ status: 0, stdout: expect.stringMatching(/^\d+\.\d+\.\d+/) })
})

test('a mistyped command gets a suggestion', async () => {
  const { status, stderr } = await runCli(['migrat'])
  expect({ status, stderr }).toEqual({
    status: 2,
    stderr: 'millrace: unknown command "migrat" [usage]\nDid you mean migrate?\n',
  })
})

test('an unknown option, a bad value and a missing database are wrong usage', async () => {
  const calls = [['migrate', '--bogus'], ['pg', '--port', 'http'], ['migrate', '--sql', '--dry-run'], ['migrate']]
  const runs = await Promise.all(calls.map(args => runCli(args)))
  expect(runs.map(({ status }) => status)).toEqual([2, 2, 2, 2])
})

test('a failure has a message, a code and exit status 1, under --json as JSON', async () => {
  const refused = ['migrate', '--database-url', 'postgres://nobody@127.0.0.1:1/none']
  const plain = await runCli(refused)
  expect(plain).toMatchObject({ status: 1, stderr: expect.stringMatching(/^millrace: .* \[ECONNREFUSED\]\n$/) })
  const json = await runCli([...refused, '--json'])
  expect(JSON.parse(json.stderr)).toMatchObject({ error: { code: 'ECONNREFUSED' } })
})
