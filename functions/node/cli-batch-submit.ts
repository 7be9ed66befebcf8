// `millrace batch submit` and `millrace batch preview`.

import { setTimeout as pause } from 'node:timers/promises'
import type { Admin } from '../../core/admin/admin.ts'
import type { Batch, BatchFilter, BatchOperation, BatchPreview } from '../../core/admin/batches.ts'
import type { Lane } from '../../core/admin/jobs.ts'
import { adminCommand, byOption, confirm, one, seconds, yesOption } from './cli-admin.ts'
import { Failure, integer, type Options, UsageError, type ValuesOf } from './cli-command.ts'
import { jobColumns, jobFilter, jobFilterOptions } from './cli-job-filter.ts'
import { facts, moment, printable, table } from './cli-table.ts'

const OPERATIONS: Readonly<Record<string, { operation: BatchOperation; does: string }>> = {
  retry: { operation: 'retry', does: 'retries' },
  cancel: { operation: 'cancel', does: 'cancels' },
  'set-priority': { operation: 'set_priority', does: 'changes the priority of' },
  'move-queue': { operation: 'move_queue', does: 'moves' },
}

const whatOptions = {
  ...jobFilterOptions,
  all: { type: 'boolean', help: 'all jobs, instead of a filter' },
  'to-queue': { type: 'string', value: 'QUEUE', help: 'move-queue: where to' },
  'to-priority': { type: 'string', value: 'N', help: 'set-priority and move-queue: 1 (first) to 4 (last)' },
} as const satisfies Options

const OPERANDS = `<${Object.keys(OPERATIONS).join('|')}>`
const DETAILS = `Unless --state says otherwise, retry takes failed jobs, and the others take jobs that have not ended. Jobs that are
enqueued later are left alone.`

export const previewCommand = adminCommand({
  name: 'batch preview',
  operands: OPERANDS,
  summary: 'Tells how many jobs a batch would work on now, and shows the newest ten.',
  details: DETAILS,
  options: whatOptions,
  async run({ positionals, values, admin, result }) {
    const { operation, filter, lane } = asked(positionals, values)
    const preview = await admin.batches.preview(operation, filter, lane)
    const sample = preview.sample.length > 0 ? table(preview.sample, jobColumns) : []
    result([`${count(preview)} would be worked on`, ...sample].join('\n'), preview)
  },
})

export const submitCommand = adminCommand({
  name: 'batch submit',
  operands: OPERANDS,
  summary: 'Asks for an operation on all jobs that match; the leader begins at once.',
  details: `${DETAILS}\nAsks first. It is done in the background, a chunk at a time, and goes on after a crash; see batch show.`,
  options: {
    ...whatOptions,
    ...byOption,
    wait: { type: 'boolean', help: 'wait for its end, and show how far it is' },
    timeout: { type: 'string', value: 'TIME', help: '--wait: for so long: 90s, 5m, 2h' },
    ...yesOption,
  },
  async run({ positionals, admin, result, ...run }) {
    const { values, progress } = run
    const { operation, does, filter, lane } = asked(positionals, values)
    const timeout = seconds('timeout', values.timeout)
    if (!values.yes) await confirm(`This ${does} ${count(await admin.batches.preview(operation, filter, lane))}.`, run)
    const batch = await admin.batches.submit(operation, filter, lane)
    if (!values.wait) return result(batchText(batch), batch)
    progress(`batch ${batch.id} is submitted`)
    const done = await untilDone(admin, batch, progress, timeout)
    result(batchText(done), done)
    if (done.state === 'cancelled') throw new Failure('cancelled', `batch ${done.id} was cancelled`)
  },
})

function asked(words: readonly string[], values: ValuesOf<typeof whatOptions>) {
  const word = one(words, 'operation')
  const known = OPERATIONS[word]
  if (!known) throw new UsageError(`"${word}" is no operation; there are ${Object.keys(OPERATIONS).join(', ')}`)
  const filter: BatchFilter = jobFilter(values)
  const filtered = Object.values(filter).some(value => value !== undefined)
  if (filtered === (values.all === true)) throw new UsageError('a filter or --all: one of them is needed')
  const priority = integer('to-priority', values['to-priority'], 1, 4)
  const lane: Lane = { queue: values['to-queue'], priority }
  return { ...known, filter: values.all ? { all: true } : filter, lane }
}

const count = ({ count, lower_bound }: BatchPreview): string =>
  `${count}${lower_bound ? ' or more' : ''} job${count === 1 && !lower_bound ? '' : 's'}`

async function untilDone(
  admin: Admin,
  submitted: Batch,
  tell: (line: string) => void,
  timeout = Number.POSITIVE_INFINITY,
) {
  const giveUpAt = performance.now() + timeout * 1_000
  let batch = submitted
  for (let ms = 50; batch.state === 'pending' || batch.state === 'running'; ms = Math.min(ms * 1.5, 1_000)) {
    if (performance.now() > giveUpAt) throw new Failure('timeout', `batch ${batch.id} is still ${batch.state}`)
    await pause(ms)
    const seen = await admin.batches.get(batch.id)
    if (!seen) throw new Failure('not_found', `there is no batch ${batch.id} any more`)
    if (seen.matched > batch.matched) tell(`${seen.matched} matched, ${seen.changed} changed, ${seen.refused} refused`)
    batch = seen
  }
  return batch
}

export function batchText(batch: Batch): string {
  return facts([
    ['batch', batch.id],
    ['operation', `${batch.operation} ${batch.params.queue ?? ''} ${batch.params.priority ?? ''}`.trim()],
    ['filter', JSON.stringify(batch.filter)],
    ['state', batch.state],
    ['submitted', moment(batch.created_at)],
    ['by', batch.created_by],
    ['matched', batch.matched],
    ['changed', batch.changed],
    ['refused', batch.refused],
    ['error', batch.error && printable(batch.error)],
    ['ended', moment(batch.finished_at)],
  ]).join('\n')
}
