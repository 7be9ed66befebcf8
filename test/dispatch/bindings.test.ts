// Service bindings as targets: declared by name, and sent to where there is one of that name.

import { defineKind } from 'millrace'
import { fetchTransport } from 'millrace/maintenance'
import * as v from 'valibot'
import { expect, test } from 'vitest'
import { freshDatabase } from '../support/maintenance.ts'

const request = (origin: string) => ({
  ...{ origin, path: '/jobs?x=1', headers: {}, body: new TextEncoder().encode('{}') },
  ...{ timeoutMs: 1_000, signal: new AbortController().signal },
})

test.each(['binding://FN/jobs', 'binding://my_fn', 'binding://FN?x=1'])('declared: %s', url => {
  const declare = () => defineKind({ name: 'work', args: v.any(), target: { url } })
  if (url.includes('?')) expect(declare).toThrow('binding://NAME/path')
  else expect(declare().target).toEqual({ url })
})

test.each(['binding:FN/jobs', 'binding://', 'binding://a.b/jobs', 'binding://FN:80/jobs', 'binding://u@FN/jobs'])(
  'refused: %s',
  url => {
    expect(() => defineKind({ name: 'work', args: v.any(), target: { url } })).toThrow('binding://NAME/path')
  },
)

test('a binding asks for no identity', () => {
  const target = { url: 'binding://FN/jobs', auth: { type: 'oidc' } } as const
  expect(() => defineKind({ name: 'work', args: v.any(), target })).toThrow('a service binding asks for none')
})

test('what is bound is sent the path and the query, over no address', async () => {
  const urls: string[] = []
  const bound = {
    fetch: async (url: string) => {
      urls.push(url)
      return new Response('done')
    },
  }
  const transport = fetchTransport({ bindings: name => (name === 'FN' ? bound : undefined) })
  expect(await transport.post(request('binding://FN'))).toMatchObject({ status: 200, body: 'done' })
  expect(urls).toEqual(['https://binding/jobs?x=1'])
  await expect(transport.post(request('binding://OTHER'))).rejects.toMatchObject({ code: 'no_binding', sent: false })
  await expect(transport.post(request('https://127.0.0.1'))).rejects.toMatchObject({ code: 'target_refused' })
})

test('jobs for a binding that there is not are put back', async () => {
  const database = await freshDatabase()
  await database.declare([{ name: 'work', target: { url: 'binding://FN/jobs', mode: 'sync' } }])
  const work = await database.maintain()
  const job = await database.enqueue('work')
  expect(await work.closed(job)).toMatchObject({ state: 'available', code: 'no_binding' })
  expect(await database.job(job)).toMatchObject({ errors: [], put_back: { code: 'no_binding' } })
})
