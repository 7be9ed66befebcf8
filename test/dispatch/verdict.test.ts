// The outcome rules: what each answer, or the lack of one, means for the attempt (docs/protocol.md, "Answers").

import { type Answer, TransportError } from 'millrace/maintenance'
import { describe, expect, test } from 'vitest'
import {
  type DispatchRules,
  isFinalForFunctions,
  type Verdict,
  verdictOn,
  verdictOnFailure,
  WEBHOOK_RULES,
} from '../../core/dispatch/verdict.ts'

const now = Date.parse('2026-01-01T00:00:00Z')

const sync: DispatchRules = {
  mode: 'sync',
  callbackTimeoutSeconds: 600,
  ambiguitySeconds: 60,
  isFinal: isFinalForFunctions,
  snoozes: true,
}
const callback: DispatchRules = { ...sync, mode: 'callback' }
const webhook: DispatchRules = { ...sync, ...WEBHOOK_RULES }

const answer = (status: number, headers: Record<string, string> = {}, body = ''): Answer => ({
  status,
  header: name => headers[name],
  body,
  truncated: false,
})

const json = { 'content-type': 'application/json' }

/** One word for what becomes of the attempt. */
function wordFor(answer: Answer, rules: DispatchRules): string {
  const verdict = verdictOn(answer, rules, now)
  if (verdict.do === 'park') return 'parked'
  if (verdict.do === 'wait') return 'waits'
  const { outcome } = verdict
  return outcome.kind === 'failed' ? (outcome.retryable ? 'retried' : 'final') : outcome.kind
}

describe('statuses', () => {
  test.each([
    [200, 'completed'],
    [201, 'completed'],
    [204, 'completed'],
    [301, 'retried'],
    [302, 'retried'],
    [307, 'retried'],
    [400, 'final'],
    [401, 'final'],
    [404, 'final'],
    [408, 'retried'],
    [409, 'final'],
    [410, 'final'],
    [422, 'final'],
    [425, 'retried'],
    [429, 'put_back'],
    [500, 'retried'],
    [501, 'retried'],
    [502, 'retried'],
    [503, 'retried'],
    [504, 'retried'],
    [599, 'retried'],
  ])('%i from a function in sync mode: %s', (status, word) => {
    expect(wordFor(answer(status), sync)).toBe(word)
  })

  test.each([200, 202, 204])('%i in callback mode means accepted: a callback is due within the time-out', status => {
    expect(verdictOn(answer(status), callback, now)).toEqual({ do: 'park', timeoutSeconds: 600 })
  })

  test.each([302, 400, 422, 429, 500])('%i means the same in callback mode as in sync mode', status => {
    expect(wordFor(answer(status), callback)).toBe(wordFor(answer(status), sync))
  })

  test.each([400, 401, 404, 422])('%i from a webhook endpoint is retried: its owner may be mending it', status => {
    expect(wordFor(answer(status), webhook)).toBe('retried')
  })

  test.each([502, 504])('%i from a webhook endpoint is a failed attempt, and slows its origin down', status => {
    const { throttleMs, outcome } = verdictOn(answer(status), webhook, now) as Extract<Verdict, { do: 'close' }>
    expect(outcome).toMatchObject({ kind: 'failed', error: { message: expect.stringContaining('endpoint returned') } })
    expect(throttleMs).toBeGreaterThanOrEqual(2_000)
    expect(verdictOn(answer(status), sync, now)).not.toHaveProperty('throttleMs')
  })

  test('503 from a webhook endpoint is put back, with a date or without', () => {
    expect(wordFor(answer(503), webhook)).toBe('put_back')
    expect(wordFor(answer(503), sync)).toBe('retried')
  })

  test('410 from a webhook endpoint is its last word', () => {
    expect(wordFor(answer(410), webhook)).toBe('final')
  })
})

