// Workers as processes: in workerd, through `wrangler dev`, with nothing kept outside of a folder of their own.

import { copyFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Command } from './processes.ts'

const file = (name: string): string => fileURLToPath(new URL(`../${name}`, import.meta.url))

/** The order API's command; see {@link wranglerDev} for `folder`. */
export const ordersWorker = async (databaseUrl: string, folder: string): Promise<Command> => ({
  name: 'orders',
  title: 'the order API in workerd',
  ...(await wranglerDev(file('worker.ts'), file('wrangler.jsonc'), { databaseUrl, folder })),
  show: ownLine,
})

export interface WranglerOptions {
  /** What the Hyperdrive binding `DB` leads to. */
  readonly databaseUrl: string
  /** Takes what wrangler writes: it puts its state beside the configuration, which is copied there, and below its working directory. */
  readonly folder: string
  /** The Worker's variables. */
  readonly variables?: Readonly<Record<string, string>>
  /** A free one unless given. */
  readonly port?: number
}

/** Runs a Worker in workerd. */
export async function wranglerDev(main: string, configFile: string, options: WranglerOptions) {
  const { databaseUrl, folder, variables = {}, port = 0 } = options
  const config = join(folder, 'wrangler.jsonc')
  await copyFile(configFile, config)
  const wrangler = join(dirname(createRequire(import.meta.url).resolve('wrangler/package.json')), 'bin/wrangler.js')
  const flags = ['--local', '--ip', '127.0.0.1', '--port', String(port), '--inspector-port', '0']
  const vars = Object.entries(variables).flatMap(([name, value]) => ['--var', `${name}:${value}`])
  return {
    args: [wrangler, 'dev', main, '--config', config, ...flags, ...vars],
    cwd: folder,
    env: {
      CLOUDFLARE_HYPERDRIVE_LOCAL_CONNECTION_STRING_DB: databaseUrl,
      // Bundles the package's sources, as `node -C millrace-source` runs them: a clone needs no build.
      WRANGLER_BUILD_CONDITIONS: 'millrace-source,workerd,worker,browser',
      ...offline(folder),
    },
    ready: /Ready on (http:\S+)/,
  }
}

/** No questions, no network, no traces in the home folder. */
const offline = (folder: string): Record<string, string> => ({
  CI: '1',
  NO_COLOR: '1',
  FORCE_COLOR: '0',
  HOME: folder,
  XDG_CONFIG_HOME: folder,
  XDG_CACHE_HOME: folder,
  CLOUDFLARE_CF_FETCH_ENABLED: 'false',
  WRANGLER_HIDE_BANNER: 'true',
  WRANGLER_SEND_METRICS: 'false',
  WRANGLER_WRITE_LOGS: 'false',
})

/** Wrangler tells of bindings and requests; the Worker's own lines, and anything that went wrong, are for people. */
function ownLine(line: string): string | undefined {
  const chatter =
    /^(\s*|\[wrangler:info\].*|⎔ .*|Found a non-empty .*|Your Worker has access .*|Binding\s.*|env\.DB\s.*)$/
  return chatter.test(line) ? undefined : line
}
