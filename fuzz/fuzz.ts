// `npm run fuzz`: sends what nobody would to both public doors, and shows that it breaks nothing and changes nothing.

import { startTestPostgres } from 'millrace/testing'
import { HELP, type Options, readOptions } from './options.ts'
import { runFuzz } from './run.ts'

const progress = (line: string): void => void process.stderr.write(`${line}\n`)

async function main({ requests, seed, path, json, databaseUrl }: Options): Promise<number> {
  const server = await startTestPostgres({ url: databaseUrl })
  try {
    const report = await runFuzz({ requests, seed, path, progress, createDatabase: () => server.createDatabase() })
    process.stdout.write(`${json ? JSON.stringify(report) : JSON.stringify(report, null, 2)}\n`)
    if (report.failure === undefined) return 0
    progress(report.failure.what)
    progress(`again: ${report.failure.again}`)
    return 1
  } finally {
    await server.stop()
  }
}

function options(): Options | undefined {
  try {
    return readOptions(process.argv.slice(2))
  } catch (error) {
    progress(error instanceof Error ? error.message : String(error))
    process.exit(2)
  }
}

const asked = options()
if (asked) {
  process.exitCode = await main(asked).catch(error => {
    progress(`failed: ${error instanceof Error ? error.stack : error}`)
    return 1
  })
} else console.log(HELP)
