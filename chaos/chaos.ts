// `npm run chaos`: breaks everything that can be broken around Millrace, and shows that no job is lost or done with twice.

import { HELP, type Options, readOptions } from './options.ts'
import { complaints, isClean, reportOf } from './report.ts'
import { runChaos } from './run.ts'

const progress = (line: string): void => void process.stderr.write(`${line}\n`)

async function main({ seconds, seed, databaseUrl, json }: Options): Promise<number> {
  const interrupted = interruption()
  if (databaseUrl !== undefined) progress('the server is not ours: it is not restarted')
  try {
    const outcome = await runChaos({ seconds, seed, databaseUrl, progress, interrupted })
    const report = reportOf(seconds, seed, outcome)
    process.stdout.write(`${json ? JSON.stringify(report) : JSON.stringify(report, null, 2)}\n`)
    for (const complaint of complaints(outcome.findings)) progress(complaint)
    return isClean(outcome.findings) ? 0 : 1
  } catch (error) {
    if (interrupted.aborted) return 130
    throw error
  }
}

/** Aborts at the first Ctrl-C; further ones do not interrupt the cleaning up. */
function interruption(): AbortSignal {
  const controller = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => controller.abort())
  return controller.signal
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
