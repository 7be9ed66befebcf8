// The same from outside: the roles at work, each of which ends attempts in its own way, and what was declared follows.

import { defineManifest, from, syncManifest, toSql } from 'millrace'
import { generateWebhookSecret } from 'millrace/protocol'
import * as v from 'valibot'
import { expect, test } from 'vitest'
import { SqlEngine } from '../../core/sql-engine.ts'
import { events, followed, tell } from '../support/follow-ups.ts'
import { callBack, startFunctionServer } from '../support/function-server.ts'
import { startIngress } from '../support/ingress.ts'
import { freshDatabase } from '../support/maintenance.ts'
import { useRoles } from '../support/roles.ts'
import { startWebhookEndpoint } from '../support/webhook-endpoint.ts'

/** A user for every role. */
const roles = useRoles()

/** Functions for jobs, and one for what follows them. */
async function functions(answer: Parameters<typeof startFunctionServer>[0]) {
  const [fn, after] = [await startFunctionServer(answer), await startFunctionServer()]
  return { fn, after, afterKind: { name: 'after', target: { url: after.url, mode: 'sync' } } as const }
}

test('the dispatcher, by a function’s answer: what follows is dispatched in its turn', async () => {
  const database = await freshDatabase()
  const { fn, after, afterKind } = await functions((_, nth) =>
    nth === 1 ? { status: 500 } : { body: { file: 'a.pdf' } },
  )
  const followUps = tell({ file: from('result.file', { default: null }) })
  await database.declare([{ name: 'render', target: { url: fn.url, mode: 'sync' }, followUps }, afterKind])
  await database.maintain({ listen: true })
  const id = await database.enqueue('render')
  const told = await after.received.until({}, 2)
  expect(told.map(({ body }) => body.args)).toEqual([
    { event: 'retried', job: Number(id), file: null },
    { event: 'completed', job: Number(id), file: 'a.pdf' },
  ])
})

test('the ingress, which has nothing but a database: accepted, completed and failed', async () => {
  const database = await freshDatabase()
  const { fn, after, afterKind } = await functions(() => ({ status: 202 }))
  const ingress = await startIngress(toSql(database.sql))
  await database.declare([
    { name: 'render', maxAttempts: 1, target: { url: fn.url }, followUps: tell({ n: from('args.n') }) },
    afterKind,
  ])
  const work = await database.maintain({ listen: true, callbackUrl: ingress.url })
  await database.enqueue('render', { n: 1 })
  await database.enqueue('render', { n: 2 })
  await after.received.until({}, 2) // both are accepted: their waiting is told of
  await work.stop() // from here on there is no dispatcher
  for (const request of fn.received.all) {
    const { n } = request.body.args as { n: number }
    await callBack(request, n === 1 ? 'complete' : 'fail', n === 1 ? { payload: {} } : { error: 'out of paper' })
  }
  const told = (await followed(database.sql)).map(({ event, n }) => `${event} ${n}`)
  expect(told.toSorted()).toEqual(['completed 1', 'failed 2', 'waiting 1', 'waiting 2'])
})

test('rescue, at its turn in maintenance; webhooks tell of the same', async () => {
  const database = await freshDatabase()
  const secret = generateWebhookSecret()
  const [fn, shop] = [await startFunctionServer(() => ({ status: 202 })), await startWebhookEndpoint(secret)]
  await database.declare(
    [
      {
        ...{ name: 'render', maxAttempts: 1, followUps: tell() },
        target: { url: fn.url, callbackTimeoutSeconds: 0.001 },
      },
    ],
    [{ name: 'shop', url: shop.url, secret, events: ['waiting', 'retried', 'rescued', 'failed'] }],
  )
  await database.maintain({ listen: true, callbackUrl: 'http://127.0.0.1:9' })
  await database.enqueue('render')
  const told = await shop.deliveries.until({}, 3)
  expect(told.map(({ event }) => [event.type, event.data.state, event.data.reason]).toSorted()).toEqual([
    ['job.failed', 'failed', undefined],
    ['job.rescued', 'failed', 'callback_timeout'],
    ['job.waiting', 'waiting_external', undefined],
  ])
  expect((await events(database.sql)).toSorted()).toEqual(['failed', 'rescued', 'waiting'])
})

test('an ingress whose user of the database may do nothing but close: not even enqueue', async () => {
  await syncManifest(
    roles.as('deployer'),
    defineManifest({ kinds: [{ name: 'resize', args: v.any(), followUps: tell({ result: from('result') }) }] }),
  )
  await roles.as('enqueuer')`select millrace.enqueue('resize', '{}')`
  const engine = new SqlEngine(toSql(roles.as('maintenance')))
  const [claimed] = await engine.claim(await engine.runtimeStart('test'), 1)
  if (claimed === undefined) throw new Error('Nothing could be claimed')
  const ingress = await startIngress(toSql(roles.as('ingress')))
  await expect(roles.as('ingress')`select millrace.enqueue('after', '{}')`).rejects.toMatchObject({ code: '42501' })
  expect(await ingress.call(claimed, 'complete', { body: { payload: 'printed' } })).toMatchObject({ status: 200 })
  expect(await followed(roles.sql)).toEqual([{ event: 'completed', job: Number(claimed.id), result: 'printed' }])
})
