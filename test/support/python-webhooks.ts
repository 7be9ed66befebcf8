// Independent verifiers of webhooks: Python's standardwebhooks and svix, in a virtual environment that is made once per machine.

import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** Later ones of svix rest on standardwebhooks, and would say nothing new. */
const PYTHON_PACKAGES = ['standardwebhooks==1.1.0', 'svix==1.77.0']

/** Verifying takes the standard library only; what the packages do at their start takes much more, so that is left out. */
const VERIFIER = `
import json, os, sys, types

def bare(name):
    module = types.ModuleType(name)
    module.__path__ = [os.path.join(path, name) for path in sys.path]
    sys.modules[name] = module

bare("standardwebhooks")
bare("svix")
from standardwebhooks.webhooks import Webhook as Standard
from svix.webhooks import Webhook as Svix

answers = []
for case in json.load(sys.stdin):
    answer = {}
    for name, library in (("standardwebhooks", Standard), ("svix", Svix)):
        try:
            library(case["secret"]).verify(case["body"], case["headers"])
            answer[name] = "valid"
        except Exception as error:
            answer[name] = str(error)
    answers.append(answer)
json.dump(answers, sys.stdout)
`

export interface WebhookToVerify {
  readonly secret: string
  readonly body: string
  readonly headers: Readonly<Record<string, string>>
}

/** The interpreter that has the packages, or why there is none. */
export async function pythonWithWebhooks(): Promise<{ python: string } | { missing: string }> {
  const name = `millrace-python-${PYTHON_PACKAGES.join('-').replaceAll(/[^a-z0-9.]+/g, '-')}`
  const home = join(tmpdir(), name)
  const python = join(home, 'bin', 'python')
  if (existsSync(python)) return { python }
  // Made aside, so that nobody comes upon half of it.
  await mkdir(tmpdir(), { recursive: true })
  const making = await mkdtemp(`${home}-`)
  try {
    await run('python3', ['-m', 'venv', '--without-pip', making], { timeout: 60_000 })
    const target = join(making, 'packages')
    const options = ['--quiet', '--disable-pip-version-check', '--no-deps', '--only-binary', ':all:', '--retries', '1']
    await run('python3', ['-m', 'pip', 'install', ...options, '--target', target, ...PYTHON_PACKAGES], {
      timeout: 120_000,
    })
    await rename(making, home).catch(error => {
      if (!existsSync(python)) throw error
    })
    return { python }
  } catch (error) {
    return { missing: String(error).split('\n').at(0) ?? 'unknown' }
  } finally {
    await rm(making, { recursive: true, force: true })
  }
}

/** What either library says to each: `valid`, or its error. */
export async function verifyInPython(python: string, cases: readonly WebhookToVerify[]) {
  const packages = join(python, '..', '..', 'packages')
  const child = run(python, ['-c', VERIFIER], { env: { ...process.env, PYTHONPATH: packages }, timeout: 60_000 })
  child.child.stdin?.end(JSON.stringify(cases))
  return JSON.parse((await child).stdout) as { standardwebhooks: string; svix: string }[]
}
