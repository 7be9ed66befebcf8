// What operators are shown of follow-ups that could not be enqueued: by the program and by the API.

import { from, type JobEvent } from 'millrace'
import { expect, test } from 'vitest'
import { apiApp } from '../../core/api/app.ts'
import { apiKeys, caller, KEYS } from '../support/api.ts'
import { claimAll, close, completed, enqueue } from '../support/engine-database.ts'
import { follow } from '../support/follow-ups.ts'
import { useOperator } from '../support/operator.ts'

const { database, millrace, json } = useOperator()

test('job show and job problems tell which, of what event, and why; so does the API', async () => {
  const on: JobEvent[] = ['completed']
  await follow(database.sql, [{ on, enqueue: 'mail', args: from('result.to') }])
  const [first, second] = (await enqueue(database.sql, 2)) as [string, string]
  for (const job of await claimAll(database)) await close(database, job, completed)
  const [shown, list, one, text, nothing, wrong] = await Promise.all([
    millrace(`job show ${first}`),
    json('job problems'),
    json(`job problems --job ${first} --follow-up resize#1`),
    millrace('job problems'),
    millrace('job problems --follow-up other'),
    millrace('job problems --job x'),
  ])
  const why = 'missing_path: millrace: the event has nothing at $.result.to'
  expect(shown.stdout).toContain(`Could not follow:\n  resize#1 (completed, attempt 1): ${why}`)
  expect(list.items.map(({ job }: { job: number }) => String(job))).toEqual([second, first])
  expect(one.items).toMatchObject([{ job: Number(first), follow_up: 'resize#1', code: 'missing_path' }])
  expect(text.stdout).toMatch(/^JOB +ATTEMPT +EVENT +FOLLOW-UP +AT +ERROR\n *\d+ +1 +completed +resize#1 /)
  expect(text.stdout).toContain(why)
  expect(nothing).toEqual({ status: 0, stdout: '', stderr: 'Everything could follow\n' })
  expect(wrong).toMatchObject({ status: 2 })

  const app = apiApp({ sql: database.sql, apiKeys })
  const call = caller((path, init) => app.request(path, init))
  const { body } = await call('GET', `/api/follow-up-problems?job=${first}`, { key: KEYS.read })
  expect(body).toEqual({ items: one.items, cursor: null })
  expect((await call('GET', `/api/jobs/${first}`)).body.follow_up_problems).toMatchObject([{ code: 'missing_path' }])
})
