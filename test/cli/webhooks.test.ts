// `millrace webhook`: endpoints kept by hand, against a real dispatcher and a real server at the other end.

import { deriveSealingKeyring, formatKeyring } from 'millrace/protocol'
import { expect, test, vi } from 'vitest'
import { type CliOptions, runCli } from '../support/cli.ts'
import type { Received } from '../support/function-server.ts'
import { keyring } from '../support/ingress.ts'
import { headersOf, startWebhookReceiver, verified, webhookDeployment } from '../support/webhook-product.ts'

// A process takes a third of a second, and several where the machine is busy.
vi.setConfig({ testTimeout: 120_000 })

const env = { MILLRACE_SEALING_KEYS: formatKeyring(deriveSealingKeyring(keyring)), USER: 'ann' }

async function deployed() {
  const deployment = await webhookDeployment()
  const { url: DATABASE_URL } = deployment.database
  const millrace = (command: string, options: CliOptions = {}) =>
    runCli(['webhook', ...command.split(' ')], { ...options, env: { DATABASE_URL, ...env, ...options.env } })
  const json = async (command: string) => {
    const { status, stdout, stderr } = await millrace(`${command} --json`)
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    return JSON.parse(stdout)
  }
  return { ...deployment, millrace, json, shop: await startWebhookReceiver() }
}

const failure = (code: string, status = 1) => ({ status, stderr: expect.stringContaining(`[${code}]`) })
const idOf = (received: Received) => headersOf(received)['webhook-id']

test('an endpoint is made, tried, given another secret, changed, listed and deleted', async () => {
  const { millrace, json, known, shop } = await deployed()
  const made = await millrace(`create shop ${shop.url} --event completed --event failed --tenant acme`)
  expect(made).toMatchObject({ status: 0, stdout: expect.stringMatching(/^whsec_\S{44}\n$/) })
  expect(made.stderr).toBe(`shop, ${shop.url}: its secret is shown this one time\n`)
  const tried = await millrace('test shop --wait')
  expect(tried).toMatchObject({ status: 0, stdout: expect.stringMatching(/state +delivered\nanswer +204\n/) })
  expect(verified(made.stdout.trim(), await shop.received.first({}))).toMatchObject({ type: 'webhook.test' })

  const rotated = await known(() => millrace('rotate shop --grace 2h'))
  expect(rotated.stderr).toMatch(/^shop, .*\n1 before it signs along until \d{4}-/)
  await json('test shop')
  const [, both] = (await shop.received.until({}, 2)) as [Received, Received]
  for (const secret of [made.stdout, rotated.stdout]) expect(verified(secret.trim(), both)).toBeDefined()

  expect(await json('update shop --event waiting --kind render --all-tenants --description till')).toMatchObject({
    ...{ events: ['waiting'], kinds: ['render'], tenant: null, description: 'till', url: shop.url },
  })
  const [list, shown, text] = await Promise.all([
    json('list --state enabled'),
    json('show shop'),
    millrace('show shop'),
  ])
  expect(list).toMatchObject({ items: [{ name: 'shop', last_success_at: expect.any(String) }], cursor: null })
  expect(shown.secrets).toMatchObject([{ sealed: true, expires_at: null }, { sealed: true }])
  expect(text.stdout).toMatch(/^endpoint +shop\nurl +http[\s\S]*SECRET +SIGNS UNTIL +SEALED\n.*it is replaced +yes\n/)
  for (const secret of [made.stdout, rotated.stdout]) expect(JSON.stringify(shown)).not.toContain(secret.trim())

  expect(await millrace('delete shop')).toMatchObject({ status: 2, stderr: expect.stringContaining('--yes is needed') })
  expect(await json('delete shop --yes')).toEqual({ name: 'shop', deleted: true })
  expect(await millrace('show shop')).toMatchObject(failure('not_found'))
})

