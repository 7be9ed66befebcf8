// AWS's own runtime client, installed once per machine: it compiles native code, so it is no dependency of this repository.

import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { promisify } from 'node:util'

const run = promisify(execFile)

const PACKAGE = 'aws-lambda-ric'
const VERSION = '4.0.2'

/** Of one installation. */
const LONGEST_MS = 240_000

/** The program that runs a handler, or why there is none. Takes a minute the first time, and needs cmake, g++ and make. */
export async function runtimeClient(): Promise<string | { missing: string }> {
  await mkdir(tmpdir(), { recursive: true })
  const home = join(tmpdir(), `millrace-${PACKAGE}-${VERSION}-node${process.versions.modules}-${process.arch}`)
  const program = join(home, 'node_modules', PACKAGE, 'index.mjs')
  // Test files that start together compile it once.
  const lock = `${home}.lock`
  while (!existsSync(program) && !(await isOurs(lock))) await setTimeout(500)
  try {
    if (existsSync(program)) return program
    const failed = `${home}.missing`
    const known = await failureIn(failed)
    if (known !== undefined) return { missing: known }
    const made = await install(home, program)
    if (typeof made !== 'string') await writeFile(failed, made.missing)
    return made
  } finally {
    await rm(lock, { recursive: true, force: true })
  }
}

/** Why it could not be installed a while ago: test files that come later need not try again. */
async function failureIn(file: string): Promise<string | undefined> {
  const { mtimeMs } = await stat(file).catch(() => ({ mtimeMs: 0 }))
  return Date.now() - mtimeMs < 600_000 ? await readFile(file, 'utf8') : undefined
}

/** A lock that is older than an installation takes is of one that was killed. */
async function isOurs(lock: string): Promise<boolean> {
  const made = await mkdir(lock).then(
    () => true,
    () => false,
  )
  if (made) return true
  const { mtimeMs } = await stat(lock).catch(() => ({ mtimeMs: Date.now() }))
  if (Date.now() - mtimeMs > LONGEST_MS) await rm(lock, { recursive: true, force: true })
  return false
}

async function install(home: string, program: string): Promise<string | { missing: string }> {
  // Made aside, so that nobody comes upon half of it.
  const making = await mkdtemp(`${home}-`)
  try {
    for (const tool of ['cmake', 'g++', 'make']) await run(tool, ['--version'])
    const manifest = { private: true, dependencies: { [PACKAGE]: VERSION }, allowScripts: { [PACKAGE]: true } }
    await writeFile(join(making, 'package.json'), JSON.stringify(manifest))
    const options = ['--no-audit', '--no-fund', '--no-package-lock', '--loglevel=error', '--fetch-retries=0']
    await run('npm', ['install', ...options], { cwd: making, timeout: LONGEST_MS })
    if (!existsSync(join(making, 'node_modules', PACKAGE, 'rapid-client.node')))
      return { missing: 'it was not compiled' }
    await rename(making, home)
    return program
  } catch (error) {
    return { missing: String(error).split('\n').at(0) ?? 'unknown' }
  } finally {
    await rm(making, { recursive: true, force: true })
  }
}
