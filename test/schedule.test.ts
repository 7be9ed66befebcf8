// When a schedule is due: time zones and their odd days, and what is made up for after an outage.

import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { dueOccurrences, type MissedPolicy, MOST_AT_ONCE, nextOccurrences } from '../core/schedule.ts'

const times = (expression: string, timezone: string, from: string, count: number) =>
  nextOccurrences({ expression, timezone }, count, new Date(from)).map(at => at.toISOString().replace('.000Z', 'Z'))

const due = (expression: string, missed: MissedPolicy, doneTo: string, now: string, timezone = 'UTC') => {
  const { occurrences, ...rest } = dueOccurrences({ expression, timezone, missed }, new Date(doneTo), new Date(now))
  return { fired: occurrences.map(at => at.toISOString()), ...rest }
}

describe('a time of day that the zone skips in spring comes once, at the first instant after the gap', () => {
  it.each([
    ['Europe/Berlin', '30 2 * * *', '2026-03-28T12:00:00Z', '2026-03-29T01:00:00Z', '2026-03-30T00:30:00Z'],
    ['America/New_York', '30 2 * * *', '2026-03-07T12:00:00Z', '2026-03-08T07:00:00Z', '2026-03-09T06:30:00Z'],
    ['Australia/Sydney', '30 2 * * *', '2026-10-03T00:00:00Z', '2026-10-03T16:00:00Z', '2026-10-04T15:30:00Z'],
    // Half an hour: 2:00 becomes 2:30.
    ['Australia/Lord_Howe', '15 2 * * *', '2026-10-03T00:00:00Z', '2026-10-03T15:30:00Z', '2026-10-04T15:15:00Z'],
    // At midnight.
    ['America/Sao_Paulo', '0 0 * * *', '2018-11-03T12:00:00Z', '2018-11-04T03:00:00Z', '2018-11-05T02:00:00Z'],
    // Two times in the gap are one instant.
    ['Europe/Berlin', '0,30 2 * * *', '2026-03-28T12:00:00Z', '2026-03-29T01:00:00Z', '2026-03-30T00:00:00Z'],
  ])('%s, %s', (timezone, expression, from, ...expected) => {
    expect(times(expression, timezone, from, 2)).toEqual(expected)
  })

  it('but a day that the zone skips whole is skipped whole', () => {
    expect(times('0 12 * * *', 'Pacific/Apia', '2011-12-29T12:00:00Z', 2)).toEqual([
      '2011-12-29T22:00:00Z', // the 29th
      '2011-12-30T22:00:00Z', // the 31st
    ])
  })
})

describe('a time of day that the zone repeats in autumn comes exactly once, the first time', () => {
  it.each([
    ['Europe/Berlin', '30 2 * * *', '2026-10-24T12:00:00Z', '2026-10-25T00:30:00Z', '2026-10-26T01:30:00Z'],
    ['America/New_York', '30 1 * * *', '2026-10-31T12:00:00Z', '2026-11-01T05:30:00Z', '2026-11-02T06:30:00Z'],
    ['Australia/Sydney', '30 2 * * *', '2026-04-04T00:00:00Z', '2026-04-04T15:30:00Z', '2026-04-05T16:30:00Z'],
    ['Australia/Lord_Howe', '45 1 * * *', '2026-04-04T00:00:00Z', '2026-04-04T14:45:00Z', '2026-04-05T15:15:00Z'],
    ['Europe/Berlin', '30 2,14 * * *', '2026-10-24T13:00:00Z', '2026-10-25T00:30:00Z', '2026-10-25T13:30:00Z'],
  ])('%s, %s', (timezone, expression, from, ...expected) => {
    expect(times(expression, timezone, from, 2)).toEqual(expected)
  })
})

