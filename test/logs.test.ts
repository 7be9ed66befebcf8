// What the roles print: none of the secrets and payloads that pass through them, in success and in failure.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { defineManifest, syncManifest, waitFor } from 'millrace'
import { admin } from 'millrace/admin'
import { defineKind, handle, NonRetryableError, serve } from 'millrace/function'
import { deriveDispatchKeyring, eventKey, eventToken, formatKeyring, parseKeyring } from 'millrace/protocol'
import * as v from 'valibot'
import { expect, onTestFinished, test } from 'vitest'
import { program } from './support/cli.ts'
import { useDatabase } from './support/database.ts'
import { listen, listenNode } from './support/http-server.ts'

const database = useDatabase()

const ROOT = '5ec7'.repeat(16)
const keyring = parseKeyring(`k1:${ROOT}`)
const API_KEY = `mk_${'TOPSECRETKEY'.padEnd(43, 'x')}`
/** Everything that must not be printed; all payloads have the mark in them. */
const MARK = 'PAYLOADMARK'
const SECRETS = [ROOT, API_KEY, 'TOPSECRET', MARK, 'whsec_', 'Bearer', 'v1=']

const work = (name: string) => defineKind({ name, args: v.any() })
const [fine, broken, waits] = [work('fine'), work('broken'), work('waits')]

test.each([[['--json', '--log-requests']], [['--log-requests']]])(
  '%j: nothing that is secret',
  { timeout: 60_000 },
  async flags => {
    const { sql, url } = database
    const env = { DATABASE_URL: url, MILLRACE_KEYS: formatKeyring(keyring), MILLRACE_API_KEYS: API_KEY }
    const ingress = await startRole(['callbacks', '--port', '0', '--rate-refused', '1:2', ...flags], env)
    const api = await startRole(['api', '--port', '0', ...flags], env)
    const receiver = serve({
      kinds: [
        handle(fine, async () => ({ result: MARK })),
        handle(broken, async () => {
          throw new NonRetryableError(`${MARK} in an error`)
        }),
        handle(waits, async (_, job) => ({ got: (await job.waitForEvent(`paid`)).payload })),
      ],
      dispatchKeys: formatKeyring(deriveDispatchKeyring(keyring)),
    })
    const functions = await listen(request => receiver.fetch(request))
    const rude = await listenNode(
      createServer(
        (_: IncomingMessage, response: ServerResponse) => void response.writeHead(400).end(`${MARK} says no`),
      ),
    )
    const target = { url: `${functions}/jobs?token=${MARK}`, mode: 'callback' } as const
    const kinds = [
      ...[fine, broken, waits].map(kind => ({ ...kind, target })),
      { ...work('rude'), target: { url: `${rude}/?token=${MARK}`, mode: 'sync' as const } },
      { ...work('away'), target: { url: `http://127.0.0.1:1/?token=${MARK}`, mode: 'sync' as const }, maxAttempts: 1 },
    ]
    await syncManifest(sql, defineManifest({ kinds }))
    const endpoint = `${rude}/hook?token=${MARK}`
    await admin(sql).endpoints.create({ name: `hook ${flags.length}`, url: endpoint, description: MARK })

    const post = (path: string, body: unknown, headers: Record<string, string> = {}) =>
      fetch(path, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: JSON.stringify(body),
      })
    const authorization = { authorization: `Bearer ${API_KEY}` }
    const put = async (kind: string) => {
      const answer = await post(
        `${api.url}/api/jobs`,
        { kind, args: { a: MARK }, metadata: { m: MARK } },
        authorization,
      )
      return String(((await answer.json()) as { id: string }).id)
    }
    const maintain = await startRole(
      ['maintain', '--callback-url', ingress.url, ...flags.filter(flag => flag === '--json')],
      env,
    )
    const ids = {
      fine: await put('fine'),
      broken: await put('broken'),
      waits: await put('waits'),
      rude: await put('rude'),
    }
    await put('away')
    const end = (id: string) => waitFor(sql, id, { timeoutSeconds: 15, pollMs: 50 })
    expect([await end(ids.fine), await end(ids.broken), await end(ids.rude)].map(({ state }) => state)).toEqual([
      'completed',
      'failed',
      'failed',
    ])
    const token = eventToken(eventKey(keyring.keys[0], ids.waits), ids.waits, 'paid')
    expect((await post(`${ingress.url}/api/events/${token}?q=${MARK}`, { card: MARK })).status).toBe(200)
    expect((await end(ids.waits)).state).toBe('completed')

    // Failures of all sorts, with something to hide in each.
    for (const path of [`/api/events/x${token}`, `/api/callbacks/${MARK}/complete?k=${MARK}`, `/${MARK}`]) {
      await post(ingress.url + path, { card: MARK }, { 'millrace-signature': `t=1,v1=${MARK}`, cookie: MARK })
    }
    for (const body of [
      { kind: MARK.repeat(50) },
      { kind: 'a', args: `${MARK}\u0000` },
      { kind: 'a', metadata: MARK },
    ]) {
      await post(`${api.url}/api/jobs?q=${MARK}`, body, authorization)
      await post(`${api.url}/api/jobs`, body, { authorization: `Bearer ${API_KEY}y` })
    }
    // The database has a failure of its own to tell of.
    await sql.unsafe(`alter function millrace.close(bigint[], bigint[], int[], text[], jsonb) rename to close_away`)
    const other = await put('fine')
    await ingress.until(/answered 503|"status":503/)
    await sql.unsafe(`alter function millrace.close_away(bigint[], bigint[], int[], text[], jsonb) rename to close`)
    expect((await end(other)).state).toBe('completed')

    const said = await Promise.all([maintain, ingress, api].map(role => role.stop()))
    const all = said.join('\n')
    for (const secret of SECRETS) expect(all).not.toContain(secret)
    expect(all).not.toContain(token)
    expect(said[0]).toMatch(
      flags.includes('--json') ? /"type":"closed".*"code":"/ : /job \d+ rude: failed \(http_400\)/,
    )
    if (flags.includes('--json')) expectLines(said)
  },
)

interface Role {
  readonly url: string
  /** Resolves once it has printed that. */
  until(pattern: RegExp): Promise<void>
  /** Ends it; answers all that it has printed. */
  stop(): Promise<string>
}

async function startRole(args: readonly string[], env: Record<string, string>): Promise<Role> {
  const child = spawn(process.execPath, ['-C', 'millrace-source', program, ...args], {
    env: { ...process.env, MILLRACE_ALLOW_TARGETS: 'loopback', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  let said = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', piece => (said += piece))
  const closed = once(child, 'close')
  const until = async (pattern: RegExp) => {
    while (!pattern.test(said)) await Promise.race([once(child.stdout, 'data'), once(child.stderr, 'data'), closed])
  }
  await until(/\n/)
  return {
    url: /http:\/\/[\d.:]+/.exec(said)?.[0] ?? '',
    until,
    async stop() {
      child.kill('SIGTERM')
      await closed
      return said
    },
  }
}

/** One object per line, each with time, level and type. */
function expectLines(said: readonly string[]): void {
  for (const line of said.join('\n').split('\n')) {
    if (line === '') continue
    const entry = JSON.parse(line)
    expect(entry).toMatchObject({
      time: expect.stringMatching(/^20.*Z$/),
      level: expect.any(String),
      type: expect.any(String),
    })
  }
}
