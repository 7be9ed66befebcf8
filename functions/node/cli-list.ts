// Lists of any length, page by page: what `--limit`, `--cursor` and `--all` mean, and how they are printed.

import type { Page, PageOptions } from '../../core/admin/calls.ts'
import { integer, type Options, type Run, type ValuesOf } from './cli-command.ts'
import { type Column, table } from './cli-table.ts'

export const pageOptions = {
  limit: { type: 'string', value: 'N', help: 'so many at most (default: 100)' },
  cursor: { type: 'string', value: 'CURSOR', help: 'go on where the list before ended' },
  all: { type: 'boolean', help: 'all there are, however many' },
} as const satisfies Options

/** What one page holds at most. */
const PAGE = 1_000
/** A page may be empty and not be the last; after so many, whoever asked may ask on. */
const EMPTY_PAGES = 50

interface Listing<Item> {
  readonly ask: (options: PageOptions) => Promise<Page<Item>>
  readonly columns: readonly Column<Item>[]
  /** Said when there are none. */
  readonly none: string
}

/** Prints as it reads, so that even a list of everything is held in memory a page at a time only. */
export async function printList<Item>(
  { values, json, progress }: Pick<Run<typeof pageOptions>, 'values' | 'json' | 'progress'>,
  { ask, columns, none }: Listing<Item>,
): Promise<void> {
  let printed = 0
  let cursor: string | null = null
  let opening = '{"items":['
  for await (const page of pages(ask, values)) {
    if (json) {
      const items = page.items.map((item, n) => `${printed + n > 0 ? ',' : ''}${JSON.stringify(item)}`)
      write(`${opening}${items.join('')}`)
      opening = ''
    } else if (page.items.length > 0) {
      write(`${table(page.items, columns, { header: printed === 0 }).join('\n')}\n`)
    }
    printed += page.items.length
    cursor = page.cursor
    // Whoever reads has read enough (`| head`).
    if (process.stdout.destroyed) return
  }
  if (json) return write(`],"cursor":${JSON.stringify(cursor)}}\n`)
  if (printed === 0) progress(cursor === null ? none : `${none} so far`)
  if (cursor !== null) progress(`There are more: --cursor ${cursor}`)
}

async function* pages<Item>(ask: Listing<Item>['ask'], values: ValuesOf<typeof pageOptions>) {
  let left = values.all ? Number.POSITIVE_INFINITY : (integer('limit', values.limit, 1, 1_000_000) ?? 100)
  let cursor: string | null = values.cursor ?? null
  for (let empty = 0; left > 0 && (values.all || empty < EMPTY_PAGES); ) {
    const page: Page<Item> = await ask({ limit: Math.min(left, PAGE), cursor })
    yield page
    left -= page.items.length
    empty = page.items.length === 0 ? empty + 1 : 0
    cursor = page.cursor
    if (cursor === null) return
  }
}

function write(text: string): void {
  process.stdout.write(text)
}