describe('the result of a 200', () => {
  const resultOf = (given: Answer): unknown => {
    const verdict = verdictOn(given, sync, now)
    return verdict.do === 'close' && verdict.outcome.kind === 'completed' ? verdict.outcome.result : 'not completed'
  }

  test.each([
    ['an object', '{"pages":2}', { pages: 2 }],
    ['null', 'null', null],
    ['a text', '"done"', 'done'],
  ])('%s in JSON is kept', (_, body, result) => {
    expect(resultOf(answer(200, json, body))).toEqual(result)
  })

  test('types with a parameter or a +json suffix are JSON too', () => {
    expect(resultOf(answer(200, { 'content-type': 'application/json; charset=utf-8' }, '1'))).toBe(1)
    expect(resultOf(answer(200, { 'content-type': 'application/problem+json' }, '1'))).toBe(1)
  })

  test.each([
    ['nothing', answer(200, json, '')],
    ['text', answer(200, { 'content-type': 'text/plain' }, '{"pages":2}')],
    ['no type', answer(200, {}, '{"pages":2}')],
    ['broken JSON', answer(200, json, '{"pages":')],
  ])('%s completes the job without a result', (_, given) => {
    expect(resultOf(given)).toBeUndefined()
  })

  test('more than is read completes the job, with a word on why there is no result', () => {
    expect(verdictOn({ ...answer(200, json, '{}'), truncated: true }, sync, now)).toEqual({
      do: 'close',
      outcome: { kind: 'completed', error: { code: 'result_too_large', message: expect.any(String) } },
    })
  })

  test('JSON that nests too deeply to be passed on completes the job without a result', () => {
    expect(resultOf(answer(200, json, `${'['.repeat(100_000)}${']'.repeat(100_000)}`))).toBeUndefined()
  })
})

describe('numbers in a result', () => {
  test('that no double can tell are kept exactly if they are whole', () => {
    const verdict = verdictOn(answer(200, json, '{"id":12345678901234567890}'), sync, now)
    expect(JSON.stringify(verdict)).toContain('{"id":12345678901234567890}')
  })

  test('that are beyond all doubles complete the job without a result, not with another one', () => {
    const verdict = verdictOn(answer(200, json, '{"n":1e400}'), sync, now)
    expect(verdict).toEqual({ do: 'close', outcome: { kind: 'completed' } })
  })
})

describe('Retry-After', () => {
  const waitOf = (given: Answer): number | undefined => {
    const verdict = verdictOn(given, sync, now)
    return verdict.do === 'close' && 'delayMs' in verdict.outcome ? verdict.outcome.delayMs : undefined
  }

  test.each([429, 503])('%i with seconds puts the job back for so long and slows the target down', status => {
    const verdict = verdictOn(answer(status, { 'retry-after': '7' }), sync, now)
    expect(verdict).toMatchObject({ do: 'close', outcome: { kind: 'put_back', delayMs: 7_000 }, throttleMs: 7_000 })
  })

  test.each([429, 503])('%i with a date puts the job back until then', status => {
    expect(waitOf(answer(status, { 'retry-after': 'Thu, 01 Jan 2026 00:00:30 GMT' }))).toBe(30_000)
  })

  test('429 without a time puts the job back for a few seconds', () => {
    const wait = waitOf(answer(429))
    expect(wait).toBeGreaterThanOrEqual(2_000)
    expect(wait).toBeLessThanOrEqual(4_000)
  })

  test.each(['0', 'Thu, 01 Jan 2020 00:00:00 GMT'])('a time that is no wait (%s) still does not make a loop', after => {
    expect(waitOf(answer(429, { 'retry-after': after }))).toBeGreaterThanOrEqual(1_000)
  })

  test('503 whose time is neither seconds nor a date is an ordinary failure', () => {
    expect(wordFor(answer(503, { 'retry-after': 'soon' }), sync)).toBe('retried')
  })

  test('a wait is a day at most', () => {
    expect(waitOf(answer(503, { 'retry-after': '999999999' }))).toBe(86_400_000)
  })

  test('500 with a time is a failure, retried after that time', () => {
    expect(verdictOn(answer(500, { 'retry-after': '7' }), sync, now)).toMatchObject({
      outcome: { kind: 'failed', retryable: true, delayMs: 7_000 },
    })
  })
})

