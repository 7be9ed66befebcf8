// Tables for people: as wide as the terminal, and nothing in a cell breaks a line or steers the terminal.

import { describe, expect, it } from 'vitest'
import { type Column, duration, facts, moment, table } from '../../functions/node/cli-table.ts'

interface Row {
  readonly id: number
  readonly at: string
  readonly error: string
}

const columns: readonly Column<Row>[] = [
  { title: 'ID', of: ({ id }) => id, right: true },
  { title: 'AT', of: ({ at }) => moment(at) },
  { title: 'ERROR', of: ({ error }) => error, shrinks: true },
]
const threeHoursAgo = new Date(Date.now() - 3 * 3_600_000 - 1_000).toISOString()
const iso = threeHoursAgo.replace(/\.\d+Z/, 'Z')
const row: Row = { id: 7, at: threeHoursAgo, error: 'the printer is out of paper' }

describe('table', () => {
  it('shows times as they are and how far away, where there is room', () => {
    expect(table([row, { ...row, id: 12 }], columns, { width: 200 })).toEqual([
      `ID  ${'AT'.padEnd(iso.length + 9)}  ERROR`,
      ` 7  ${iso} (3h ago)  the printer is out of paper`,
      `12  ${iso} (3h ago)  the printer is out of paper`,
    ])
  })

  it('leaves the date out where there is not', () => {
    expect(table([row], columns, { width: 50, header: false })).toEqual(['7  3h ago  the printer is out of paper'])
  })

  it('then cuts what may be cut, down to a dozen letters', () => {
    expect(table([row], columns, { width: 30, header: false })).toEqual(['7  3h ago  the printer is out…'])
    expect(table([row], columns, { width: 5, header: false })).toEqual(['7  3h ago  the printer…'])
  })

  it('keeps control characters out', () => {
    const [line] = table([{ ...row, error: 'a\nb\u001b[2Jc\u0085d\u2028e' }], columns, { width: 200, header: false })
    expect(line).toMatch(/a b \[2Jc d e$/)
  })
})

it('facts leave out what is nothing', () => {
  expect(
    facts([
      ['state', 'failed'],
      ['tags', ''],
      ['unique key', null],
      ['attempt', 0],
    ]),
  ).toEqual(['state    failed', 'attempt  0'])
})

it.each([
  [0.4, '0s'],
  [59.9, '59s'],
  [60, '1m'],
  [7_199, '1h'],
  [200_000, '2d'],
])('%d seconds are %s', (seconds, text) => expect(duration(seconds)).toBe(text))
