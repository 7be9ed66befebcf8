// The processes around the order API, as commands: two of Millrace's own and two of the shop's.

import { fileURLToPath } from 'node:url'
import type { Command } from './processes.ts'

const path = (name: string): string => fileURLToPath(new URL(name, import.meta.url))
const SOURCES = ['-C', 'millrace-source']
const READY = /ready on (http:\S+)/
/** What maintenance says of every job that goes well, which the shop's own lines tell better. */
const EVERYDAY = /: attempt 1 sent$|: accepted, waits for its callback$|millrace\.webhook: completed$/

const program = (...args: string[]): string[] => [...SOURCES, path('../../../functions/node/cli.ts'), ...args]

export const callbackIngress = (databaseUrl: string, keys: string): Command => ({
  name: 'callbacks',
  title: 'the callback ingress',
  args: program('callbacks', '--port', '0'),
  env: { DATABASE_URL: databaseUrl, MILLRACE_KEYS: keys },
  ready: /^(http:\S+)$/,
})

export const maintenance = (databaseUrl: string, keys: string, callbackUrl: string): Command => ({
  name: 'maintain',
  title: 'maintenance',
  args: program('maintain', '--callback-url', callbackUrl, '--allow-targets', 'loopback'),
  env: { DATABASE_URL: databaseUrl, MILLRACE_KEYS: keys },
  ready: /^millrace maintain: ready$/,
  show: line => (EVERYDAY.test(line) ? undefined : line),
})

export const functionService = (databaseUrl: string, dispatchKeys: string, receipts: string): Command => ({
  name: 'functions',
  title: 'the function service',
  args: [...SOURCES, path('../functions.ts')],
  env: {
    DATABASE_URL: databaseUrl,
    MILLRACE_DISPATCH_KEYS: dispatchKeys,
    RECEIPTS_FOLDER: receipts,
    JAM_ON_ORDER: '1',
  },
  ready: READY,
})

export const webhookEndpoint = (databaseUrl: string, webhookSecret: string): Command => ({
  name: 'webhooks',
  title: "the shop's webhook endpoint",
  args: [...SOURCES, path('../webhooks.ts')],
  env: { DATABASE_URL: databaseUrl, WEBHOOK_SECRET: webhookSecret },
  ready: READY,
})