describe('what goes by the hour or by a step goes by the time that passes', () => {
  it('and comes in both of the repeated hours', () => {
    expect(times('30 * * * *', 'Europe/Berlin', '2026-10-24T23:45:00Z', 3)).toEqual([
      '2026-10-25T00:30:00Z',
      '2026-10-25T01:30:00Z',
      '2026-10-25T02:30:00Z',
    ])
    expect(times('*/15 * * * *', 'Australia/Lord_Howe', '2026-04-04T14:35:00Z', 4)).toEqual([
      '2026-04-04T14:45:00Z',
      '2026-04-04T15:00:00Z',
      '2026-04-04T15:15:00Z',
      '2026-04-04T15:30:00Z',
    ])
  })

  it('and not in the one that is skipped', () => {
    expect(times('*/30 2 * * *', 'Europe/Berlin', '2026-03-28T12:00:00Z', 1)).toEqual(['2026-03-30T00:00:00Z'])
  })
})

describe('fields', () => {
  it.each([
    [
      'six of them begin with seconds',
      '*/20 * * * * *',
      '2026-01-31T23:59:30.500Z',
      ['2026-01-31T23:59:40Z', '2026-02-01T00:00:00Z'],
    ],
    ['a leap day', '0 0 29 2 *', '2026-01-01T00:00:00Z', ['2028-02-29T00:00:00Z', '2032-02-29T00:00:00Z']],
    [
      'the 31st is in some months only',
      '0 0 31 * *',
      '2026-01-31T00:00:00Z',
      ['2026-03-31T00:00:00Z', '2026-05-31T00:00:00Z'],
    ],
    [
      'L is the last day of a month',
      '0 0 L * *',
      '2028-01-31T00:00:00Z',
      ['2028-02-29T00:00:00Z', '2028-03-31T00:00:00Z'],
    ],
    ['names and ranges', '0 9 * JAN MON-TUE', '2026-01-05T12:00:00Z', ['2026-01-06T09:00:00Z', '2026-01-12T09:00:00Z']],
    ['a date that there is not', '0 0 31 2 *', '2026-01-01T00:00:00Z', []],
  ])('%s', (_, expression, from, expected) => {
    expect(times(expression, 'UTC', from, 2)).toEqual(expected)
  })

  it.each([
    ['* * * *', 'UTC', 'does not have 5 or 6 fields'],
    ['* * * * * * *', 'UTC', 'does not have 5 or 6 fields'],
    ['2026-01-01T00:00:00Z', 'UTC', 'does not have 5 or 6 fields'],
    ['60 * * * *', 'UTC', 'minute'],
    ['* * * * *', 'Europe/Nowhere', 'not the IANA name'],
    ['* * * * *', '+02:00', 'not the IANA name'],
    ['* * * * *', '', 'not the IANA name'],
  ])('%s in %s is refused', (expression, timezone, message) => {
    expect(() => times(expression, timezone, '2026-01-01T00:00:00Z', 1)).toThrow(
      expect.objectContaining({ code: 'invalid_declaration', message: expect.stringContaining(message) }),
    )
  })
})