describe('RateLimit headers, where there is no Retry-After', () => {
  const waitOf = (status: number, headers: Record<string, string>): number | undefined => {
    const verdict = verdictOn(answer(status, headers), sync, now)
    return verdict.do === 'close' && 'delayMs' in verdict.outcome ? verdict.outcome.delayMs : undefined
  }
  const inSeconds = String(now / 1000 + 30)

  test.each<[string, Record<string, string>]>([
    ['seconds', { 'ratelimit-reset': '30' }],
    ['the time, as GitLab gives it', { 'ratelimit-reset': inSeconds }],
    ['the time, as GitHub gives it', { 'x-ratelimit-reset': inSeconds, 'x-ratelimit-remaining': '0' }],
    ['the time in milliseconds', { 'x-ratelimit-reset': String(now + 30_000) }],
    ['seconds with a fraction', { 'x-ratelimit-reset': '30.000' }],
    ['an HTTP date', { 'x-rate-limit-reset': 'Thu, 01 Jan 2026 00:00:30 GMT' }],
    ['an ISO date', { 'x-ratelimit-reset': '2026-01-01T00:00:30Z' }],
    ['the draft with one item', { ratelimit: 'limit=100, remaining=0, reset=30' }],
    ['the draft with a list', { ratelimit: '"default";r=0;t=30' }],
    [
      'of several limits the last to be over that is used up',
      { ratelimit: '"a";r=0;t=5, "b";r=0;t=30, "c";r=9;t=900' },
    ],
    ['the draft before what came earlier', { ratelimit: '"default";r=0;t=30', 'ratelimit-reset': '99' }],
  ])('%s', (_, headers) => {
    for (const status of [429, 503, 500]) expect(waitOf(status, headers)).toBe(30_000)
  })

  test.each([429, 503])('put a job back on %i and slow the target down, as Retry-After does', status => {
    expect(verdictOn(answer(status, { 'ratelimit-reset': '7' }), sync, now)).toMatchObject({
      outcome: { kind: 'put_back', delayMs: 7_000 },
      throttleMs: 7_000,
    })
  })

  test('Retry-After goes first', () => {
    expect(waitOf(429, { 'ratelimit-reset': '900', 'retry-after': '7' })).toBe(7_000)
  })

  test.each<[string, Record<string, string>]>([
    ['of which something is left', { 'ratelimit-reset': '30', 'ratelimit-remaining': '12' }],
    ['of which something is left, in the draft', { ratelimit: '"default";r=12;t=30' }],
    ['that is over', { 'x-ratelimit-reset': String(now / 1000 - 5) }],
    ['that is over now', { 'ratelimit-reset': '0' }],
    ['that says nothing', { 'ratelimit-reset': 'soon' }],
    ['that is empty', { ratelimit: '' }],
  ])('a limit %s asks nobody to wait', (_, headers) => {
    expect(waitOf(500, headers)).toBeUndefined()
    expect(wordFor(answer(503, headers), sync)).toBe('retried')
    expect(waitOf(429, headers)).toBeLessThanOrEqual(4_000)
  })

  test('a wait is a day at most', () => {
    expect(waitOf(429, { 'ratelimit-reset': '999999' })).toBe(86_400_000)
  })
})

describe('statuses that a kind declares', () => {
  const declared: DispatchRules = {
    ...sync,
    statuses: new Map([
      [404, 'retry'],
      [429, 'retry'],
      [500, 'final'],
    ]),
  }

  test.each([
    [404, 'retried'],
    [429, 'retried'],
    [500, 'final'],
    [400, 'final'],
    [502, 'retried'],
  ])('%i: %s', (status, word) => {
    expect(wordFor(answer(status), declared)).toBe(word)
  })

  test('a declared retry obeys Retry-After, but is a failed attempt', () => {
    expect(verdictOn(answer(429, { 'retry-after': '7' }), declared, now)).toMatchObject({
      outcome: { kind: 'failed', retryable: true, delayMs: 7_000 },
    })
  })

  test("the function's own word goes before them", () => {
    expect(wordFor(answer(404, { 'millrace-no-retry': 'true' }), declared)).toBe('final')
    expect(wordFor(answer(500, { 'millrace-no-retry': 'false' }), declared)).toBe('retried')
  })
})

