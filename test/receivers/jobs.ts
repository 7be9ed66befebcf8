// What every example of a receiver must be able to do, in whatever language.

import { expect } from 'vitest'
import { type ReceiverProcess, startReceiver, workWith } from '../support/example-receiver.ts'
import { sendRaw } from '../support/raw-http.ts'

/** Jobs through a real dispatcher and ingress: done, failed for good, snoozed and done, in callback and in sync mode. */
export async function runJobs(name: string, receiver: ReceiverProcess): Promise<void> {
  const { database, work, heard } = await workWith(await startReceiver(receiver), name)
  const { enqueue, job } = database
  const callback = [
    await enqueue(`double_${name}`, { n: 21, text: 'Größe 𝄞' }),
    await enqueue(`double_${name}`, { fail: 'no paper' }),
    await enqueue(`double_${name}`, { n: 4, snooze: 1 }),
  ] as const
  const sync = [
    await enqueue(`double_${name}_sync`, { n: 8 }),
    await enqueue(`double_${name}_sync`, { fail: 'no ink' }),
  ] as const
  const unknown = await enqueue('unheard_of', {})

  await work.closed(sync[0], 'completed')
  expect(await job(sync[0])).toMatchObject({ state: 'completed', result: { double: 16 } })
  await work.closed(sync[1], 'failed')
  expect(await job(sync[1])).toMatchObject({ attempt: 1, state: 'failed' })
  await work.closed(unknown, 'failed')
  expect(await job(unknown)).toMatchObject({ errors: [{ code: 'http_501' }] })

  await heard.until({ action: 'complete', status: 200 }, 2)
  await heard.until({ action: 'fail', outcome: 'failed' })
  expect(await job(callback[0])).toMatchObject({ state: 'completed', result: { double: 42 } })
  expect(await job(callback[1])).toMatchObject({ state: 'failed', errors: [{ message: 'no paper' }] })
  expect(await job(callback[2])).toMatchObject({ state: 'completed', result: { double: 8 }, errors: [] })
  expect(heard.of({ action: 'fail', outcome: 'available' })).toHaveLength(1)
  expect(heard.all.filter(({ status }) => status !== 200)).toEqual([])
}

/** Requests that no dispatcher of ours has sent. */
export async function refuseStrangers(receiver: ReceiverProcess): Promise<void> {
  const base = await startReceiver(receiver)
  const body = [JSON.stringify({ job_id: 1, kind: 'double', args: {}, attempt: 1, max_attempts: 1 })]
  for (const change of [{ headers: { 'millrace-signature': undefined } }, { sent: ['{}'] }, { signedPath: '/other' }]) {
    const { status, headers } = await sendRaw(base, { body, ...change })
    expect([status, headers['millrace-no-retry']]).toEqual([401, 'false'])
  }
  expect((await sendRaw(base, { method: 'PUT', body })).status).not.toBe(200)
}
