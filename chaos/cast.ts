// Who takes part: two maintenance processes, two ingresses, two function services, and what is declared of them.

import { fileURLToPath } from 'node:url'
import { formatKeyring, generateKeyring, generateWebhookSecret } from 'millrace/protocol'
import { type Command, type Member, startMember, type Witness } from './member.ts'
import { freePort } from './ports.ts'

export interface Cast {
  readonly maintenance: readonly Member[]
  readonly ingresses: readonly Member[]
  readonly functions: readonly Member[]
  readonly all: readonly Member[]
  /** The manifest, as JSON, that leads dispatches and webhooks to these processes. */
  readonly manifest: string
  /** Starts the functions anew, well-behaved from now on. */
  behave(): void
}

export interface Stage {
  readonly databaseUrl: string
  readonly seed: number
  /** A folder for the functions' journals. */
  readonly folder: string
}

/** Two of each mode, one at each function service. */
export const KINDS = ['sync_0', 'sync_1', 'callback_0', 'callback_1'] as const
export const SUBSCRIBED = ['sync_0', 'callback_1'] as const

/** Whatever happens, none of its occurrences is missed, and none comes twice. */
export const EVERY_SECOND = {
  name: 'every second',
  expression: '* * * * * *',
  kind: 'sync_1',
  missed: 'catch_up',
  overlap: 'allow',
}

const MEMBERS = [0, 1] as const
const path = (name: string): string => fileURLToPath(new URL(name, import.meta.url))
const program = (...args: string[]): string[] => [path('../functions/node/cli.ts'), ...args]

export async function startCast(stage: Stage, witness: Witness): Promise<Cast> {
  const env = { DATABASE_URL: stage.databaseUrl, MILLRACE_KEYS: formatKeyring(generateKeyring()) }
  const ports = await Promise.all([...MEMBERS, ...MEMBERS].map(freePort))
  const url = (nth: number): string => `http://127.0.0.1:${ports[nth]}`
  let healthy = false
  const start = (command: Command): Member => startMember(command, witness)

  const ingresses = MEMBERS.map(nth =>
    start({
      name: `callbacks ${nth}`,
      args: program('callbacks', '--port', String(ports[nth])),
      env: () => env,
      ready: /^http:/,
    }),
  )
  const functions = MEMBERS.map(nth =>
    start({
      name: `functions ${nth}`,
      args: [path('function-server.ts')],
      env: () => ({
        CHAOS_PORT: String(ports[2 + nth]),
        CHAOS_SEED: String(stage.seed),
        CHAOS_JOURNAL: `${stage.folder}/functions-${nth}.journal`,
        CHAOS_HEALTHY: healthy ? '1' : '0',
      }),
      ready: /^http:/,
      mayEnd: true,
    }),
  )
  const maintenance = MEMBERS.map(nth =>
    start({
      name: `maintain ${nth}`,
      args: program(
        'maintain',
        '--callback-url',
        url(nth),
        '--allow-targets',
        'loopback',
        '--drain-timeout',
        '3',
        '--quiet',
      ),
      env: () => env,
      ready: /maintain: ready$/,
    }),
  )
  return {
    maintenance,
    ingresses,
    functions,
    all: [...ingresses, ...functions, ...maintenance],
    manifest: JSON.stringify(manifest(MEMBERS.map(nth => url(2 + nth)))),
    behave() {
      healthy = true
      for (const member of functions) member.signal('SIGKILL')
    },
  }
}

function manifest(functionUrls: readonly string[]): object {
  const kinds = KINDS.map(name => {
    const [mode, nth] = name.split('_') as ['sync' | 'callback', string]
    return {
      name,
      queue: `queue_${nth}`,
      max_attempts: 8,
      ...(name === 'callback_1' && { time_limit_seconds: 4 }),
      retry: { strategy: 'fixed', base_seconds: 0.3, jitter: 0.5 },
      target: {
        url: `${functionUrls[Number(nth)]}/${mode}`,
        mode,
        request_timeout_seconds: 1,
        callback_timeout_seconds: 2,
      },
    }
  })
  const secret = generateWebhookSecret()
  const webhook = { name: 'chaos', kinds: SUBSCRIBED, events: ['completed', 'failed', 'cancelled'], secret }
  const queues = [
    { name: 'queue_0', weight: 2 },
    { name: 'queue_1', shards: 3 },
    { name: 'queue_2', max_running: 20, rate: 100 },
  ]
  return {
    kinds,
    queues,
    schedules: [EVERY_SECOND],
    subscriptions: [{ ...webhook, url: `${functionUrls[0]}/webhooks` }],
  }
}
