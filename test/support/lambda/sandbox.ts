// One execution environment of Lambda: the Runtime API, and a process of AWS's runtime client that polls it. Frozen between
// two invocations, killed at the time-out, started again when it is gone.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'
import { listening } from './listening.ts'

export interface SandboxOptions {
  /** The runtime client. */
  readonly program: string
  readonly name: string
  /** Has `index.mjs`, which exports `handler`. */
  readonly folder: string
  readonly timeoutMs: number
  readonly env: Readonly<Record<string, string>>
}

export interface Invocation {
  readonly id: string
  readonly payload: string
  /** As it was invoked, with the qualifier. */
  readonly arn: string
}

/** What the function answered, or what became of it. */
export interface Result {
  readonly payload: string
  readonly error?: 'Unhandled'
}

interface Running extends Invocation {
  readonly deadline: number
  readonly end: (result: Result) => void
}

const failure = (id: string, errorType: string, text: string): Result => ({
  payload: JSON.stringify({ errorType, errorMessage: `RequestId: ${id} Error: ${text}` }),
  error: 'Unhandled',
})

export class Sandbox {
  readonly #options: SandboxOptions
  #server: Awaited<ReturnType<typeof listening>> | undefined
  #child: ChildProcess | undefined
  /** The process asks for something to do. */
  #poll: ServerResponse | undefined
  #next: Running | undefined
  #running: Running | undefined
  /** What it has written to its log. */
  log = ''

  constructor(options: SandboxOptions) {
    this.#options = options
  }

  get busy(): boolean {
    return this.#next !== undefined || this.#running !== undefined
  }

  async invoke(invocation: Invocation): Promise<Result> {
    const { promise, resolve } = Promise.withResolvers<Result>()
    // A cold start does not count, as on Lambda: the time-out begins when the function is handed the event.
    this.#next = { ...invocation, deadline: 0, end: resolve }
    await this.#start()
    this.#hand()
    return promise
  }

  async stop(): Promise<void> {
    await this.#kill()
    await this.#server?.close()
  }

  async #start(): Promise<void> {
    this.#server ??= await listening(createServer((request, response) => void this.#answer(request, response)))
    if (this.#child !== undefined) return
    const { program, name, folder, env } = this.#options
    const child = spawn(process.execPath, [program, 'index.handler'], {
      cwd: folder,
      env: {
        ...{ PATH: process.env.PATH, HOME: process.env.HOME, NODE_OPTIONS: '--conditions=millrace-source' },
        ...{ AWS_LAMBDA_RUNTIME_API: this.#server.host, LAMBDA_TASK_ROOT: folder, _HANDLER: 'index.handler' },
        ...{ AWS_LAMBDA_FUNCTION_NAME: name, AWS_LAMBDA_FUNCTION_VERSION: '$LATEST' },
        ...{ AWS_LAMBDA_FUNCTION_MEMORY_SIZE: '128', AWS_LAMBDA_LOG_GROUP_NAME: `/aws/lambda/${name}` },
        ...{ AWS_LAMBDA_LOG_STREAM_NAME: 'local', AWS_REGION: 'eu-west-1', AWS_EC2_METADATA_DISABLED: 'true' },
        ...env,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    for (const output of [child.stdout, child.stderr]) output?.on('data', chunk => (this.log += chunk))
    child.once('exit', () => this.#exited(child))
    this.#child = child
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const [, of, what] = /^\/2018-06-01\/runtime\/(?:invocation\/)?([^/]+)(?:\/(\w+))?$/.exec(request.url ?? '') ?? []
    if (of === 'next') return this.#wait(response)
    const payload = await text(request)
    response.writeHead(202, { 'content-type': 'application/json' }).end('{"status":"OK"}')
    if (of === 'init') this.#end({ payload, error: 'Unhandled' })
    else if (of === this.#running?.id) this.#end(what === 'error' ? { payload, error: 'Unhandled' } : { payload })
  }

  #wait(response: ServerResponse): void {
    this.#poll = response
    if (this.#next) this.#hand()
    else this.#child?.kill('SIGSTOP')
  }

  /** The event, once there is one and the process waits for it. */
  #hand(): void {
    const [next, poll] = [this.#next, this.#poll]
    if (next === undefined || poll === undefined) return
    const { timeoutMs } = this.#options
    const timer = setTimeout(() => void this.#timeOut(), timeoutMs)
    const end = (result: Result) => {
      clearTimeout(timer)
      next.end(result)
    }
    this.#running = { ...next, deadline: Date.now() + timeoutMs, end }
    this.#next = undefined
    this.#poll = undefined
    this.#child?.kill('SIGCONT')
    const headers = {
      'content-type': 'application/json',
      'lambda-runtime-aws-request-id': next.id,
      'lambda-runtime-deadline-ms': String(this.#running.deadline),
      'lambda-runtime-invoked-function-arn': next.arn,
      'lambda-runtime-trace-id': 'Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0',
    }
    poll.writeHead(200, headers).end(next.payload)
  }

  #end(result: Result): void {
    const ended = this.#running ?? this.#next
    this.#running = undefined
    this.#next = undefined
    ended?.end(result)
  }

  async #timeOut(): Promise<void> {
    const { id = '' } = this.#running ?? {}
    const seconds = (this.#options.timeoutMs / 1000).toFixed(2)
    this.#end(failure(id, 'Sandbox.Timedout', `Task timed out after ${seconds} seconds`))
    await this.#kill()
  }

  #exited(child: ChildProcess): void {
    if (this.#child !== child) return
    this.#child = undefined
    this.#poll = undefined
    const ended = this.#running ?? this.#next
    if (ended === undefined) return
    this.#end(failure(ended.id, 'Runtime.ExitError', `Runtime exited with error: exit status ${child.exitCode}`))
  }

  async #kill(): Promise<void> {
    const child = this.#child
    this.#child = undefined
    this.#poll = undefined
    if (child === undefined) return
    const exited = once(child, 'exit')
    child.kill('SIGKILL')
    await exited
  }
}
