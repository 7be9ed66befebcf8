// Webhook endpoints as operators keep them, and as manifests declare them: what signs, for how long, and whom they hear of.

import { defineManifest, type Manifest, syncManifest } from 'millrace'
import { admin } from 'millrace/admin'
import {
  deriveSealingKeyring,
  generateKeyring,
  generateWebhookKeyPair,
  generateWebhookSecret,
  unseal,
} from 'millrace/protocol'
import { describe, expect, it } from 'vitest'
import { claimAll, close, only, running, useEngine } from '../support/engine-database.ts'

const database = useEngine()
const url = 'https://shop.example/hooks'
const sealingKeys = deriveSealingKeyring(generateKeyring())

const endpoints = () => admin(database.sql).endpoints
const secretsOf = async (name: string): Promise<string[]> => {
  const [route] = await database.engine.deliveryRoutes([name])
  return [...(route?.secrets ?? [])]
}
/** As if that much time had passed for its secrets. */
const age = (name: string, seconds: number) => database.sql`
  update millrace.endpoint_secret set expires_at = expires_at - make_interval(secs => ${seconds}) where endpoint = ${name}`
const refused = (code: string) => expect.objectContaining({ code })

describe('an endpoint', () => {
  it('is made with a secret of its own, which is told once', async () => {
    const made = await endpoints().create({
      name: 'shop',
      url,
      tenant: 'acme',
      kinds: ['a,b', 'c'],
      description: 'the shop',
    })
    expect(made).toMatchObject({
      ...{ name: 'shop', url, tenant: 'acme', kinds: ['a,b', 'c'], events: ['completed', 'failed', 'cancelled'] },
      ...{ signature: 'v1', source: null, state: 'enabled', description: 'the shop', last_success_at: null },
    })
    expect(made.secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/)
    expect(await secretsOf('shop')).toEqual([made.secret])
    const { secret, ...view } = made
    expect(await endpoints().get('shop')).toEqual(view)
    expect(JSON.stringify(view)).not.toContain(secret)
  })

  it('may be made in plain SQL, with a secret of its own as well', async () => {
    const [row] = await database.sql`select millrace.endpoint_create('plain', ${url}) as made`
    expect(row?.made.secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/)
    expect(await secretsOf('plain')).toEqual([row?.made.secret])
  })

  it('may sign with Ed25519: its receiver is told the public key, the database keeps the private one', async () => {
    const made = await endpoints().create({ name: 'shop', url, signature: 'v1a' })
    expect(made).toMatchObject({ signature: 'v1a', public_key: expect.stringMatching(/^whpk_/) })
    expect(made).not.toHaveProperty('secret')
    expect(only(await secretsOf('shop'))).toMatch(/^whsk_/)
  })

  it('may be given its secret, and is then not told it', async () => {
    const secret = generateWebhookSecret()
    expect(await endpoints().create({ name: 'shop', url, secret })).not.toHaveProperty('secret')
    expect(await secretsOf('shop')).toEqual([secret])
  })

  it('keeps its secret sealed where there are keys for that', async () => {
    const { endpoints } = admin(database.sql, { sealingKeys })
    const made = await endpoints.create({ name: 'shop', url })
    expect(made.secrets).toEqual([expect.objectContaining({ sealed: true, expires_at: null })])
    const stored = only(await secretsOf('shop'))
    expect(stored).not.toContain(made.secret)
    expect(await unseal(sealingKeys, 'shop', stored)).toBe(made.secret)
  })

  it('is changed in what is given, and keeps the rest', async () => {
    await endpoints().create({ name: 'shop', url, tenant: 'acme', kinds: ['a'] })
    const changed = await endpoints().update('shop', { events: ['waiting'], kinds: null })
    expect(changed).toMatchObject({ url, tenant: 'acme', kinds: null, events: ['waiting'] })
    expect(await endpoints().update('other', { kinds: null })).toBeUndefined()
  })

  it('is deleted with its secrets', async () => {
    await endpoints().create({ name: 'shop', url })
    expect(await endpoints().delete('shop')).toBe(true)
    expect(await endpoints().delete('shop')).toBe(false)
    expect(await database.sql`select from millrace.endpoint_secret`).toHaveLength(0)
  })

  it.each([
    [{ name: '' }, 'name has 1 to 200'],
    [{ name: '..' }, 'not . or ..'],
    [{ url: 'shop.example' }, 'url is an absolute'],
    [{ url: `https://${'a'.repeat(2000)}` }, 'url is an absolute'],
    [{ tenant: '' }, 'tenant has'],
    [{ kinds: [] }, 'kinds is empty'],
    [{ events: [] }, 'events are some of'],
    [{ events: ['finished'] }, 'events are some of'],
    [{ description: 'x'.repeat(1001) }, 'description has'],
    [{ secret: 'whsec_c2hvcnQ=' }, 'secret is whsec_'],
    [{ secret: 'whsk_c2hvcnQ=' }, 'secret is whsk_'],
    [{ secret: 'hunter2' }, 'secret is whsec_'],
    [{ signature: 'v2', secret: 'x' }, 'signature is v1 or v1a'],
  ])('is refused with %j', async (part, message) => {
    const made = endpoints().create({ name: 'shop', url, ...part } as never)
    await expect(made).rejects.toMatchObject({ code: 'invalid_endpoint', message: expect.stringContaining(message) })
    await expect(made).rejects.toThrow(/^(?!.*hunter2)/)
  })

  it('has a name that nobody else has', async () => {
    await endpoints().create({ name: 'shop', url })
    await expect(endpoints().create({ name: 'shop', url })).rejects.toEqual(refused('endpoint_exists'))
  })

  it('is refused changes that mean nothing', async () => {
    await endpoints().create({ name: 'shop', url })
    await expect(endpoints().update('shop', { uri: url } as never)).rejects.toEqual(refused('invalid_request'))
    await expect(endpoints().update('shop', { url: 'x' })).rejects.toEqual(refused('invalid_endpoint'))
  })

  it('is listed by name, a page at a time, and found by tenant and state', async () => {
    for (const name of ['c', 'a', 'b']) await endpoints().create({ name, url, tenant: name === 'b' ? 'acme' : 'other' })
    await endpoints().disable('c')
    const first = await endpoints().list({}, { limit: 2 })
    expect(first.items.map(({ name }) => name)).toEqual(['a', 'b'])
    const second = await endpoints().list({}, { limit: 2, cursor: first.cursor })
    expect(second).toMatchObject({
      items: [{ name: 'c', state: 'disabled', disabled_reason: 'operator' }],
      cursor: null,
    })
    expect((await endpoints().list({ tenant: 'acme' })).items.map(({ name }) => name)).toEqual(['b'])
    expect((await endpoints().list({ state: 'disabled' })).items.map(({ name }) => name)).toEqual(['c'])
    await expect(endpoints().list({ state: 'gone' as never })).rejects.toEqual(refused('invalid_request'))
    await expect(endpoints().list({ tennant: 'acme' } as never)).rejects.toEqual(refused('invalid_request'))
  })
})

