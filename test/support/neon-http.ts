// Neon's one-shot HTTP endpoint, as far as the driver uses it: the nearest honest thing to the service, which cannot
// run here. The request and answer shapes are those that the driver sends and reads; behind them is the real Postgres,
// through pg, with values in Postgres's own text form (Neon-Raw-Text-Output) and rows as arrays (Neon-Array-Mode).

import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { json } from 'node:stream/consumers'
import { neonConfig } from '@neondatabase/serverless'
import { Client, DatabaseError } from 'pg'

interface Query {
  readonly query: string
  readonly params: readonly (string | null)[]
}

/** Starts the endpoint and points Neon's driver at it. It connects to databases on `allowed` (`host:port`) only. */
export async function startNeonHttp(allowed: readonly string[]): Promise<AsyncDisposable> {
  const server = createServer((request, response) => {
    answer(request, allowed).then(
      body => send(response, 200, body),
      // The driver makes an error of a 400's fields; anything else is to it a broken server.
      error => send(response, error instanceof DatabaseError ? 400 : 500, { ...error, message: error.message }),
    )
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  neonConfig.fetchEndpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}/sql`
  return {
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise(closed => server.close(closed))
    },
  }
}

async function answer(request: IncomingMessage, allowed: readonly string[]): Promise<object> {
  const body = (await json(request)) as Query | { queries: readonly Query[] }
  const url = new URL(String(request.headers['neon-connection-string']))
  if (!allowed.includes(url.host)) throw new Error(`${url.host} is not on the allow-list`)
  const client = new Client({ connectionString: url.href })
  await client.connect()
  try {
    return 'queries' in body ? await batch(client, body.queries, request.headers) : await run(client, body)
  } finally {
    await client.end()
  }
}

/** A batch is one transaction: all of it or nothing. */
async function batch(client: Client, queries: readonly Query[], headers: IncomingHttpHeaders): Promise<object> {
  const results: object[] = []
  await client.query(`begin ${transactionModes(headers)}`)
  for (const query of queries) results.push(await run(client, query))
  await client.query('commit')
  return { results }
}

function transactionModes(headers: IncomingHttpHeaders): string {
  const isolation = headers['neon-batch-isolation-level']
  const modes = [
    isolation && `isolation level ${String(isolation).replace(/([a-z])([A-Z])/g, '$1 $2')}`,
    headers['neon-batch-read-only'] === 'true' && 'read only',
    headers['neon-batch-deferrable'] === 'true' && 'deferrable',
  ]
  return modes.filter(Boolean).join(', ')
}

async function run(client: Client, { query, params }: Query): Promise<object> {
  const { command, rowCount, rows, fields } = await client.query({
    text: query,
    values: [...params],
    rowMode: 'array',
    types: { getTypeParser: () => (text: string) => text },
  })
  return { command, rowCount, rows, fields }
}

function send(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}
