// The Worker of edge/cloud.ts in workerd, with a database for each driver.

import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { deriveDispatchKeyring, formatKeyring } from 'millrace/protocol'
import { cloneDatabase } from 'millrace/testing'
import { inject } from 'vitest'
import { processes } from '../../examples/shop/demo/processes.ts'
import { wranglerDev } from '../../examples/shop/demo/wrangler.ts'
import { keyring } from './ingress.ts'
import { workOn } from './maintenance.ts'
import { startProxy } from './maintenance-proxy.ts'
import { startNeonWebSocket } from './neon-websocket.ts'

const file = (name: string): string => fileURLToPath(new URL(`../edge/${name}`, import.meta.url))

const API_KEY = `mk_${'c'.repeat(43)}`

export const DRIVERS = ['hyperdrive', 'direct', 'neon'] as const
export type Driver = (typeof DRIVERS)[number]

export interface Order {
  readonly kind?: 'resize' | 'resize_bound'
  readonly width?: number
  readonly failures?: number
  readonly delaySeconds?: number
}

/** Starts it; `proxy` is between the Worker and the database of the driver `hyperdrive`. */
export async function startCloud() {
  const cleanup = new AsyncDisposableStack()
  const folder = cleanup.adopt(await mkdtemp(join(tmpdir(), 'millrace-cloud-')), path =>
    rm(path, { recursive: true, force: true }),
  )
  const databases = await databasesOf(cleanup)
  const proxy = await startProxy(databases.hyperdrive.url, end => cleanup.defer(end))
  const neon = cleanup.use(await startNeonWebSocket([new URL(databases.neon.url).host]))
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const variables = {
    BASE_URL: url,
    DIRECT_URL: databases.direct.url,
    NEON_URL: databases.neon.url,
    NEON_PROXY: neon.address,
    MILLRACE_KEYS: formatKeyring(keyring),
    MILLRACE_DISPATCH_KEYS: formatKeyring(deriveDispatchKeyring(keyring)),
    MILLRACE_API_KEYS: API_KEY,
  }
  const launch = async () => {
    const running = processes(process.env.SHOW ? (name, line) => console.log(name, line) : () => undefined)
    const options = { databaseUrl: proxy.url, folder, variables, port }
    await running.start({
      ...{ name: 'cloud', title: 'the Worker' },
      ...(await wranglerDev(file('cloud.ts'), file('cloud.jsonc'), options)),
    })
    return running
  }
  let running = await launch()
  cleanup.defer(() => running.stop())
  return {
    ...{ url, databases, proxy },
    callsOf: (driver: Driver) => callsOf(`${url}/${driver}`),
    /** Ends the process and starts another one, which has nothing but what was stored. */
    async restart() {
      await running.stop()
      running = await launch()
    },
    stop: () => cleanup.disposeAsync(),
  }
}

function callsOf(base: string) {
  const post = async (path: string, body?: object): Promise<Record<string, unknown>> => {
    const headers = { authorization: `Bearer ${API_KEY}`, 'content-type': 'application/json' }
    const response = await fetch(base + path, { method: 'POST', headers, body: JSON.stringify(body ?? {}) })
    const text = await response.text()
    return { status: response.status, ...(text.startsWith('{') && JSON.parse(text)) }
  }
  return {
    post,
    /** Places an order; `?fail` rolls it back, `?quiet` wakes nobody. */
    async order({ kind = 'resize', width = 4, failures = 0, ...options }: Order = {}, query = ''): Promise<string> {
      return String((await post(`/orders${query}`, { kind, args: { width, failures }, ...options })).job)
    },
  }
}

async function databasesOf(cleanup: AsyncDisposableStack) {
  const { url, template } = inject('postgres')
  const clone = async () => {
    const database = await cloneDatabase(url, template)
    cleanup.defer(() => database.drop())
    return workOn(database)
  }
  const [hyperdrive, direct, neon] = [await clone(), await clone(), await clone()]
  return { hyperdrive, direct, neon }
}

/** Functions are told where to call back before the Worker is there. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise(resolve => server.once('listening', resolve))
  const { port } = server.address() as { port: number }
  await new Promise(resolve => server.close(resolve))
  return port
}
