// What is shot at: a real database with jobs in every state, and both doors over it, in this process and on ports.

import type { StandardSchemaV1 as Standard } from '@standard-schema/spec'
import { defineKind, defineManifest, syncManifest, toSql } from 'millrace'
import { admin } from 'millrace/admin'
import { apiApp } from 'millrace/api'
import { type AttemptRef, callbacks, requestLimits, SqlEngine } from 'millrace/callbacks'
import { serveNode } from 'millrace/node'
import { parseKeyring } from 'millrace/protocol'
import type { TestDatabase } from 'millrace/testing'
import type postgres from 'postgres'
import { arrayLiteral } from '../core/sql.ts'
import { type Digest, digester } from './digest.ts'
import type { Door, Target } from './shot.ts'

/** The deployment's keys, and those of another one. */
export const keyring = parseKeyring(`k1:${'07'.repeat(32)},k0:${'08'.repeat(32)}`)
export const foreign = parseKeyring(`k1:${'09'.repeat(32)}`)

const keyOf = (letter: string): string => `mk_${letter.repeat(43)}`
export const KEYS = { all: keyOf('a'), enqueue: keyOf('e'), read: keyOf('r'), operate: keyOf('o') } as const
const apiKeys = `${KEYS.all};${KEYS.enqueue}:enqueue;${KEYS.read}:read;${KEYS.operate}:operate`

export const MAX_BODY_BYTES = 64 * 1024
export const TENANT = 'acme'
/** Stands in the arguments of all jobs but the tenant's. */
export const SECRET = 'not for acme'
const STATES = 8

export interface World {
  readonly sql: postgres.Sql
  readonly targets: Readonly<Record<Door, Target>>
  /** Of the tenant, of the database; and what is left of one that was revoked, and one that has expired. */
  readonly keys: { readonly tenant: string; readonly dead: readonly string[] }
  /** Attempts that may be shot at, whatever has become of them. */
  readonly attempts: AttemptRef[]
  /** Jobs of others, which nobody who is no operator may change. */
  readonly bystanders: string[]
  /** Jobs that ended as dead letters, anybody's. */
  readonly dead: string[]
  /** Jobs in every state. */
  refill(): Promise<void>
  digest(): Promise<Digest>
  /** What is known of the bystanders, and of endpoints that are not the tenant's. */
  standing(): Promise<string>
  close(): Promise<void>
}

export async function makeWorld(database: TestDatabase): Promise<World> {
  const { sql } = database
  const engine = new SqlEngine(toSql(sql))
  await declare(sql)
  const keys = await makeKeys(sql)
  const served = await serveBoth(sql)
  const [attempts, bystanders, dead]: [AttemptRef[], string[], string[]] = [[], [], []]
  const digest = await digester(sql)

  /** A job for each state; the attempts of those that ran. */
  async function fill(metadata: { readonly tenant?: string }): Promise<{ ids: string[]; claimed: AttemptRef[] }> {
    const jobs = Array.from({ length: STATES }, (_, n) => ({
      ...{
        kind: 'work',
        args: { n, ...(metadata.tenant !== TENANT && { secret: SECRET }) },
        metadata,
        max_attempts: n === 7 ? 1 : 5,
        tags: ['fuzz'],
      },
      ...(n === 0 && { delay_seconds: 3600 }),
    }))
    const rows = await sql<{ id: string }[]>`
      select id::text from millrace.enqueue_many(${JSON.stringify(jobs)}::text::jsonb) as id`
    const ids = rows.map(({ id }) => id)
    const claimed = (await engine.claim(await engine.runtimeStart('fuzz'), 1_000)).map(
      ({ segment, id, attempt }): AttemptRef => ({ segment, id, attempt }),
    )
    await bringAbout(
      engine,
      claimed.filter(({ id }) => ids.includes(id)),
    )
    return { ids, claimed }
  }

  return {
    ...{ sql, keys, attempts, bystanders, dead, digest, targets: served.targets },
    async refill() {
      await ownedAgain(sql)
      for (const metadata of [{}, { tenant: TENANT }]) attempts.push(...(await fill(metadata)).claimed)
      attempts.splice(0, attempts.length - 60)
      bystanders.push(...(await fill({ tenant: 'other' })).ids)
      bystanders.splice(0, bystanders.length - STATES)
      const rows = await sql<{ id: string }[]>`select id::text from millrace.dead_letter order by id desc limit 8`
      dead.splice(0, dead.length, ...rows.map(({ id }) => id))
    },
    async standing() {
      const [row] = await sql<{ known: string }[]>`
        select string_agg(coalesce(millrace.job_detail(id::bigint)::text, 'none'), ',' order by id) as known
        from unnest(${arrayLiteral(bystanders)}::text::text[]) id`
      const endpoints = await sql`
        select to_jsonb(e) as endpoint, (select count(*) from millrace.endpoint_secret s where s.endpoint = e.name) as secrets
        from millrace.endpoint e where tenant is distinct from ${TENANT} order by name`
      return `${row?.known} ${JSON.stringify(endpoints)}`
    },
    async close() {
      await served.close()
      await database.drop()
    },
  }
}

