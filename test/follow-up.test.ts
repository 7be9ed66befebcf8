// Declaring follow-ups: what `from` makes of a place, and what is refused, in the code and by the database.

import * as v from 'valibot'
import { describe, expect, it } from 'vitest'
import {
  defineKind,
  defineManifest,
  type FollowUp,
  from,
  type Json,
  type Subscription,
  syncManifest,
} from '../core/index.ts'
import { useDatabase } from './support/database.ts'

const database = useDatabase()
const rows = async (text: string) => [...(await database.sql.unsafe(text))]
const invalid = (message: string) =>
  expect.objectContaining({ code: 'invalid_declaration', message: expect.stringContaining(message) })

describe('from', () => {
  it.each([
    ['result', '$.result'],
    ['result.file', '$.result.file'],
    ['result.files[0].name', '$.result.files[0].name'],
    ['args.full-name', '$.args."full-name"'],
    ['args.größe', '$.args."größe"'],
    ['args.a"b', '$.args."a\\"b"'],
    ['$.result.pages[*] ? (@.state == "b.]d")', '$.result.pages[*] ? (@.state == "b.]d")'],
    ['strict $.args.n', 'strict $.args.n'],
    ['$.tags.size()', '$.tags.size()'],
    ['$', '$'],
  ])('%s is %s, which Postgres takes', async (place, path) => {
    expect(from(place)).toEqual({ $path: path })
    expect(await rows(`select millrace.path_problem('${path}') as problem`)).toEqual([{ problem: null }])
  })

  it('keeps a default, also one that is null', () => {
    expect(from('args.a', { default: null })).toEqual({ $path: '$.args.a', default: null })
    expect(from('args.a', { default: { b: [] } })).toEqual({ $path: '$.args.a', default: { b: [] } })
  })

  it.each([
    ['', 'a name is missing'],
    ['result..file', 'a name is missing'],
    ['result.', 'a name is missing'],
    ['result.files[x]', 'files[x] is no name with indexes'],
    ['args["x y"]', 'such as $.args."x y"'],
    ['resutl.file', 'an event has no resutl'],
    ['$.resutl', 'an event has no resutl'],
    ['$.args.', 'a name is missing'],
    ['$.args[0', 'a bracket is not closed'],
    ['$.args ? (@.a[0)]', 'a bracket is not closed'],
    ['$.args."a', 'a quote is not closed'],
  ])('refuses "%s"', (place, message) => {
    expect(() => from(place)).toThrow(invalid(message))
  })
})

const declaration = { name: 'render', args: v.any() } as const
const followUp: FollowUp = { on: ['completed'], enqueue: 'mail' }

describe('a kind', () => {
  it.each([
    [{ on: [] }, 'followUps[0]: on is empty'],
    [{ on: ['ended' as 'failed'] }, 'no such event: ended'],
    [{ enqueue: '' }, '1 to 200'],
    [{ enqueue: { name: 'millrace.webhook' } }, 'built in'],
    [{ queue: '' }, 'queue has'],
    [{ priority: 0 }, 'priority'],
    [{ maxAttempts: 0 }, 'maxAttempts'],
    [{ delaySeconds: -1 }, 'delaySeconds'],
    [{ delaySeconds: Number.POSITIVE_INFINITY }, 'delaySeconds'],
    [{ delaySeconds: 315_360_001 }, 'delaySeconds'],
    [{ on: 'completed' as never }, 'a list'],
    [{ enqueue: undefined as never }, 'enqueue is a kind or its name'],
    [{ enqueue: {} as never }, 'enqueue is a kind or its name'],
    [{ metadata: 'text' as never }, 'metadata is an object'],
    [{ metadata: null as never }, 'metadata is an object'],
    [{ tags: 'text' as never }, 'tags is a list'],
    [{ args: { at: new Date() as never } }, 'args: at is a Date'],
    [{ args: [{ $path: '$.args', defualt: 1 }] }, 'beside a $path there is only a default, not "defualt"'],
    [{ args: { $path: 7 as never } }, '$path is text'],
    [{ args: { $path: 'args' } }, 'starts with $'],
    [{ metadata: { a: { $path: '$.nothing' } } }, 'metadata: an event has no nothing'],
    [{ tags: [{ $path: '$.args[' }] }, 'tags: a bracket'],
    [{ metadata: { follows: 1 } }, 'metadata.follows'],
  ] satisfies [Partial<FollowUp>, string][])('is refused with a follow-up %j', (part, message) => {
    const kind = { ...declaration, followUps: [{ ...followUp, ...part }] }
    expect(() => defineKind(kind)).toThrow(invalid(message))
    expect(() => defineManifest({ kinds: [kind] })).toThrow(invalid(message))
  })
})

