// Values and bodies: well meant, slightly wrong, and made to break things.

import fc from 'fast-check'

const utf8 = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text)

/** Also NUL, halves of surrogate pairs, and what looks like SQL. */
export const text: fc.Arbitrary<string> = fc.oneof(
  fc.string({ maxLength: 20 }),
  fc.string({ unit: 'binary', maxLength: 20 }),
  fc.constantFrom(
    '',
    '\0',
    '\ud800',
    'x\udc00y',
    '%00',
    "'; drop table millrace.job_log; --",
    '{{',
    '$1',
    '\\',
    '../../etc',
  ),
  fc.constantFrom('default', 'work', 'failed', 'own', 'others', 'acme', 'other', 'paid', '__proto__', 'constructor'),
  fc.integer({ min: 100, max: 5_000 }).map(length => 'é'.repeat(length)),
)

export const number: fc.Arbitrary<number> = fc.oneof(
  fc.integer({ min: -2, max: 10 }),
  fc.double(),
  fc.constantFrom(-0, 1e300, 5e-324, 2 ** 31, 2 ** 53, 2 ** 63, -(2 ** 63), 1e15, 0.1),
)

export const value: fc.Arbitrary<unknown> = fc.oneof(
  text,
  number,
  fc.boolean(),
  fc.constant(null),
  fc.array(fc.oneof(text, number), { maxLength: 3 }),
  fc.jsonValue({ maxDepth: 3 }),
  fc.dictionary(text, fc.oneof(text, number, fc.constant({})), { maxKeys: 3 }),
)

/** JSON can say what no value can be. */
const jsonText: fc.Arbitrary<string> = fc.oneof(
  { weight: 4, arbitrary: value.map(given => JSON.stringify(given) ?? 'null') },
  fc.constantFrom(
    '1e999',
    '-1e999',
    '123456789012345678901234567890',
    '"\\u0000"',
    '"\\ud800"',
    '{"a":1,"a":2}',
    '01',
    'NaN',
  ),
  fc.constantFrom(
    '{"payload":1e999}',
    '{"__proto__":{"a":1}}',
    '\ufeff{}',
    '{}x',
    '{',
    '"',
    '[1,]',
    "{'a':1}",
    ' ',
    'nul',
  ),
  fc.integer({ min: 50, max: 3_000 }).map(depth => '['.repeat(depth) + ']'.repeat(depth)),
  fc.integer({ min: 50, max: 3_000 }).map(depth => '{"a":'.repeat(depth)),
)

const form: fc.Arbitrary<string> = fc
  .array(fc.tuple(text, text), { maxLength: 4 })
  .map(pairs => pairs.map(([name, value]) => `${encoded(name)}=${encoded(value)}`).join('&'))

/** One more than the limit, and one that is not. */
export const sized: fc.Arbitrary<Uint8Array<ArrayBuffer>> = fc
  .constantFrom(65_000, 65_536, 65_537, 200_000)
  .map(size => utf8(`{"payload":"${'x'.repeat(size - 14)}"}`))

export const encoded = (text: string): string => encodeURIComponent(text.toWellFormed())

/** Bytes of a body, as nobody's action takes them. */
export const junk: fc.Arbitrary<Uint8Array<ArrayBuffer> | undefined> = fc.oneof(
  fc.constant(undefined),
  { weight: 4, arbitrary: jsonText.map(utf8) },
  form.map(utf8),
  fc.uint8Array({ maxLength: 200 }).map(bytes => new Uint8Array(bytes)),
  { weight: 1, arbitrary: sized },
)

/** Properties of which each is there or not, right or anything. */
const roughly = (properties: Record<string, fc.Arbitrary<unknown>>): fc.Arbitrary<Record<string, unknown>> =>
  fc.record(
    Object.fromEntries(
      Object.entries(properties).map(([name, right]) => [
        name,
        fc.oneof({ weight: 6, arbitrary: right }, { weight: 1, arbitrary: value }),
      ]),
    ),
    { requiredKeys: [] },
  )

export const asJson = (given: unknown): Uint8Array<ArrayBuffer> => utf8(JSON.stringify(given) ?? '')

const seconds = fc.oneof(fc.double({ min: 0.001, max: 4_000, noNaN: true }), fc.constantFrom(60, 1, 2_592_000))
const cel = fc.constantFrom(
  ...[
    'payload.ok == true',
    'payload.a > 1.0',
    'true',
    'payload',
    '{"a": payload}',
    'payload.items.map(i, i)',
    'nope(',
    '"x"',
  ],
)
const progress = roughly({ percent: number, message: text, metadata: fc.dictionary(text, value, { maxKeys: 2 }) })

/** What the actions of a callback take. */
export const meant: Readonly<Record<string, fc.Arbitrary<unknown>>> = {
  complete: roughly({ payload: value, payload_too_large: fc.boolean() }),
  fail: fc.oneof(
    roughly({ error: text, retryable: fc.boolean(), retry_after_seconds: seconds }),
    roughly({ snooze_seconds: seconds }),
  ),
  heartbeat: roughly({ timeout_seconds: seconds, progress }),
  wait: roughly({
    ...{ name: text, timeout_seconds: seconds, on_timeout: fc.constantFrom('fail', 'retry', 'resume') },
    ...{ filter: cel, on_complete: cel, on_fail: cel, transform: cel, progress },
    default_action: fc.constantFrom('resume', 'complete', 'fail', 'ignore'),
  }),
}

/** What may stand in a header; where it may not, the request goes as bytes. */
const headerValue: fc.Arbitrary<string> = fc.oneof(
  fc.string({ maxLength: 40 }).map(text => text.replaceAll(/[\r\n]/g, '')),
  fc.constantFrom('', 'é', '\x01', '\t', 'a, b', 'x'.repeat(9_000), 'gzip', 'chunked', '-1', '1e9', '0'),
)

const NAMES = [
  'content-type',
  'content-encoding',
  'x-forwarded-for',
  'x-http-method-override',
  'accept',
  'cookie',
  'origin',
]
const MORE = [
  'idempotency-key',
  'millrace-attempt',
  'range',
  'if-none-match',
  'expect',
  'upgrade',
  'te',
  'forwarded',
  'x-a',
]

export const headers: fc.Arbitrary<[string, string][]> = fc.oneof(
  { weight: 3, arbitrary: fc.constant<[string, string][]>([]) },
  fc.array(fc.tuple(fc.constantFrom(...NAMES, ...MORE), headerValue), { maxLength: 3 }),
  {
    weight: 1,
    arbitrary: fc
      .integer({ min: 90, max: 140 })
      .map(count => Array.from({ length: count }, (_, n) => [`x-${n}`, 'y'] as [string, string])),
  },
)