describe('rotation', () => {
  it('lets the old secret sign along for a day, and no longer', async () => {
    const { secret: old } = await endpoints().create({ name: 'shop', url })
    const rotated = await endpoints().rotate('shop')
    expect(await secretsOf('shop')).toEqual([rotated?.secret, old])
    await age('shop', 86_399)
    expect(await secretsOf('shop')).toHaveLength(2)
    await age('shop', 1)
    expect(await secretsOf('shop')).toEqual([rotated?.secret])
  })

  it('may be at once', async () => {
    await endpoints().create({ name: 'shop', url })
    const rotated = await endpoints().rotate('shop', { graceSeconds: 0 })
    expect(await secretsOf('shop')).toEqual([rotated?.secret])
  })

  it('never lengthens the grace of one that goes already', async () => {
    await endpoints().create({ name: 'shop', url })
    await endpoints().rotate('shop', { graceSeconds: 60 })
    await endpoints().rotate('shop', { graceSeconds: 3600 })
    await age('shop', 60)
    expect(await secretsOf('shop')).toHaveLength(2)
  })

  it('changes to Ed25519 and back, both signing meanwhile', async () => {
    const { secret } = await endpoints().create({ name: 'shop', url })
    const asymmetric = await endpoints().rotate('shop', { signature: 'v1a' })
    expect(asymmetric).toMatchObject({ signature: 'v1a', public_key: expect.any(String) })
    expect(await secretsOf('shop')).toEqual([expect.stringMatching(/^whsk_/), secret])
    expect(await endpoints().rotate('shop', { secret: secret as string })).toMatchObject({ signature: 'v1' })
    expect(await secretsOf('shop')).toEqual([secret, expect.stringMatching(/^whsk_/)])
  })

  it('keeps five secrets at most: the oldest gives way', async () => {
    const { secret: first } = await endpoints().create({ name: 'shop', url })
    for (let n = 0; n < 5; n++) await endpoints().rotate('shop')
    const secrets = await secretsOf('shop')
    expect(secrets).toHaveLength(5)
    expect(secrets).not.toContain(first)
  })

  it('of what is not there, or to what is none, does nothing', async () => {
    expect(await endpoints().rotate('shop')).toBeUndefined()
    await endpoints().create({ name: 'shop', url })
    await expect(endpoints().rotate('shop', { secret: 'whsec_' })).rejects.toEqual(refused('invalid_endpoint'))
    await expect(endpoints().rotate('shop', { graceSeconds: -1 })).rejects.toEqual(refused('invalid_endpoint'))
    expect(await secretsOf('shop')).toHaveLength(1)
  })
})