describe('a subscription', () => {
  const subscription: Subscription = { name: 'log', events: ['waiting'], enqueue: 'log' }
  it.each([
    [{ events: [] }, 'events is empty'],
    [{ events: undefined }, 'events is empty'],
    [{ events: ['ended'] }, 'no such event: ended'],
    [{ kinds: [] }, 'kinds is empty'],
    [{ name: 'millrace.log' }, 'built in'],
    [{ enqueue: undefined }, 'enqueue is a kind or its name'],
    [{ priority: 5 }, 'priority'],
    [{ url: 'https://a.example' }, 'not both'],
  ])('is refused with %j', (part, message) => {
    const wrong = { ...subscription, ...part } as Subscription
    expect(() => defineManifest({ subscriptions: [wrong] })).toThrow(invalid(message))
  })

  it('and a kind’s follow-up have names of their own', () => {
    const clash = { ...subscription, name: 'render#1' }
    const kind = defineKind({ ...declaration, followUps: [followUp] })
    expect(() => defineManifest({ kinds: [kind], subscriptions: [clash] })).toThrow(
      invalid('"render#1" is declared twice'),
    )
  })
})

describe('syncManifest', () => {
  it('writes both as data', async () => {
    const mail = defineKind({ name: 'mail', args: v.any() })
    const kind = defineKind({
      ...declaration,
      followUps: [
        {
          on: ['failed', 'rescued'],
          enqueue: mail,
          args: { why: from('error.code') },
          delaySeconds: 5,
          maxAttempts: 3,
        },
      ],
    })
    const subscription: Subscription = {
      name: 'log',
      kinds: [kind, 'other'],
      events: ['waiting'],
      enqueue: 'log',
      tags: ['a'],
    }
    const manifest = defineManifest({ kinds: [kind], subscriptions: [subscription] })
    expect(await syncManifest(database.sql, manifest)).toMatchObject({ changed: true })
    expect(await syncManifest(database.sql, manifest)).toMatchObject({ changed: false })
    expect(await rows('select to_jsonb(f) as row from millrace.follow_up f order by name')).toEqual([
      {
        row: {
          ...{ name: 'log', kinds: ['render', 'other'], events: ['waiting'], source: 'default' },
          job: { kind: 'log', tags: ['a'] },
        },
      },
      {
        row: {
          ...{ name: 'render#1', kinds: ['render'], events: ['failed', 'rescued'], source: 'default' },
          job: { kind: 'mail', args: { why: { $path: '$.error.code' } }, delay_seconds: 5, max_attempts: 3 },
        },
      },
    ])
    await expect(syncManifest(database.sql, manifest, { source: 'copy' })).rejects.toMatchObject({
      code: 'invalid_declaration',
      message: expect.stringMatching(/log \(declared by default\).*render#1/),
    })
    expect(await syncManifest(database.sql, defineManifest({}))).toMatchObject({
      removed: ['log', 'render', 'render#1'],
    })
  })

  it.each([
    [{ job: { kind: 'a', args: { $path: '$.args[' } } }, 'is no JSONPath'],
    [{ job: { kind: 'a', metadata: { b: [{ $path: 'args' }] } } }, 'is no JSONPath'],
    [{ job: { kind: 'a', tags: [{ $path: '$.kind', or: 1 }] } }, 'there is only a default'],
    [{ job: { kind: 'a', args: { $path: null } } }, 'there is only a default'],
    [{ job: { kind: 'millrace.webhook' } }, 'invalid_kind'],
    [{ job: { args: {} } }, 'invalid_kind'],
    [{ job: { kind: 'a', unique_key: 'k' } }, 'job is an object of'],
    [{ job: ['a'] }, 'job is an object of'],
    [{ job: { kind: 'a', priority: 9 } }, 'invalid_priority'],
    [{ job: { kind: 'a', delay_seconds: -1 } }, 'invalid_run_at'],
    [{ job: { kind: 'a', delay_seconds: 315360001 } }, 'ten years'],
    [{ job: { kind: 'a', tags: [''] } }, 'invalid_tags'],
    [{ job: { kind: 'a', tags: 'x' } }, 'invalid_tags'],
    [{ job: { kind: 'a', metadata: [] } }, 'invalid_metadata'],
    [{ job: { kind: 'a', metadata: { 'awa:x': 1 } } }, 'invalid_metadata'],
    [{ job: { kind: 'a', metadata: { follows: 1 } } }, 'metadata.follows'],
    [{ events: ['ended'] }, 'events are'],
    [{ events: undefined }, 'events are'],
    [{ kinds: [] }, 'kinds is empty'],
    [{ name: '' }, 'name has'],
  ] satisfies [{ [key: string]: Json | undefined }, string][])(
    'refuses %j from whoever calls it',
    async (part, message) => {
      const manifest = {
        follow_ups: [{ name: 'a#1', kinds: ['a'], events: ['completed'], job: { kind: 'b' }, ...part }],
      }
      const sync = database.sql`select millrace.sync_manifest(${JSON.stringify(manifest)}::text::jsonb, 'raw')`
      await expect(sync).rejects.toMatchObject({
        constraint_name: 'invalid_declaration',
        message: expect.stringContaining(message),
      })
    },
  )
})
