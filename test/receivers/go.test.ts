// The example of a receiver in Go: the published vectors, and jobs from a real dispatcher.

import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, type TestContext, test } from 'vitest'
import { receiverFolder } from '../support/example-receiver.ts'
import { refuseStrangers, runJobs } from './jobs.ts'

const run = promisify(execFile)
const cwd = receiverFolder('go')
// What go.sum says is what is built, whatever the machine is set to.
const env = { ...process.env, GOFLAGS: '-mod=readonly', GOTOOLCHAIN: 'local' }
const go = (...args: string[]) => run('go', args, { cwd, env, timeout: 240_000 })

let missing: string | undefined
let folder = ''
const program = () => join(folder, 'receiver')

beforeAll(async () => {
  missing = await go('mod', 'download').then(
    () => undefined,
    error => String(error).split('\n').at(0),
  )
  if (missing !== undefined) return
  folder = await mkdtemp(join(tmpdir(), 'millrace-go-'))
  await go('build', '-o', program(), '.')
}, 300_000)

afterAll(() => rm(folder || join(tmpdir(), 'millrace-go-none'), { recursive: true, force: true }))

const needGo = (context: TestContext) => missing !== undefined && context.skip(`no Go with its modules: ${missing}`)

test('passes the vectors', { timeout: 300_000 }, async context => {
  needGo(context)
  await go('vet', './...')
  expect((await go('test', '-count=1', './millrace')).stdout).toMatch(/^ok/)
})

test('does jobs in callback and sync mode', async context => {
  needGo(context)
  await runJobs('go', { program: program(), cwd })
})

test('takes nothing from strangers', async context => {
  needGo(context)
  await refuseStrangers({ program: program(), cwd })
})