/** The first is left running; a job of whose state there is no claimed one is scheduled. */
async function bringAbout(engine: SqlEngine, claimed: readonly AttemptRef[]): Promise<void> {
  const [, accepted, waits, done, failed, retried, last] = claimed
  if (accepted) await engine.park([accepted], 3600)
  if (waits) {
    const rules = { filter: 'payload.ok == true', transform: '{"got": payload}' }
    await engine.wait({ ...waits, name: 'paid', timeoutSeconds: 3600, onTimeout: 'fail', rules })
  }
  const error = { code: 'reported', message: 'no' }
  await engine.close([
    ...(done ? [{ ...done, outcome: { kind: 'completed' as const, result: { ok: true } } }] : []),
    ...(failed ? [{ ...failed, outcome: { kind: 'failed' as const, error, retryable: false } }] : []),
    ...[retried, last].flatMap(ref =>
      ref ? [{ ...ref, outcome: { kind: 'failed' as const, error, retryable: true } }] : [],
    ),
  ])
}

const any: Standard = { '~standard': { version: 1, vendor: 'fuzz', validate: value => ({ value }) } }

async function declare(sql: postgres.Sql): Promise<void> {
  const work = defineKind({
    name: 'work',
    args: any,
    target: { url: 'https://work.example/jobs', mode: 'callback' },
    followUps: [{ on: ['completed', 'failed'], enqueue: 'after', args: { of: { $path: '$.job_id' } } }],
  })
  await syncManifest(sql, defineManifest({ kinds: [work] }))
}

/** Whatever an operator has done with them. */
async function ownedAgain(sql: postgres.Sql): Promise<void> {
  const { endpoints } = admin(sql)
  for (const [name, tenant] of Object.entries({ others: 'other', own: TENANT })) {
    const url = `https://${name}.example/hooks`
    await endpoints
      .create({ name, url, tenant })
      .catch(() => sql`update millrace.endpoint set tenant = ${tenant} where name = ${name}`)
  }
}

async function makeKeys(sql: postgres.Sql): Promise<World['keys']> {
  const { apiKeys } = admin(sql)
  const scopes = ['enqueue', 'read', 'operate'] as const
  const tenant = await apiKeys.create({ name: 'tenant', scopes, tenant: TENANT })
  const revoked = await apiKeys.create({ name: 'revoked', scopes })
  const expired = await apiKeys.create({ name: 'expired', scopes, expiresSeconds: 60 })
  await apiKeys.revoke(revoked.id)
  await sql`update millrace.api_key set expires_at = now() - interval '1 second' where id = ${expired.id}`
  return { tenant: tenant.key, dead: [revoked.key, expired.key] }
}

async function serveBoth(sql: postgres.Sql) {
  // Rates would refuse what is to be tried; their own tests try them.
  const limits = requestLimits({ requests: false, refused: false, events: false })
  const shared = { limits, maxBodyBytes: MAX_BODY_BYTES }
  const ingress = callbacks({ store: new SqlEngine(toSql(sql)), keyring, ...shared })
  const api = apiApp({ sql, apiKeys, ...shared })
  const errorBody = (code: string, message: string) => ({ error: { code, message } })
  const servers = [
    await serveNode(ingress.fetch, { port: 0 }),
    await serveNode(api.fetch, { port: 0, errorBody, limits: { headerBytes: 48 * 1024 } }),
  ] as const
  return {
    targets: {
      ingress: { fetch: ingress.fetch, url: servers[0].url },
      api: { fetch: api.fetch, url: servers[1].url },
    },
    close: () => Promise.all(servers.map(server => server.close(5))),
  }
}
