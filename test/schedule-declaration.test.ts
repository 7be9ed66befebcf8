// Declaring schedules: what is wrong with one is said where it is written.

import * as v from 'valibot'
import { describe, expect, expectTypeOf, it } from 'vitest'
import { defineKind, defineSchedule, type Schedule } from '../core/index.ts'

const report = defineKind({ name: 'report', args: v.object({ format: v.picklist(['pdf', 'csv']), day: v.string() }) })
const nightly = { name: 'nightly', cron: '30 2 * * *', kind: report, args: { format: 'pdf', day: 'today' } } as const

const refused = (code: string, message: string) =>
  expect.objectContaining({ code, message: expect.stringContaining(message) })

describe('defineSchedule', () => {
  it('answers what it was given, frozen', () => {
    const schedule = defineSchedule({ ...nightly, timezone: 'Europe/Berlin', missed: 'skip', overlap: 'cancel' })
    expect(schedule).toMatchObject({ name: 'nightly', timezone: 'Europe/Berlin', missed: 'skip', overlap: 'cancel' })
    expect(Object.isFrozen(schedule)).toBe(true)
    expectTypeOf(schedule).toEqualTypeOf<Schedule>()
  })

  it.each([
    [{ name: '' }, '1 to 200'],
    [{ name: 'millrace.own' }, 'built in'],
    [{ cron: 'daily' }, '5 or 6 fields'],
    [{ cron: '* 25 * * *' }, 'hour'],
    [{ cron: '0 0 31 2 *' }, 'never comes'],
    [{ timezone: 'Europe/Nowhere' }, 'IANA'],
    [{ queue: '' }, 'queue has 1 to 200'],
    [{ priority: 5 }, 'priority'],
    [{ maxAttempts: 0 }, 'maxAttempts'],
    [{ missed: 'fire_all' as 'skip' }, 'missed is'],
    [{ overlap: 'queue' as 'skip' }, 'overlap is'],
    [{ metadata: { schedule: 1 } }, 'metadata.schedule'],
    [{ metadata: { at: new Date() as unknown as string } }, 'not a plain object'],
  ])('refuses %j', (part, message) => {
    expect(() => defineSchedule({ ...nightly, ...part })).toThrow(refused('invalid_declaration', message))
  })

  it('checks the arguments against the schema of the kind', () => {
    // @ts-expect-error no such format
    expect(() => defineSchedule({ ...nightly, args: { format: 'doc', day: 'today' } })).toThrow(
      refused('invalid_args', 'format'),
    )
    // @ts-expect-error the day is missing
    expect(() => defineSchedule({ ...nightly, args: { format: 'pdf' } })).toThrow(refused('invalid_args', 'day'))
    const any = defineKind({ name: 'any', args: v.unknown() })
    expect(() => defineSchedule({ ...nightly, kind: any, args: { at: new Date() } })).toThrow(
      refused('invalid_args', 'at'),
    )
  })

  it('leaves the field for the time to each occurrence', () => {
    expect(defineSchedule({ ...nightly, args: { format: 'csv' }, timeArg: 'day' })).toMatchObject({ timeArg: 'day' })
    // @ts-expect-error no such field
    expect(() => defineSchedule({ ...nightly, args: { format: 'csv' }, timeArg: 'hour' })).toThrow(
      refused('invalid_args', 'day'),
    )
    const list = defineKind({ name: 'list', args: v.array(v.number()) })
    expect(() => defineSchedule({ ...nightly, kind: list, args: [1], timeArg: 'length' as never })).toThrow(
      refused('invalid_declaration', 'timeArg'),
    )
  })
})
