// `millrace tick`: one bounded slice of what `millrace maintain` does, for a cron.

import { hostname } from 'node:os'
import { type TickSummary, tick } from '../../core/maintenance.ts'
import { databaseUrl, defineCommand, integer } from './cli-command.ts'
import { credentialsOf } from './cli-credentials.ts'
import { keysText } from './cli-keys-option.ts'
import { sendingOptions, sendingTransport, sendingValues } from './cli-sending.ts'
import { errorText, logger, logOptions } from './log.ts'
import { postgresSql } from './postgres-sql.ts'

export const tickCommand = defineCommand({
  name: 'tick',
  summary: 'Does a slice of what maintain does: promotes, rescues, fires schedules, prunes, sends jobs; and ends.',
  details: `For platforms that have a cron and no long-running processes. It ends when nothing is left to do or the budget is over:
the last quarter of it is for requests in flight, and what was not sent by then is handed back. Any number of ticks and
maintenance processes may run at once. Behind a pooler in transaction mode use --no-prepare.`,
  options: {
    ...sendingOptions,
    budget: { type: 'string', value: 'SECONDS', help: 'how long it may take (default: 20)' },
    ...logOptions,
    'no-prepare': { type: 'boolean', help: 'no named statements; for poolers that do not follow them' },
  },
  async run({ values, json, result }) {
    const budget = integer('budget', values.budget, 1, 86_400) ?? 20
    const [keyring, sending] = [keysText(values), sendingValues(values)]
    const [transport, credentials] = [sendingTransport(values), await credentialsOf(values)]
    const sql = postgresSql(databaseUrl(values), {
      max: 4,
      prepare: !values['no-prepare'],
      applicationName: 'millrace tick',
    })
    const log = logger({
      json,
      messages: values['log-messages'] === true,
      write: line => void process.stderr.write(`${line}\n`),
    })
    try {
      const summary = await tick({
        ...sending,
        ...credentials,
        sql,
        transport,
        keyring,
        name: `tick ${hostname()}:${process.pid}`,
        budgetMs: budget * 1_000,
        onEvent: event => {
          if (event.type !== 'error') return
          const error = log.error(event.error)
          log('error', { ...event, error }, `${event.during} failed: ${errorText(error)}`)
        },
      })
      result(describe(summary), summary)
    } finally {
      await transport.end()
      await sql.end()
    }
  },
})

function describe({ more, ...counts }: TickSummary): string {
  const texts = Object.entries(counts).flatMap(([what, count]) => (count > 0 ? [`${count} ${what}`] : []))
  return `millrace tick: ${texts.join(', ') || 'nothing to do'}${more ? '; there is more' : ''}`
}