describe('declared by a manifest', () => {
  const secret = generateWebhookSecret()
  const declared = (part: object = {}): Manifest =>
    defineManifest({ subscriptions: [{ name: 'shop', url, secret, ...part }] })
  const sync = (manifest: Manifest, options = {}) => syncManifest(database.sql, manifest, { source: 'app', ...options })

  it('it is changed there only, but switched off and on by operators', async () => {
    await sync(declared({ tenant: 'acme', description: 'the shop' }))
    expect(await endpoints().get('shop')).toMatchObject({ source: 'app', tenant: 'acme', description: 'the shop' })
    await expect(endpoints().update('shop', { url })).rejects.toEqual(refused('endpoint_declared'))
    await expect(endpoints().rotate('shop')).rejects.toEqual(refused('endpoint_declared'))
    await expect(endpoints().delete('shop')).rejects.toEqual(refused('endpoint_declared'))
    expect(await endpoints().disable('shop')).toMatchObject({ state: 'disabled' })
    expect(await endpoints().enable('shop')).toMatchObject({ state: 'enabled', disabled_reason: null })
  })

  it('a changed secret signs from now on, the old one along with it for a day, or for as long as is declared', async () => {
    const [next, last] = [generateWebhookSecret(), generateWebhookSecret()]
    await sync(declared())
    await sync(declared({ secret: next }))
    expect(await secretsOf('shop')).toEqual([next, secret])
    await age('shop', 86_400)
    await sync(declared({ secret: last, graceSeconds: 0 }))
    expect(await secretsOf('shop')).toEqual([last])
  })

  it('synced again it changes nothing, sealed or not', async () => {
    await sync(declared())
    expect(await sync(declared())).toMatchObject({ changed: false })
    await sync(declared({ graceSeconds: 0 }), { sealingKeys })
    expect(await sync(declared({ graceSeconds: 0 }), { sealingKeys })).toMatchObject({ changed: false })
    expect(await sync(declared({ graceSeconds: 0, events: ['failed'] }), { sealingKeys })).toMatchObject({
      changed: true,
    })
    expect(await unseal(sealingKeys, 'shop', only(await secretsOf('shop')))).toBe(secret)
  })

  it('no secret stands in the manifest that is kept, and none anywhere once they are sealed', async () => {
    const { privateKey } = await generateWebhookKeyPair()
    await sync(declared())
    await sync(declared({ secret: privateKey, graceSeconds: 0 }), { sealingKeys })
    const rows = await database.sql`
      select to_jsonb(m)::text as text from millrace.manifest m union all select to_jsonb(s)::text from millrace.endpoint_secret s`
    expect(rows.length).toBeGreaterThan(2)
    for (const { text } of rows) {
      expect(text).not.toContain(secret.slice(6, 30))
      expect(text).not.toContain(privateKey.slice(5, 30))
    }
    expect(await endpoints().get('shop')).toMatchObject({ signature: 'v1a' })
  })

  it('what has become of it stays, unless its url changes', async () => {
    await sync(declared())
    await database.sql`update millrace.endpoint set failing_since = now(), disabled_at = now(), disabled_reason = 'gone'`
    await sync(declared({ events: ['failed'] }))
    expect(await endpoints().get('shop')).toMatchObject({ state: 'disabled', disabled_reason: 'gone' })
    await sync(declared({ url: `${url}/new` }))
    expect(await endpoints().get('shop')).toMatchObject({ state: 'enabled', failing_since: null })
    await endpoints().disable('shop')
    await sync(declared())
    expect(await endpoints().get('shop')).toMatchObject({ state: 'disabled', disabled_reason: 'operator' })
  })

  it('an operator has its name already: refused', async () => {
    await endpoints().create({ name: 'shop', url })
    await expect(sync(declared())).rejects.toMatchObject({
      code: 'invalid_declaration',
      message: expect.stringContaining('declared by an operator'),
    })
  })

  it.each([
    [{ tenant: '' }, 'tenant has'],
    [{ graceSeconds: -1 }, 'graceSeconds is'],
    [{ secret: `whsk_${btoa('x'.repeat(31))}` }, 'whsk_ and 32 or 64'],
    [{ description: 'x'.repeat(1001) }, 'description has'],
  ])('is refused with %j', (part, message) => {
    expect(() => declared(part)).toThrow(
      expect.objectContaining({ code: 'invalid_declaration', message: expect.stringContaining(message) }),
    )
  })
})

