// Bulk operations that are broken off anywhere, and beside claims: nothing is lost, nothing is done twice.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { admin, type Batch } from 'millrace/admin'
import { expect, it, onTestFinished } from 'vitest'
import { batchTools, useAdmin } from '../support/admin.ts'
import { claim, enqueue } from '../support/engine-database.ts'

const database = useAdmin()
const { batches, submit, finish, failedJobs, standing } = batchTools(database)

it.each([
  ['retry', undefined, { 'default available 2': 350 }],
  ['move_queue', { queue: 'slow' }, { 'slow available 2': 350 }],
] as const)(
  'a crash within a chunk of %s, or between two, is made good by whoever goes on',
  async (operation, params, end) => {
    if (operation === 'retry') await failedJobs(350)
    else await enqueue(database.sql, 350)
    const batch = await submit(operation, { all: true }, params)
    for (let crashes = 0; crashes < 3; crashes++) {
      const worker = await database.connect()
      await worker`begin`
      expect(await admin(worker).batches.step(batch.id)).toMatchObject({ matched: 100 * (crashes + 1) })
      expect(await batches().step(batch.id)).toBeUndefined() // somebody is at it
      const [{ pid } = { pid: 0 }] = await worker`select pg_backend_pid() as pid`
      await database.sql`select pg_terminate_backend(${pid}, 5000)`
      await batches().step(batch.id)
    }
    expect(await finish(batch)).toMatchObject({ matched: 350, changed: 350, refused: 0 })
    expect(await standing()).toEqual(end)
  },
)

it('a crash of the process, by SIGKILL while it works: the next one finishes, and every job is moved once', async () => {
  await enqueue(database.sql, 1500)
  const batch = await submit('move_queue', { all: true }, { queue: 'slow' })
  const program = fileURLToPath(new URL('../support/batch-runner.ts', import.meta.url))
  const args = ['-C', 'millrace-source', program, database.url, String(batch.id)]
  for (let kills = 0; kills < 3; kills++) {
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
    const exited = once(child, 'exit')
    onTestFinished(() => void child.kill('SIGKILL'))
    // Killed as soon as a chunk is done, so most likely within the next one.
    for await (const line of createInterface(child.stdout)) {
      expect(line).toBe('running')
      child.kill('SIGKILL')
      break
    }
    await exited
  }
  const before = await batches().get(batch.id)
  expect(before).toMatchObject({ state: 'running' })
  // What the killed process was at may go on for a moment, and holds the batch for as long.
  const rest = await finishBusy(batch)
  expect(rest).toMatchObject({ state: 'completed', matched: 1500, changed: 1500, refused: 0 })
  expect(await standing()).toEqual({ 'slow available 2': 1500 })
})

it('beside claims nothing is lost, nothing is handed out twice', async () => {
  const ids = await enqueue(database.sql, 600)
  const batch = await submit('move_queue', { all: true }, { queue: 'slow' })
  const handed: string[] = []
  const sessions = await database.connections(3)
  const claimers = sessions.map(async sql => {
    const runtime = await database.engine.runtimeStart('claimer')
    while (handed.length < ids.length) handed.push(...(await claim(sql, runtime, 7)))
  })
  const done = await finish(batch)
  await Promise.all(claimers)
  expect([...handed].sort()).toEqual([...ids].sort())
  expect(done.changed + done.refused).toBe(done.matched)
})

/** As {@link finish}, though another process may be at it. */
async function finishBusy({ id }: Batch): Promise<Batch> {
  for (;;) {
    const batch = await batches().step(id)
    if (batch !== undefined && batch.state !== 'running') return batch
    if (batch === undefined) await database.sql`select from millrace.batch where id = ${id} for update`
  }
}
