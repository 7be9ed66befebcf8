// A database whose jobs go to functions of a local Lambda, through AWS's SDK.

import { toSql } from 'millrace'
import { lambdaInvoker } from 'millrace/lambda'
import { deriveDispatchKeyring, formatKeyring } from 'millrace/protocol'
import type { TestContext } from 'vitest'
import { keyring, startIngress } from '../ingress.ts'
import { freshDatabase, type Maintaining } from '../maintenance.ts'
import type { LocalFunction, LocalLambda } from './local-lambda.ts'

export const credentials = { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'xyzzy' }
export const region = 'eu-west-1'

/** A function of this folder, with the keys that it needs. */
export const fixture = (file: string, more: Partial<LocalFunction> = {}): LocalFunction => ({
  code: `export { handler } from '${new URL(file, import.meta.url)}'`,
  ...more,
  env: { MILLRACE_DISPATCH_KEYS: formatKeyring(deriveDispatchKeyring(keyring)), ...more.env },
})

let kinds = 0

export interface JobToInvoke {
  readonly args?: object
  readonly kind?: string
  readonly target?: object
}

/** A database with maintenance at work on it, and an ingress for the callbacks. */
export async function invoking(context: TestContext, endpoint: string, options: Maintaining = {}) {
  const database = await freshDatabase()
  const ingress = await startIngress(toSql(database.sql))
  const invoker = lambdaInvoker({ endpoint, region, credentials })
  context.onTestFinished(() => invoker.end())
  const work = await database.maintain({
    ...{ lambdaInvoker: invoker, callbackUrl: ingress.url, listen: true },
    ...options,
  })
  /** A job of a kind of its own, which is not retried within a test. */
  const send = async (mode: 'sync' | 'callback', fn: string, job: JobToInvoke = {}): Promise<string> => {
    const { args = {}, kind = `work_${++kinds}`, target } = job
    const retry = { strategy: 'fixed', baseSeconds: 60 } as const
    await database.declare([{ name: kind, target: { lambda: { function: fn }, mode, ...target }, retry }], [], kind)
    return database.enqueue(kind, args)
  }
  /** Sync mode: the job after its first attempt. */
  const afterOne = async (fn: string, job?: JobToInvoke) => {
    const id = await send('sync', fn, job)
    await work.closed(id)
    return database.job(id)
  }
  return { database, work, send, afterOne }
}

/** Resolves when the function has ended once more than at this moment. */
export function ending(lambda: LocalLambda, name: string) {
  const before = lambda.finished.of({ function: name }).length
  return async () => (await lambda.finished.until({ function: name }, before + 1)).at(-1)
}