test('failures are shown; 410 disables; what was missed is sent again under the same webhook-ids', async () => {
  const { database, millrace, json, ended, known, shop } = await deployed()
  await database.sql`update millrace.setting set value = 1 where name = 'webhook_max_attempts'`
  const { secret } = await json(`create shop ${shop.url}`)
  shop.answers({ status: 500, body: 'the till\nis closed' })
  await database.enqueueMany('render', 120)
  await ended('failed', 120)
  const [failed, text, one] = await Promise.all([
    json('deliveries shop --state failed --all'),
    millrace('deliveries shop --limit 1'),
    json('deliveries --since 1h --limit 2'),
  ])
  expect(failed.items).toHaveLength(120)
  expect(failed.items[0]).toMatchObject({
    status: 500,
    response: 'the till\nis closed',
    latency_ms: expect.any(Number),
  })
  expect(text.stdout).toMatch(/ shop +job\.completed +\d+ +failed +500 +\d+ +the till is closed\n$/)
  expect(one).toMatchObject({ items: { length: 2 }, cursor: expect.any(String) })

  shop.answers({ status: 410 })
  expect(await millrace('test shop --wait')).toMatchObject(failure('undelivered'))
  expect(await millrace('test shop')).toMatchObject(failure('endpoint_disabled'))
  expect(await millrace('redeliver shop --yes')).toMatchObject(failure('endpoint_disabled'))
  expect(await millrace('list')).toMatchObject({ stdout: expect.stringContaining('disabled (gone)') })

  shop.answers({ status: 204 })
  expect((await known(() => json('enable shop'))).state).toBe('enabled')
  const before = shop.received.all.length
  expect(await millrace('redeliver shop')).toMatchObject({
    ...{ status: 2, stderr: expect.stringContaining('This sends again all that failed to shop.') },
  })
  const again = await millrace('redeliver shop --since 1h --yes')
  expect(again).toMatchObject({ status: 0, stdout: '121 sent again\n' })
  expect(again.stderr).toContain('100 sent again so far, 0 not\n')
  await ended('completed', 121)
  const received = shop.received.all.slice(before)
  const told = received.filter(one => verified(secret, one).type === 'job.completed')
  expect(told.map(idOf).toSorted()).toEqual(failed.items.map(({ message }: { message: string }) => message).toSorted())

  const { job } = failed.items[0]
  expect(await json(`redeliver --job ${job}`)).toEqual({ redelivered: 1, jobs: [expect.any(Number)] })
  expect(await millrace(`redeliver --job ${job} --job 987654`)).toMatchObject(failure('not_found'))
})

test('what makes no sense is refused, and nothing is changed', async () => {
  const { database, millrace, json, shop } = await deployed()
  const subscription = { name: 'declared', url: shop.url, secret: `whsec_${btoa('x'.repeat(24))}` }
  await database.declare([], [subscription])
  await json('create shop https://shop.example/hooks')
  const before = await json('list')
  const declared = failure('endpoint_declared')
  const invalid = failure('invalid_endpoint')
  const cases: [command: string, expected: object][] = [
    ['create', failure('usage', 2)],
    [`create new ${shop.url} --event finished`, failure('usage', 2)],
    ['create new ftp://shop.example/', invalid],
    ['create new https://10.0.0.1/', invalid],
    ['create new https://ann:secret@shop.example/', invalid],
    ['create new https://shop.example/ --allow-targets nowhere', failure('usage', 2)],
    ['create shop https://shop.example/', failure('endpoint_exists')],
    ['update shop', failure('usage', 2)],
    ['update declared --description x', declared],
    ['rotate declared', declared],
    ['delete declared --yes', declared],
    ['test unknown', failure('not_found')],
    ['deliveries --state lost', failure('usage', 2)],
    ['redeliver', failure('usage', 2)],
    ['redeliver unknown --yes', failure('not_found')],
  ]
  const answers = await Promise.all(cases.map(([command]) => millrace(command)))
  for (const [n, [command, expected]] of cases.entries()) {
    expect({ command, ...answers[n] }).toMatchObject({ command, ...expected })
  }
  expect(await json('list')).toEqual(before)
})

test('v1a prints the public key; without sealing keys it is said that secrets are not sealed, and later they can be', async () => {
  const { millrace, json, shop } = await deployed()
  const made = await millrace(`create shop ${shop.url} --signature v1a`, { env: { MILLRACE_SEALING_KEYS: '' } })
  expect(made).toMatchObject({ status: 0, stdout: expect.stringMatching(/^whpk_\S{44}\n$/) })
  expect(made.stderr).toContain('see millrace keys sealing')
  expect(await json('reseal')).toEqual({ resealed: 1, unreadable: [] })
  expect(await millrace('reseal', { env: { MILLRACE_SEALING_KEYS: '' } })).toMatchObject(
    failure('invalid_configuration'),
  )
})
