// Every rule of .dependency-cruiser.cjs bites: a small project that breaks each of them once.

import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { cruise, type ICruiseResult } from 'dependency-cruiser'
import { afterAll, beforeAll, expect, it } from 'vitest'

const { forbidden, options } = createRequire(import.meta.url)('../.dependency-cruiser.cjs')

/** A rule, who breaks it, and with what import. */
const VIOLATIONS = [
  ['no-cycles', 'core/signal.ts', './grouping.ts'],
  ['no-cycles', 'core/grouping.ts', './signal.ts'],
  ['all-resolve', 'core/client.ts', './nowhere.ts'],
  ['values-know-values', 'core/errors.ts', './sql.ts'],
  ['ports-know-values', 'core/engine.ts', './sql-engine.ts'],
  ['ports-know-values', 'core/protocol/keyring.ts', '../client.ts'],
  ['services-know-no-apps', 'core/dispatch/dispatcher.ts', '../maintenance/maintenance.ts'],
  ['entries-are-the-top', 'core/maintenance/maintenance.ts', '../protocol.ts'],
  ['roles-stand-alone', 'core/function/attempt.ts', '../dispatch/gate.ts'],
  ['roles-stand-alone', 'core/callbacks/store.ts', '../dispatch/gate.ts'],
  ['roles-stand-alone', 'core/dispatch/gate.ts', '../function/attempt.ts'],
  ['roles-stand-alone', 'core/api/input.ts', '../callbacks/parse.ts'],
  ['receiver-knows-no-database', 'core/function/attempt.ts', '../sql.ts'],
  ['ingress-knows-its-store-as-a-port', 'core/callbacks/store.ts', '../sql-engine.ts'],
  ['core-knows-no-platform', 'core/manifest.ts', '../functions/node/serve.ts'],
  ['core-knows-no-platform', 'core/manifest.ts', '../infra/bus.ts'],
  ['core-knows-no-platform', 'core/manifest.ts', '../examples/shop.ts'],
  ['core-knows-no-platform', 'core/manifest.ts', '../bench/engine.ts'],
  ['core-has-no-node-modules', 'core/manifest.ts', 'node:fs'],
  ...['postgres', 'pg', '@neondatabase/serverless', 'ws', 'undici', '@hono/node-server', '@aws-sdk/client-lambda'].map(
    name => ['core-has-few-packages', 'core/migrate.ts', name],
  ),
  ['platforms-stand-alone', 'functions/cloudflare/api.ts', '../node/serve.ts'],
  ['lambda-runs-node', 'functions/aws/tick.ts', '../node/serve.ts'],
  ['functions-only-wire', 'functions/node/serve.ts', '../../infra/bus.ts'],
  ['published-code-has-its-dependencies', 'functions/node/testing.ts', 'vitest'],
  ['examples-use-entries', 'examples/shop.ts', '../core/client.ts'],
  ['nothing-imports-examples', 'functions/node/serve.ts', '../../examples/shop.ts'],
  ['nothing-imports-bench', 'functions/node/serve.ts', '../../bench/engine.ts'],
  ['nothing-imports-chaos', 'bench/engine.ts', '../chaos/audit.ts'],
  ['nothing-imports-fuzz', 'bench/engine.ts', '../fuzz/run.ts'],
  ['nothing-imports-test', 'bench/engine.ts', '../test/support/cli.ts'],
] as [rule: string, from: string, to: string][]

/** The portable packages break nothing, even where the rest is forbidden. */
const ALLOWED = [
  ['core/errors.ts', '@noble/hashes'],
  ['core/callbacks/app.ts', 'hono'],
  ['test/shop.test.ts', './support/cli.ts'],
  ['test/shop.test.ts', '../examples/shop.ts'],
] as const

let folder = ''
let found: string[] = []

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'millrace-rules-'))
  await writeProject([...VIOLATIONS.map(([, from, to]) => [from, to] as const), ...ALLOWED])
  const { tsConfig: _, ...shared } = options
  const roots = ['core', 'functions', 'infra', 'examples', 'bench', 'chaos', 'fuzz', 'test']
  const { output } = await cruise(roots, { ...shared, baseDir: folder, validate: true, ruleSet: { forbidden } })
  found = (output as ICruiseResult).modules.flatMap(({ source, dependencies }) =>
    dependencies.flatMap(({ protocol = '', module, rules = [] }) =>
      rules.map(({ name }) => `${name}: ${source} -> ${protocol}${module}`),
    ),
  )
})
afterAll(() => rm(folder, { recursive: true, force: true }))

/** Files with those imports, files to be imported, and packages that are empty. */
async function writeProject(imports: readonly (readonly [from: string, to: string])[]): Promise<void> {
  const files = new Map<string, string>()
  const dependencies: Record<string, string> = {}
  for (const [from, to] of imports) {
    files.set(from, `${files.get(from) ?? ''}import '${to}'\n`)
    if (/^\.(?!.*nowhere)/.test(to)) {
      const target = join(dirname(from), to)
      files.set(target, files.get(target) ?? '')
    } else if (!/^\.|^node:/.test(to)) {
      files.set(`node_modules/${to}/package.json`, JSON.stringify({ name: to, version: '1.0.0', main: 'index.js' }))
      files.set(`node_modules/${to}/index.js`, '')
      dependencies[to] = '1.0.0'
    }
  }
  const { vitest, ...published } = dependencies
  files.set('package.json', JSON.stringify({ type: 'module', dependencies: published, devDependencies: { vitest } }))
  for (const [path, text] of files) {
    await mkdir(dirname(join(folder, path)), { recursive: true })
    await writeFile(join(folder, path), text)
  }
}

it.each(VIOLATIONS)('%s: %s may not import %s', (rule, from, to) => {
  expect(found).toContain(`${rule}: ${from} -> ${to}`)
})

it('covers every rule', () => {
  expect(forbidden.map(({ name }: { name: string }) => name).sort()).toEqual(
    [...new Set(VIOLATIONS.map(([rule]) => rule))].sort(),
  )
})

it.each(ALLOWED)('%s may import %s', (from, to) => {
  expect(found.filter(line => line.endsWith(`${from} -> ${to}`))).toEqual([])
})
