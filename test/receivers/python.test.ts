// The example of a receiver in Python: the published vectors, and jobs from a real dispatcher.

import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, type TestContext, test } from 'vitest'
import { receiverFolder } from '../support/example-receiver.ts'
import { type Python, pythonWith } from '../support/python.ts'
import { refuseStrangers, runJobs } from './jobs.ts'

const cwd = receiverFolder('python')
const found = await pythonWith(['blake3==1.0.11'])

const python = (context: TestContext): Python =>
  'missing' in found ? context.skip(`no Python 3 with blake3 from pip: ${found.missing}`) : found

test('passes the vectors', async context => {
  const { python: program, env } = python(context)
  const { stderr } = await promisify(execFile)(program, ['-m', 'unittest', '-v'], { cwd, env, timeout: 60_000 })
  expect(stderr.trim()).toMatch(/\nOK$/)
})

test('does jobs in callback and sync mode', async context => {
  const { python: program, env } = python(context)
  await runJobs('py', { program, args: ['main.py'], cwd, env })
})

test('takes nothing from strangers', async context => {
  const { python: program, env } = python(context)
  await refuseStrangers({ program, args: ['main.py'], cwd, env })
})
