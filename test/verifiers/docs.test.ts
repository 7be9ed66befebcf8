// The code of docs/verifiers.md, as it stands there: type-checked, and given dispatches and webhooks.

import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { LambdaHttpAnswer, LambdaHttpEvent } from 'millrace/aws'
import { generateWebhookSecret, signWebhook } from 'millrace/protocol'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { dispatchKeys, dispatchRequest, startIngress } from '../support/function.ts'
import { functionUrlEvent, serveLambda } from '../support/lambda-events.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
let folder = ''

/** Beside the sources, whose dependencies it shares; git ignores it. */
beforeAll(async () => {
  await mkdir(join(root, '.millrace'), { recursive: true })
  folder = await mkdtemp(join(root, '.millrace', 'verifiers-'))
  await mkdir(join(folder, 'node_modules'))
  await symlink(root, join(folder, 'node_modules', 'millrace'))
  const text = await readFile(join(root, 'docs/verifiers.md'), 'utf8')
  const [hono = '', lambda = ''] = [...text.matchAll(/```ts\n(.*?)```/gs)].map(([, code]) => code)
  await writeFile(join(folder, 'package.json'), '{ "type": "module" }')
  await writeFile(join(folder, 'app.ts'), hono.replace('const app', 'export const app'))
  await writeFile(join(folder, 'lambda.ts'), lambda)
})

afterAll(() => rm(folder, { recursive: true, force: true }))

test('it is typed', { timeout: 120_000 }, async () => {
  const options = [
    '--ignoreConfig',
    '--noEmit',
    '--strict',
    '--target',
    'es2024',
    '--module',
    'nodenext',
    '--skipLibCheck',
  ]
  const more = ['--types', 'node', '--customConditions', 'millrace-source', '--allowImportingTsExtensions']
  const lib = ['--lib', 'es2024,esnext.disposable,dom,dom.iterable']
  const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
  const args = [tsc, ...options, ...more, ...lib, 'app.ts', 'lambda.ts']
  await promisify(execFile)(process.execPath, args, { cwd: folder }).catch(error => expect.fail(error.stdout))
})

test('Hono: a dispatch is called back about, a webhook is heard', async () => {
  const { app } = await import(join(folder, 'app.ts'))
  const ingress = await startIngress()
  const secret = generateWebhookSecret()
  const env = { MILLRACE_DISPATCH_KEYS: dispatchKeys, WEBHOOK_SECRET: secret }
  expect((await app.fetch(dispatchRequest('http://fn', { ingress: ingress.url }), env)).status).toBe(202)
  expect(ingress.received.map(({ action }) => action)).toEqual(['heartbeat', 'complete'])
  const body = '{"type":"job.completed","timestamp":"2026-01-01T00:00:00Z","data":{}}'
  const headers = signWebhook(secret, { id: 'msg_1', body: new TextEncoder().encode(body) }, Date.now())
  expect((await app.fetch(new Request('http://fn/hooks', { method: 'POST', headers, body }), env)).status).toBe(204)
})

test('Lambda: a job is done', async () => {
  process.env.MILLRACE_DISPATCH_KEYS = dispatchKeys
  const { handler } = (await import(join(folder, 'lambda.ts'))) as {
    handler: (event: LambdaHttpEvent) => Promise<LambdaHttpAnswer>
  }
  const base = await serveLambda(functionUrlEvent, handler)
  const response = await fetch(dispatchRequest(base, { body: { args: { url: 'https://a.example' } } }))
  expect(await response.json()).toEqual({ from: 'https://a.example' })
})
