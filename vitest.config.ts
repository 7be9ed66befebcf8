// Tests run on the sources, against one real Postgres server for the whole run.

import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'
import manifest from './package.json' with { type: 'json' }
import { CountReporter } from './test/support/count-reporter.ts'

/** The package's own name leads to its sources, as the condition `millrace-source` has it for Node. */
const sources = Object.entries(manifest.exports).flatMap(([entry, target]) =>
  typeof target === 'string'
    ? []
    : {
        find: new RegExp(`^${manifest.name}${entry.slice(1)}$`),
        replacement: fileURLToPath(new URL(target['millrace-source'], import.meta.url)),
      },
)

export default defineConfig({
  resolve: { alias: sources },
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/support/global-setup.ts'],
    // Many tests wait for processes of their own, so 2 cores have work for 3 workers.
    pool: 'threads',
    maxWorkers: Math.max(3, availableParallelism() - 1),
    testTimeout: 20_000,
    hookTimeout: 60_000,
    reporters: ['default', new CountReporter()],
  },
})