describe('after an outage', () => {
  const [from, now] = ['2026-05-01T10:00:00.250Z', '2026-05-01T13:00:30.750Z']

  it('coalesce fires the latest occurrence only', () => {
    expect(due('0 * * * *', 'coalesce', from, now)).toEqual({
      fired: ['2026-05-01T13:00:00.000Z'],
      doneTo: new Date(now),
      nextAt: new Date('2026-05-01T14:00:00Z'),
    })
  })

  it('skip fires what is a minute late at most', () => {
    expect(due('0 * * * *', 'skip', from, now).fired).toEqual(['2026-05-01T13:00:00.000Z'])
    expect(due('0 * * * *', 'skip', from, '2026-05-01T13:01:00Z').fired).toEqual(['2026-05-01T13:00:00.000Z'])
    expect(due('0 * * * *', 'skip', from, '2026-05-01T13:01:00.001Z')).toMatchObject({
      fired: [],
      nextAt: new Date('2026-05-01T14:00:00Z'),
    })
    expect(due('*/20 * * * * *', 'skip', from, now).fired).toHaveLength(3)
  })

  it('catch_up fires each, in order', () => {
    expect(due('0 * * * *', 'catch_up', from, now)).toEqual({
      fired: ['2026-05-01T11:00:00.000Z', '2026-05-01T12:00:00.000Z', '2026-05-01T13:00:00.000Z'],
      doneTo: new Date(now),
      nextAt: new Date('2026-05-01T14:00:00Z'),
    })
  })

  it('catch_up fires a thousand at once and goes on from there', () => {
    const first = due('* * * * * *', 'catch_up', '2026-05-01T10:00:00Z', '2026-05-01T10:30:00Z')
    expect(first.fired).toHaveLength(MOST_AT_ONCE)
    expect(first).toMatchObject({
      doneTo: new Date('2026-05-01T10:16:40Z'),
      nextAt: new Date('2026-05-01T10:16:41Z'),
    })
    const second = due('* * * * * *', 'catch_up', first.doneTo.toISOString(), '2026-05-01T10:30:00Z')
    expect(second.fired).toHaveLength(800)
    expect(second.fired[0]).toBe('2026-05-01T10:16:41.000Z')
  })

  it.each(['coalesce', 'skip', 'catch_up'] as const)('%s fires nothing that was done before', missed => {
    expect(due('0 * * * *', missed, '2026-05-01T13:00:00Z', now).fired).toEqual([])
    expect(due('0 * * * *', missed, '2026-05-01T13:00:00Z', '2026-05-01T12:59:00Z')).toEqual({
      fired: [],
      doneTo: new Date('2026-05-01T13:00:00Z'), // the clock was set back
      nextAt: new Date('2026-05-01T14:00:00Z'),
    })
  })

  it('an expression that never comes has no next time', () => {
    for (const missed of ['coalesce', 'skip', 'catch_up'] as const)
      expect(due('0 0 30 2 *', missed, from, now)).toEqual({ fired: [], doneTo: new Date(now), nextAt: undefined })
  })
})

describe('passes at any instants', () => {
  const ZONES = ['UTC', 'Europe/Berlin', 'America/New_York', 'Australia/Sydney', 'Australia/Lord_Howe']
  const EXPRESSIONS = ['*/7 * * * *', '30 * * * *', '30 2 * * *', '0,30 1-2 * * *', '15 1,2,3 * * SUN', '*/10 2 * * *']
  // The nights in which these zones change their clocks.
  const NIGHTS = ['2026-03-28', '2026-10-24', '2026-03-07', '2026-10-31', '2026-10-03', '2026-04-04']

  it('catch up with every occurrence once, and coalesce fires a part of those, the latest always', () => {
    const instants = fc.array(fc.integer({ min: 0, max: 24 * 3600_000 }), { minLength: 1, maxLength: 12 })
    const property = fc.property(
      fc.constantFrom(...ZONES),
      fc.constantFrom(...EXPRESSIONS),
      fc.constantFrom(...NIGHTS),
      instants,
      (timezone, expression, night, offsets) => {
        const start = new Date(`${night}T10:00:00Z`)
        const passes = offsets.toSorted((a, b) => a - b).map(offset => new Date(start.getTime() + offset))
        const end = passes.at(-1) as Date
        const all = nextOccurrences({ expression, timezone }, 220, start).filter(at => at <= end)
        const fired = (missed: MissedPolicy) => {
          let doneTo = start
          return passes.flatMap(now => {
            const pass = dueOccurrences({ expression, timezone, missed }, doneTo, now)
            doneTo = pass.doneTo
            return pass.occurrences
          })
        }
        expect(fired('catch_up')).toEqual(all)
        const coalesced = fired('coalesce').map(Number)
        expect(coalesced).toEqual(all.map(Number).filter(at => coalesced.includes(at)))
        expect(coalesced.at(-1)).toBe(all.length === 0 ? undefined : Number(all.at(-1)))
      },
    )
    fc.assert(property, { numRuns: 30 })
  })
})
