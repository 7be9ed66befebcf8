// Declaring a kind: what a declaration may say, and what callers and handlers are typed to from it.

import * as v from 'valibot'
import { describe, expect, expectTypeOf, it } from 'vitest'
import { type ArgsOf, defineKind, type KindOptions, type ParsedArgsOf } from '../core/index.ts'

const args = v.object({ orderId: v.number() })
const declare = (options: KindOptions & { name?: string }) => () =>
  defineKind({ name: 'render_receipt', args, ...options })
const invalid = (message: string) =>
  expect.objectContaining({ code: 'invalid_declaration', message: expect.stringContaining(message) })

describe('defineKind', () => {
  it('keeps what was declared, frozen, with the literal name', () => {
    const kind = defineKind({ name: 'render_receipt', args, queue: 'receipts', priority: 1 })

    expect(kind).toMatchObject({ name: 'render_receipt', queue: 'receipts', priority: 1 })
    expect(Object.isFrozen(kind)).toBe(true)
    expectTypeOf(kind.name).toEqualTypeOf<'render_receipt'>()
  })

  it('gives callers the input type of the schema and handlers the output type', () => {
    const kind = defineKind({ name: 'convert', args: v.pipe(v.string(), v.transform(Number)) })

    expectTypeOf<ArgsOf<typeof kind>>().toEqualTypeOf<string>()
    expectTypeOf<ParsedArgsOf<typeof kind>>().toEqualTypeOf<number>()
  })

  it.each([
    [{ name: '' }, 'not 0'],
    [{ name: 'x'.repeat(201) }, 'not 201'],
    [{ name: 'millrace.webhook' }, 'built in'],
    [{ queue: '' }, 'queue'],
    [{ priority: 0 }, 'priority'],
    [{ priority: 2.5 }, 'priority'],
    [{ maxAttempts: 1001 }, 'maxAttempts'],
    [{ timeLimitSeconds: 0 }, 'timeLimitSeconds'],
    [{ timeLimitSeconds: 31 * 86_400 }, 'timeLimitSeconds'],
    [{ target: { url: 'https://example.com', statuses: { retry: [200] } } }, 'status'],
    [{ target: { url: 'https://example.com', statuses: { final: [600] } } }, 'status'],
    [{ target: { url: 'https://example.com', statuses: { retry: [404], final: [404] } } }, '404 is under both'],
    [{ target: { url: '/jobs' } }, 'absolute'],
    [{ target: { url: 'ftp://example.com' } }, 'absolute'],
    [{ target: { url: 'https://user:pass@example.com' } }, 'credentials'],
    [{ target: { url: 'https://example.com', mode: 'async' as 'sync' } }, 'mode'],
    [{ target: { url: 'https://example.com', compatible: 'no' as never } }, 'compatible'],
    [{ target: { url: 'https://example.com', requestTimeoutSeconds: 0 } }, 'requestTimeoutSeconds'],
    [{ target: { url: 'https://example.com', callbackTimeoutSeconds: Number.NaN } }, 'callbackTimeoutSeconds'],
    [{ target: { url: 'https://example.com', concurrency: 0.5 } }, 'concurrency'],
    [{ target: { url: 'https://example.com', headers: { 'no spaces': 'x' } } }, 'headers'],
    [{ target: { url: 'https://example.com', headers: { 'Transfer-Encoding': 'chunked' } } }, "the connection's own"],
    [{ target: { url: 'https://example.com', headers: { 'x-a': { secret: 'NO-DASH' } } } }, 'headers: x-a'],
    [{ target: { url: 'https://example.com', headers: { 'x-a': {} as never } } }, 'headers: x-a'],
    [{ target: {} as never }, 'either a url or a lambda'],
    [{ target: { url: 'https://example.com', lambda: { function: 'f' } } as never }, 'either a url or a lambda'],
    [{ target: { lambda: { function: 'f' }, headers: { a: 'b' } } as never }, 'are for URLs'],
    [{ target: { lambda: { function: 'a/b' } } }, 'lambda: function'],
    [{ target: { lambda: {} as never } }, 'lambda: function'],
    [{ target: { lambda: { function: 'f:live', qualifier: '7' } } }, 'does not contradict'],
    [
      { target: { lambda: { function: 'arn:aws:lambda:eu-west-1:123456789012:function:f', region: 'us-east-1' } } },
      'does not contradict',
    ],
    [{ target: { url: 'https://example.com', auth: { type: 'basic' } as never } }, 'auth: type'],
    [{ target: { url: 'https://example.com', auth: { type: 'oidc', audience: '' } } }, 'audience'],
    [{ target: { url: 'https://example.com', auth: { type: 'aws_sigv4' } as never } }, 'region'],
    [{ target: { url: 'https://example.com', auth: { type: 'aws_sigv4', region: 'EU' } } }, 'region'],
    [
      { target: { url: 'https://example.com', auth: { type: 'oidc' }, headers: { Authorization: 'x' } } },
      'authorization is declared already',
    ],
  ] satisfies [KindOptions & { name?: string }, string][])('refuses %j', (options, message) => {
    expect(declare(options)).toThrow(invalid(message))
  })
})

describe('retry policies', () => {
  it.each([
    [{ strategy: 'exponential' }],
    [{ strategy: 'exponential', baseSeconds: 0.5, capSeconds: 60, jitter: 1 }],
    [{ strategy: 'linear', baseSeconds: 10 }],
    [{ strategy: 'fixed', baseSeconds: 0, jitter: 0 }],
    [{ strategy: 'list', delaysSeconds: [0, 1, 86_400] }],
  ] satisfies [KindOptions['retry']][])('takes %j', retry => {
    expect(declare({ retry })).not.toThrow()
  })

  it.each([
    [{ strategy: 'random' as 'linear' }, 'strategy'],
    [{ strategy: 'exponential', jitter: 1.5 }, 'jitter'],
    [{ strategy: 'exponential', baseSeconds: -1 }, 'baseSeconds'],
    [{ strategy: 'linear', baseSeconds: 60, capSeconds: 10 }, 'above capSeconds'],
    [{ strategy: 'fixed', baseSeconds: 86_401 }, '86400'],
    [{ strategy: 'list', delaysSeconds: [] }, 'entries'],
    [{ strategy: 'list', delaysSeconds: [1, Number.NaN] }, 'delaysSeconds'],
  ] satisfies [KindOptions['retry'], string][])('refuses %j', (retry, message) => {
    expect(declare({ retry })).toThrow(invalid(message))
  })
})