describe('Millrace-Snooze', () => {
  test.each([200, 202, 429, 500])('on %i ends the attempt, which has not failed, in either mode', status => {
    for (const rules of [sync, callback]) {
      expect(verdictOn(answer(status, { 'millrace-snooze': '90' }), rules, now)).toEqual({
        do: 'close',
        outcome: { kind: 'snoozed', delayMs: 90_000 },
      })
    }
  })

  test.each([
    ['0', 1_000],
    ['99999999', 30 * 86_400_000],
  ])('of %s seconds is brought within a second and 30 days', (seconds, delayMs) => {
    expect(verdictOn(answer(200, { 'millrace-snooze': seconds }), sync, now)).toMatchObject({ outcome: { delayMs } })
  })

  test('that is no time says nothing', () => {
    expect(wordFor(answer(200, { 'millrace-snooze': 'later' }), sync)).toBe('completed')
  })

  test('from who receives webhooks says nothing', () => {
    expect(wordFor(answer(200, { 'millrace-snooze': '90' }), webhook)).toBe('completed')
  })
})

describe("Millrace-No-Retry, the function's own word", () => {
  test('true makes a retryable failure final', () => {
    expect(wordFor(answer(500, { 'millrace-no-retry': 'true' }), sync)).toBe('final')
    expect(wordFor(answer(429, { 'millrace-no-retry': 'true' }), sync)).toBe('final')
    expect(wordFor(answer(503, { 'millrace-no-retry': 'true' }), callback)).toBe('final')
  })

  test('false makes a final failure retryable', () => {
    expect(wordFor(answer(401, { 'millrace-no-retry': 'false' }), sync)).toBe('retried')
  })

  test('anything else says nothing', () => {
    expect(wordFor(answer(500, { 'millrace-no-retry': 'yes' }), sync)).toBe('retried')
    expect(wordFor(answer(400, { 'millrace-no-retry': '' }), sync)).toBe('final')
  })
})

describe('the error on record', () => {
  const messageOf = (given: Answer): string => {
    const verdict = verdictOn(given, sync, now)
    return verdict.do === 'close' && 'error' in verdict.outcome ? (verdict.outcome.error?.message ?? '') : ''
  }

  test('names the status and carries the body', () => {
    expect(verdictOn(answer(500, {}, 'disk full'), sync, now)).toMatchObject({
      outcome: { error: { code: 'http_500', message: 'function returned 500: disk full' } },
    })
  })

  test('is cut off where a long body would go on, and never in the middle of a character', () => {
    const message = messageOf(answer(500, {}, `x${'😀'.repeat(2_000)}`))
    expect(message.length).toBeLessThan(2_000)
    expect(message.isWellFormed()).toBe(true)
  })

  test('holds nothing that Postgres refuses', () => {
    expect(messageOf(answer(500, {}, 'a\0b'))).not.toContain('\0')
  })
})

describe('no answer', () => {
  const refused = new TransportError('connect', 'ECONNREFUSED', false)
  const lost = new TransportError('connection_lost', 'ECONNRESET', true)
  const timeout = new TransportError('timeout', 'no answer within 30000 ms', true)
  const aborted = new TransportError('aborted', 'given up by the dispatcher', true)

  test.each([refused, lost, timeout])('$code in sync mode is a failure, retried', error => {
    expect(verdictOnFailure(error, sync)).toMatchObject({
      do: 'close',
      outcome: { kind: 'failed', retryable: true, error: { code: error.code, message: error.message } },
    })
  })

  test('in callback mode a request that was certainly not seen is a failure, retried', () => {
    expect(verdictOnFailure(refused, callback)).toMatchObject({
      do: 'close',
      outcome: { kind: 'failed', retryable: true },
    })
  })

  test.each([lost, timeout, aborted])(
    '$code in callback mode leaves the attempt open for a while, in case it was accepted',
    error => {
      expect(verdictOnFailure(error, callback)).toEqual({ do: 'park', timeoutSeconds: 60, code: error.code })
    },
  )

  test('it is left open no longer than an accepted one would be', () => {
    expect(verdictOnFailure(timeout, { ...callback, callbackTimeoutSeconds: 5 })).toMatchObject({
      do: 'park',
      timeoutSeconds: 5,
    })
  })

  test('a request that the time limit of its kind has ended says so', () => {
    expect(verdictOnFailure(timeout, { ...sync, isTimeLimited: true })).toMatchObject({
      outcome: { kind: 'failed', retryable: true, error: { code: 'deadline_exceeded' } },
    })
  })

  test('what a draining dispatcher gives up is handed back in sync mode, at no cost', () => {
    expect(verdictOnFailure(aborted, sync)).toEqual({ do: 'close', outcome: { kind: 'released' } })
  })
})
