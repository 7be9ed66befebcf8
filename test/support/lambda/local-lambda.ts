// Lambda on this machine: the Invoke API, before sandboxes in which AWS's own runtime client runs the functions.

import { randomUUID } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { Recorder } from '../maintenance-recorder.ts'
import { listening } from './listening.ts'
import { type Result, Sandbox } from './sandbox.ts'

export interface LocalFunction {
  /** An ES module that exports `handler`. */
  readonly code: string
  /** 10,000. */
  readonly timeoutMs?: number
  /** Reserved concurrency: 1. */
  readonly concurrency?: number
  /** The caller's policy does not allow to invoke it. */
  readonly denied?: boolean
  readonly env?: Readonly<Record<string, string>>
}

/** One call of the Invoke API, with what became of it. */
export interface Invoked {
  readonly function: string
  readonly qualifier: string | undefined
  readonly type: string
  readonly payload: string
  readonly status: number
  readonly headers: IncomingMessage['headers']
}

/** An event that a function is done with, or a synchronous invocation. */
export interface Finished extends Result {
  readonly function: string
}

interface Waiting {
  readonly payload: string
  readonly arn: string
  readonly done?: (result: Result) => void
}

interface Deployed extends LocalFunction {
  readonly name: string
  readonly sandboxes: readonly Sandbox[]
  readonly waiting: Waiting[]
}

interface Refusal {
  readonly status: number
  readonly errorType: string
  readonly message: string
}

const SYNC_LIMIT = 6 * 1024 * 1024
const EVENT_LIMIT = 1024 * 1024

const arnOf = (name: string) => `arn:aws:lambda:eu-west-1:123456789012:function:${name}`

/** Functions behind one endpoint, as `AWS_ENDPOINT_URL_LAMBDA` takes it. */
export class LocalLambda {
  readonly invoked = new Recorder<Invoked>()
  /** Invocations that somebody waits for, as they begin. */
  readonly begun = new Recorder<{ readonly function: string }>()
  readonly finished = new Recorder<Finished>()
  readonly #functions: ReadonlyMap<string, Deployed>
  readonly #folders: readonly string[]
  #server: Awaited<ReturnType<typeof listening>> | undefined

  private constructor(functions: ReadonlyMap<string, Deployed>, folders: readonly string[]) {
    this.#functions = functions
    this.#folders = folders
  }

  /** `program` is the runtime client. */
  static async start(program: string, functions: Readonly<Record<string, LocalFunction>>): Promise<LocalLambda> {
    const folders: string[] = []
    const deployed = new Map<string, Deployed>()
    const lambda = new LocalLambda(deployed, folders)
    lambda.#server = await listening(createServer((request, response) => void lambda.#answer(request, response)))
    for (const [name, one] of Object.entries(functions)) {
      const folder = await mkdtemp(join(tmpdir(), `millrace-lambda-${name}-`))
      folders.push(folder)
      await writeFile(join(folder, 'index.mjs'), one.code)
      const { timeoutMs = 10_000, concurrency = 1 } = one
      const env = { AWS_ENDPOINT_URL_LAMBDA: lambda.url, ...one.env }
      const options = { program, name, folder, timeoutMs, env }
      const sandboxes = Array.from({ length: concurrency }, () => new Sandbox(options))
      deployed.set(name, { ...one, name, sandboxes, waiting: [] })
    }
    return lambda
  }

  get url(): string {
    return `http://${this.#server?.host}`
  }

