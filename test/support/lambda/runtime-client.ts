// AWS's own runtime client, installed once per machine: it compiles native code, so it is no dependency of this repository.

import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

const PACKAGE = 'aws-lambda-ric'
const VERSION = '4.0.2'

/** The program that runs a handler, or why there is none. Takes a minute the first time, and needs cmake, g++ and make. */
export async function runtimeClient(): Promise<string | { missing: string }> {
  const home = join(tmpdir(), `millrace-${PACKAGE}-${VERSION}-node${process.versions.modules}-${process.arch}`)
  const program = join(home, 'node_modules', PACKAGE, 'index.mjs')
  if (existsSync(program)) return program
  // Made aside, so that nobody comes upon half of it.
  await mkdir(tmpdir(), { recursive: true })
  const making = await mkdtemp(`${home}-`)
  try {
    const manifest = { private: true, dependencies: { [PACKAGE]: VERSION }, allowScripts: { [PACKAGE]: true } }
    await writeFile(join(making, 'package.json'), JSON.stringify(manifest))
    for (const tool of ['cmake', 'g++', 'make']) await run(tool, ['--version'])
    const options = ['--no-audit', '--no-fund', '--no-package-lock', '--loglevel=error']
    await run('npm', ['install', ...options], { cwd: making, timeout: 270_000 })
    if (!existsSync(join(making, 'node_modules', PACKAGE, 'rapid-client.node')))
      return { missing: 'it was not compiled' }
    await rename(making, home).catch(error => {
      if (!existsSync(program)) throw error
    })
    return program
  } catch (error) {
    return { missing: String(error).split('\n').at(0) ?? 'unknown' }
  } finally {
    await rm(making, { recursive: true, force: true })
  }
}
