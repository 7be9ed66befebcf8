// Python with packages of pip's, in a virtual environment that is made once per machine.

import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

export interface Python {
  readonly python: string
  /** With what the packages are found. */
  readonly env: NodeJS.ProcessEnv
}

/** The interpreter that has the packages (`name==version`), or why there is none. */
export async function pythonWith(packages: readonly string[]): Promise<Python | { missing: string }> {
  const home = join(tmpdir(), `millrace-python-${packages.join('-').replaceAll(/[^a-z0-9.]+/g, '-')}`)
  const python = join(home, 'bin', 'python')
  const env = { ...process.env, PYTHONPATH: join(home, 'packages'), PYTHONDONTWRITEBYTECODE: '1' }
  if (existsSync(python)) return { python, env }
  // Made aside, so that nobody comes upon half of it.
  await mkdir(tmpdir(), { recursive: true })
  const making = await mkdtemp(`${home}-`)
  try {
    await run('python3', ['-m', 'venv', '--without-pip', making], { timeout: 60_000 })
    const target = join(making, 'packages')
    const options = ['--quiet', '--disable-pip-version-check', '--no-deps', '--only-binary', ':all:', '--retries', '1']
    await run('python3', ['-m', 'pip', 'install', ...options, '--target', target, ...packages], { timeout: 120_000 })
    await rename(making, home).catch(error => {
      if (!existsSync(python)) throw error
    })
    return { python, env }
  } catch (error) {
    return { missing: String(error).split('\n').at(0) ?? 'unknown' }
  } finally {
    await rm(making, { recursive: true, force: true })
  }
}