  /** What a function has written to its log. */
  logOf(name: string): string {
    return (this.#functions.get(name)?.sandboxes ?? []).map(sandbox => sandbox.log).join('')
  }

  /** Invokes from within, as a function URL does, as soon as there is room. */
  invoke(name: string, event: unknown): Promise<Result> {
    const { promise, resolve } = Promise.withResolvers<Result>()
    const fn = this.#functions.get(name) as Deployed
    fn.waiting.push({ payload: JSON.stringify(event), arn: arnOf(name), done: resolve })
    this.#drain(fn)
    return promise
  }

  async stop(): Promise<void> {
    await this.#server?.close()
    for (const { sandboxes } of this.#functions.values()) await Promise.all(sandboxes.map(sandbox => sandbox.stop()))
    await Promise.all(this.#folders.map(folder => rm(folder, { recursive: true, force: true })))
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '', 'http://lambda')
    const [, named = ''] = /^\/2015-03-31\/functions\/([^/]+)\/invocations$/.exec(url.pathname) ?? []
    const parts = decodeURIComponent(named).split(':')
    // `name`, `name:qualifier`, `arn:aws:lambda:region:account:function:name[:qualifier]`
    const at = parts.indexOf('function')
    const [name = '', ofArn] = parts.slice(at + 1)
    const qualifier = url.searchParams.get('Qualifier') ?? ofArn
    const type = String(request.headers['x-amz-invocation-type'] ?? 'RequestResponse')
    const payload = await text(request)
    const fn = this.#functions.get(name)
    const refused = refusalOf(request, fn, name, type, payload)
    const tell = (status: number) =>
      this.invoked.push({ function: name, qualifier, type, payload, status, headers: request.headers })
    if (fn === undefined || refused !== undefined) {
      const { status, errorType, message } = refused ?? notFound(name)
      tell(status)
      response.writeHead(status, { 'content-type': 'application/json', 'x-amzn-errortype': errorType })
      response.end(JSON.stringify({ Type: 'User', message, Message: message }))
      return
    }
    const arn = arnOf(name) + (qualifier ? `:${qualifier}` : '')
    if (type === 'DryRun') {
      tell(204)
      return void response.writeHead(204).end()
    }
    if (type === 'Event') {
      tell(202)
      response.writeHead(202).end()
      fn.waiting.push({ payload, arn })
      return this.#drain(fn)
    }
    this.begun.push({ function: name })
    const sandbox = fn.sandboxes.find(({ busy }) => !busy) as Sandbox
    const { payload: answer, error } = await this.#run(fn, sandbox, payload, arn)
    tell(200)
    response.writeHead(200, {
      'content-type': 'application/json',
      'x-amz-executed-version': '$LATEST',
      ...(error && { 'x-amz-function-error': error }),
    })
    response.end(answer)
  }

  async #run(fn: Deployed, sandbox: Sandbox, payload: string, arn: string): Promise<Result> {
    const result = await sandbox.invoke({ id: randomUUID(), payload, arn })
    this.finished.push({ function: fn.name, ...result })
    this.#drain(fn)
    return result
  }

  #drain(fn: Deployed): void {
    const sandbox = fn.sandboxes.find(({ busy }) => !busy)
    const next = sandbox && fn.waiting.shift()
    if (sandbox && next) void this.#run(fn, sandbox, next.payload, next.arn).then(next.done)
  }
}

const notFound = (name: string): Refusal => ({
  status: 404,
  errorType: 'ResourceNotFoundException',
  message: `Function not found: ${arnOf(name)}`,
})

function refusalOf(
  { headers }: IncomingMessage,
  fn: Deployed | undefined,
  name: string,
  type: string,
  payload: string,
): Refusal | undefined {
  const refusal = (status: number, errorType: string, message: string): Refusal => ({ status, errorType, message })
  if (!/^AWS4-HMAC-SHA256 Credential=\w+\/\d{8}\/[a-z0-9-]+\/lambda\//.test(headers.authorization ?? ''))
    return refusal(403, 'MissingAuthenticationTokenException', 'Missing Authentication Token')
  if (fn === undefined) return notFound(name)
  if (fn.denied) {
    const message = `User is not authorized to perform: lambda:InvokeFunction on resource: ${arnOf(name)}`
    return refusal(403, 'AccessDeniedException', message)
  }
  const limit = type === 'Event' ? EVENT_LIMIT : SYNC_LIMIT
  if (Buffer.byteLength(payload) > limit) {
    const message = `Request must be smaller than ${limit} bytes for the InvokeFunction operation`
    return refusal(413, 'RequestTooLargeException', message)
  }
  if (!isJson(payload)) return refusal(400, 'InvalidRequestContentException', 'Could not parse request body into json')
  if (type === 'RequestResponse' && fn.sandboxes.every(({ busy }) => busy))
    return refusal(429, 'TooManyRequestsException', 'Rate Exceeded.')
  return undefined
}

function isJson(payload: string): boolean {
  try {
    JSON.parse(payload)
    return true
  } catch {
    return false
  }
}
