// Independent verifiers of webhooks: Python's standardwebhooks and svix.

import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { type Python, pythonWith } from './python.ts'

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

/** Python that has the packages, or why there is none. */
export const pythonWithWebhooks = (): ReturnType<typeof pythonWith> => pythonWith(PYTHON_PACKAGES)

/** What either library says to each: `valid`, or its error. */
export async function verifyInPython({ python, env }: Python, cases: readonly WebhookToVerify[]) {
  const child = run(python, ['-c', VERIFIER], { env, timeout: 60_000 })
  child.child.stdin?.end(JSON.stringify(cases))
  return JSON.parse((await child).stdout) as { standardwebhooks: string; svix: string }[]
}