describe('an event is heard by', () => {
  const heardBy = async (metadata?: object): Promise<string[]> => {
    const job = await running(database, metadata && { metadata })
    await close(database, job, { kind: 'completed' })
    return (await claimAll(database)).map(({ args }) => JSON.parse(args).endpoint)
  }

  it("endpoints of the job's tenant, and those of none", async () => {
    await endpoints().create({ name: 'all', url })
    await endpoints().create({ name: 'acme', url, tenant: 'acme' })
    await endpoints().create({ name: 'other', url, tenant: 'other' })
    expect(await heardBy({ tenant: 'acme' })).toEqual(['acme', 'all'])
    expect(await heardBy({ tenant: 'new' })).toEqual(['all'])
    expect(await heardBy()).toEqual(['all'])
  })

  it('those that ask for its kind and for what happened', async () => {
    await endpoints().create({ name: 'kind', url, kinds: ['resize'] })
    await endpoints().create({ name: 'other kind', url, kinds: ['shrink'] })
    await endpoints().create({ name: 'other event', url, events: ['failed'] })
    expect(await heardBy()).toEqual(['kind'])
  })

  it('its tenant alone, as quickly, with ten thousand endpoints of others', async () => {
    const session = await database.connect()
    const pages = async () => {
      await claimAll(database) // the delivery that the one before made
      const { segment, id, attempt } = await running(database, { metadata: { tenant: 'acme' } })
      const rows = await session<{ 'QUERY PLAN': [{ Plan: Record<string, number> }] }[]>`
        explain (analyze, buffers, timing off, format json) select from millrace.close(
          array[${segment}::text::bigint], array[${id}::text::bigint], array[${attempt}::int], '{completed}')`
      const { Plan } = only(rows)['QUERY PLAN'][0]
      return (Plan['Shared Hit Blocks'] ?? 0) + (Plan['Shared Read Blocks'] ?? 0)
    }
    await endpoints().create({ name: 'acme', url, tenant: 'acme' })
    for (let n = 0; n < 8; n++) await pages()
    const few = await pages()
    await database.sql`
      insert into millrace.endpoint (name, tenant, events, url)
      select 'e' || n, 't' || n, '{completed}', 'https://a.example' from generate_series(1, 10000) n`
    await database.sql`analyze millrace.endpoint`
    for (let n = 0; n < 8; n++) await pages()
    expect(await pages()).toBeLessThan(few + 25)
    await claimAll(database)
    expect(await heardBy({ tenant: 'acme' })).toContain('acme')
  })
})

describe('secrets at rest', () => {
  it('go under another key, and those that stood there plainly go under one, without a change for receivers', async () => {
    const [older, newer] = [generateKeyring('k1'), generateKeyring('k2')].map(deriveSealingKeyring)
    if (!older || !newer) throw new Error('two keyrings')
    const both = { keys: [...newer.keys, ...older.keys] } as const satisfies object as typeof older
    const [sealed, plain] = [generateWebhookSecret(), generateWebhookSecret()]
    const by = (keys?: typeof older) => admin(database.sql, { sealingKeys: keys, by: 'ann' }).endpoints
    await by(older).create({ name: 'shop', url, secret: sealed })
    await by().create({ name: 'plain', url, secret: plain })

    await expect(by().reseal()).rejects.toEqual(refused('invalid_configuration'))
    expect(await by(newer).reseal()).toEqual({ resealed: 1, unreadable: ['shop'] })
    expect(await by(both).reseal()).toEqual({ resealed: 1, unreadable: [] })
    expect(await by(both).reseal()).toEqual({ resealed: 0, unreadable: [] })
    expect(await unseal(newer, 'shop', only(await secretsOf('shop')))).toBe(sealed)
    expect(await unseal(newer, 'plain', only(await secretsOf('plain')))).toBe(plain)
    const audited =
      await database.sql`select actor, detail from millrace.audit_log where action = 'endpoint.reseal' order by id`
    expect(audited).toEqual(['plain', 'shop'].map(endpoint => ({ actor: 'ann', detail: { endpoint } })))
  })

  it('are not taken when they are not sealed, or were changed meanwhile', async () => {
    const [{ secret }, text] = [await endpoints().create({ name: 'shop', url }), `sealed:k1:${'A'.repeat(60)}`]
    const [row] = await database.sql`select id from millrace.endpoint_secrets()`
    const reseal = (was: string, to: string) =>
      database.sql`select millrace.endpoint_reseal(${row?.id}, ${was}, ${to}) as done`
    await expect(reseal(secret ?? '', generateWebhookSecret())).rejects.toMatchObject({
      constraint_name: 'invalid_endpoint',
    })
    expect(await reseal('whsec_other', text)).toEqual([{ done: false }])
    expect(await secretsOf('shop')).toEqual([secret])
  })
})
