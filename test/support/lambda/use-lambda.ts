// A local Lambda for a test file; its tests are skipped where AWS's runtime client cannot be installed.

import { afterAll, beforeAll, type TestContext } from 'vitest'
import { type LocalFunction, LocalLambda } from './local-lambda.ts'
import { runtimeClient } from './runtime-client.ts'

type Functions = Readonly<Record<string, LocalFunction>>

/** The first run on a machine compiles the runtime client. */
const PATIENCE_MS = 300_000

/** `functions` is asked once everything else of the file is there. */
export function useLambda(functions: () => Functions | Promise<Functions>) {
  let lambda: LocalLambda | undefined
  let missing: string | undefined
  beforeAll(async () => {
    const client = await runtimeClient()
    if (typeof client === 'string') lambda = await LocalLambda.start(client, await functions())
    else missing = client.missing
  }, PATIENCE_MS)
  afterAll(() => lambda?.stop())
  /** The first line of every test. */
  return (context: TestContext): LocalLambda => {
    if (lambda === undefined) context.skip(`no runtime client of Lambda: ${missing}`)
    return lambda as LocalLambda
  }
}
