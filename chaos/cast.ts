// Who takes part: two maintenance processes, two ingresses, two function services, and those who are told by webhooks.

import { fileURLToPath } from 'node:url'
import { deriveDispatchKeyring, formatKeyring } from 'millrace/protocol'
import { newSecrets } from './endpoints.ts'
import { type Keyrings, newKeyrings } from './keyrings.ts'
import { manifestOf } from './manifest.ts'
import { type Command, type Member, startMember, type Witness } from './member.ts'
import { freePort } from './ports.ts'

export interface Cast {
  readonly maintenance: readonly Member[]
  readonly ingresses: readonly Member[]
  readonly functions: readonly Member[]
  readonly endpoints: readonly Member[]
  readonly all: readonly Member[]
  readonly ingressUrls: readonly string[]
  readonly keyrings: Keyrings
  /** The manifest, as JSON, that leads dispatches and webhooks to these processes. */
  readonly manifest: string
  /** Starts functions and endpoints anew, well-behaved from now on. */
  behave(): void
}

export interface Stage {
  readonly databaseUrl: string
  readonly seed: number
  /** A folder for the functions' journals. */
  readonly folder: string
}

const MEMBERS = [0, 1] as const
const path = (name: string): string => fileURLToPath(new URL(name, import.meta.url))
const program = (...args: string[]): string[] => [path('../functions/node/cli.ts'), ...args]

export async function startCast(stage: Stage, witness: Witness): Promise<Cast> {
  const keyrings = newKeyrings()
  const secrets = await newSecrets(keyrings.first)
  const [ingressPorts, functionPorts, endpointPorts] = await Promise.all([freePorts(), freePorts(), freePorts()])
  let healthy = false
  const ours = (name: string) => () => ({
    DATABASE_URL: stage.databaseUrl,
    MILLRACE_KEYS: formatKeyring(keyrings.take(name)),
  })
  const theirs = (journal: string) => ({
    CHAOS_SEED: String(stage.seed),
    CHAOS_JOURNAL: `${stage.folder}/${journal}.journal`,
    CHAOS_HEALTHY: healthy ? '1' : '0',
  })
  const start = (command: Command): Member => startMember(command, witness)

  const ingresses = MEMBERS.map(nth => {
    const name = `callbacks ${nth}`
    return start({
      name,
      args: program('callbacks', '--port', String(ingressPorts[nth])),
      env: ours(name),
      ready: URL_LINE,
    })
  })
  const functions = MEMBERS.map(nth => {
    const name = `functions ${nth}`
    const env = () => ({
      ...theirs(`functions-${nth}`),
      CHAOS_PORT: String(functionPorts[nth]),
      CHAOS_DISPATCH_KEYS: formatKeyring(deriveDispatchKeyring(keyrings.take(name))),
    })
    return start({ name, args: [path('function-server.ts')], env, ready: URL_LINE, mayEnd: true })
  })
  const endpoints = start({
    name: 'endpoints',
    args: [path('endpoint-server.ts')],
    env: () => ({
      ...theirs('endpoints'),
      CHAOS_PORTS: endpointPorts.join(','),
      CHAOS_SECRETS: JSON.stringify(Object.fromEntries(Object.entries(secrets).map(([name, s]) => [name, s.verifies]))),
    }),
    ready: URL_LINE,
    mayEnd: true,
  })
  const maintenance = MEMBERS.map(nth => {
    const name = `maintain ${nth}`
    const options = ['--callback-url', local(ingressPorts[nth]), '--allow-targets', 'loopback', '--drain-timeout', '3']
    return start({ name, args: program('maintain', ...options, '--quiet'), env: ours(name), ready: /maintain: ready$/ })
  })
  const addresses = {
    functions: functionPorts.map(local),
    endpoints: [local(endpointPorts[0]), local(endpointPorts[1])] as const,
  }
  return {
    maintenance,
    ingresses,
    functions,
    endpoints: [endpoints],
    all: [...ingresses, ...functions, endpoints, ...maintenance],
    ingressUrls: ingressPorts.map(local),
    keyrings,
    manifest: JSON.stringify(manifestOf(addresses, secrets)),
    behave() {
      healthy = true
      for (const member of [...functions, endpoints]) member.signal('SIGKILL')
    },
  }
}

const URL_LINE = /^http:/
const freePorts = (): Promise<number[]> => Promise.all(MEMBERS.map(freePort))
const local = (port: number | undefined): string => `http://127.0.0.1:${port}`
