// What is checked before a job is sent: its arguments against the schema, and that they are JSON and stay what they are.

import * as v from 'valibot'
import { describe, expect, it } from 'vitest'
import { defineKind, type EnqueueOptions, enqueueManyStatement, enqueueStatement, job } from '../core/index.ts'

const order = defineKind({
  name: 'order',
  args: v.object({ id: v.number(), items: v.array(v.object({ sku: v.string() })) }),
})
const anything = defineKind({ name: 'anything', args: v.unknown() })
const refused = (code: string, message = '') =>
  expect.objectContaining({ code, message: expect.stringContaining(message) })

describe('arguments', () => {
  it('are refused with every issue and its path', async () => {
    const wrong = { id: 'x', items: [{ sku: 'a' }, { sku: 1 }] } as never
    const error = await enqueueStatement(order, wrong).catch((error: unknown) => error)

    expect(error).toEqual(refused('invalid_args', 'id: Invalid type'))
    expect(error).toEqual(refused('invalid_args', 'items[1].sku: Invalid type'))
    expect(error).toHaveProperty('cause', [
      expect.objectContaining({ input: 'x' }),
      expect.objectContaining({ input: 1 }),
    ])
  })

  it('may be checked by an asynchronous schema', async () => {
    const kind = defineKind({
      name: 'known',
      args: v.pipeAsync(
        v.number(),
        v.checkAsync(async id => id < 10, 'no such id'),
      ),
    })

    await expect(enqueueStatement(kind, 3)).resolves.toMatchObject({ values: expect.arrayContaining(['3']) })
    await expect(enqueueStatement(kind, 30)).rejects.toEqual(refused('invalid_args', '(top level): no such id'))
  })

  it('are sent as given, not as the schema puts them out: the function validates them again', async () => {
    const kind = defineKind({
      name: 'at',
      args: v.pipe(
        v.string(),
        v.transform(text => new Date(text)),
      ),
    })

    const { values } = await enqueueStatement(kind, '2026-01-01T00:00:00Z')
    expect(values[1]).toBe('"2026-01-01T00:00:00Z"')
  })

  const cyclic: { self?: unknown } = {}
  cyclic.self = cyclic
  it.each([
    ['undefined', undefined, '(top level) is undefined'],
    ['NaN', { a: [Number.NaN] }, 'a[0] is NaN'],
    ['Infinity', { a: Infinity }, 'a is Infinity'],
    ['a BigInt', { a: { b: 1n } }, 'a.b is a bigint'],
    ['a function', { a: () => 1 }, 'a is a function'],
    ['a Date', { at: new Date() }, 'at is a Date, not a plain object'],
    ['a Map', new Map(), '(top level) is a Map'],
    ['a hole in an array', { a: [1, undefined] }, 'a[1] is undefined'],
    ['a cycle', cyclic, 'self refers back'],
    ['a NUL', { a: 'x\0' }, 'a contains a NUL'],
    ['a NUL in a key', { 'x\0': 1 }, '(top level) has a key that contains a NUL'],
    ['half a surrogate pair', ['\ud800'], '[0] contains half a surrogate pair'],
  ])('that hold %s are refused rather than changed', async (_, args, message) => {
    await expect(enqueueStatement(anything, args)).rejects.toEqual(refused('invalid_args', message))
  })

  it('may leave properties undefined and mention one object twice', async () => {
    const shared = { x: 1 }

    const { values } = await enqueueStatement(anything, { a: shared, b: shared, c: undefined })
    expect(values[1]).toBe('{"a":{"x":1},"b":{"x":1}}')
  })
})

describe('options', () => {
  it.each([
    [{ runAt: new Date('nonsense') }, 'invalid_run_at'],
    [{ delaySeconds: Number.NaN }, 'invalid_run_at'],
    [{ delaySeconds: 1e12 }, 'invalid_run_at'],
    [{ priority: 1.5 }, 'invalid_priority'],
    [{ maxAttempts: 2 ** 31 }, 'invalid_max_attempts'],
    [{ metadata: { at: new Date() as never } }, 'invalid_metadata'],
    [{ tags: ['\0'] }, 'invalid_tags'],
    [{ queue: 'q\0' }, 'invalid_queue'],
  ] satisfies [EnqueueOptions, string][])(
    'that could not be sent as they are, are refused: %o',
    async (options, code) => {
      await expect(enqueueStatement(anything, {}, options)).rejects.toEqual(refused(code))
    },
  )

  it('of one job come before those of its kind, which are sent too: raw SQL and a database not yet synced agree', async () => {
    const kind = defineKind({ name: 'k', args: v.unknown(), queue: 'slow', priority: 4, maxAttempts: 3 })

    const { values } = await enqueueManyStatement([job(kind, 1), job(kind, 2, { priority: 1 })])
    expect(JSON.parse(String(values[0]))).toEqual([
      { kind: 'k', args: 1, queue: 'slow', priority: 4, max_attempts: 3 },
      { kind: 'k', args: 2, queue: 'slow', priority: 1, max_attempts: 3 },
    ])
  })
})

describe('types', () => {
  it('refuse arguments and options that the kind does not take', () => {
    const neverRun = () => {
      // @ts-expect-error a number is asked for
      enqueueStatement(order, { id: '42', items: [] })
      // @ts-expect-error items are missing
      job(order, { id: 42 })
      // @ts-expect-error no such option
      job(order, { id: 42, items: [] }, { prio: 1 })
      // @ts-expect-error an undeclared kind
      enqueueStatement('order', { id: 42, items: [] })
      // @ts-expect-error metadata is JSON
      job(anything, 1, { metadata: { at: new Date() } })
      enqueueManyStatement([job(order, { id: 42, items: [] }), job(anything, 'x')])
    }
    expect(neverRun).toBeTypeOf('function')
  })
})
