// The state table, as docs/states.md has it.

import { readFileSync } from 'node:fs'

export interface Cell {
  readonly event: string
  readonly state: string
  /** Nothing changes in any table. */
  readonly refused: boolean
  /** The state afterwards; undefined when refused. */
  readonly becomes: string | undefined
  /** By how much the attempt's number grows. */
  readonly step: number
  /** What the caller is told; empty: nothing that matters. */
  readonly answer: string
}

const cells = (line: string): string[] =>
  line
    .split('|')
    .slice(1, -1)
    .map(text => text.trim())

function parse(event: string, state: string, text: string): Cell {
  const match = /^(?:(=)|(\w+)( \+1)?)(?:(?:, | )(\w+))?$/.exec(text)
  if (!match) throw new Error(`${event} / ${state}: what does "${text}" mean?`)
  const [, refused, becomes, step, answer = ''] = match
  return { event, state, refused: refused === '=', becomes, step: step ? 1 : 0, answer }
}

/** Every cell of the document's tables; `section` is the heading above a table, in lower case. */
export function readTable(): (Cell & { readonly section: string })[] {
  const text = readFileSync(new URL('../../docs/states.md', import.meta.url), 'utf8')
  return text.split(/^## /m).flatMap(part => {
    const section = (part.split('\n')[0] as string).toLowerCase()
    const [header, , ...rows] = part.split('\n').filter(line => line.startsWith('|'))
    if (header === undefined || cells(header)[0] !== 'event') return []
    const [, ...states] = cells(header)
    return rows.flatMap(row => {
      const [event, ...outcomes] = cells(row) as [string, ...string[]]
      if (outcomes.length !== states.length) throw new Error(`${event}: ${outcomes.length} cells`)
      return states.map((state, n) => ({ section, ...parse(event, state, outcomes[n] as string) }))
    })
  })
}
