// One throw-away Postgres server for the whole test run; DATABASE_URL names another one to use instead.

import { startTestPostgres } from 'millrace/testing'
import type { TestProject } from 'vitest/node'

declare module 'vitest' {
  interface ProvidedContext {
    /** The server, and the database on it that {@link useDatabase} copies. */
    postgres: { url: string; template: string }
  }
}

export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const server = await startTestPostgres({ url: process.env.DATABASE_URL })
  project.provide('postgres', { url: server.url, template: server.template })
  return () => server.stop()
}
