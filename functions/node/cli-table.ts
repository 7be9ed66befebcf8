// Tables and facts for people to read, as wide as the terminal.

/** An ISO 8601 time, shown with how far away it is. */
export interface Moment {
  readonly at: string
}

export type Cell = string | number | null | undefined | Moment

export interface Column<Item> {
  readonly title: string
  readonly of: (item: Item) => Cell
  /** Numbers. */
  readonly right?: boolean
  /** Is cut where the terminal is too narrow. */
  readonly shrinks?: boolean
}

const GAP = '  '
const LEAST = 12

export const moment = (at: string | null | undefined): Cell => (at ? { at } : null)

/** How wide lines may be; as long as they like where nobody looks. */
const terminalWidth = (): number => process.stdout.columns ?? (Number(process.env.COLUMNS) || Number.POSITIVE_INFINITY)

/**
 * The lines of a table. Where they are wider than `width`, times lose their date, then the columns that may shrink are cut.
 */
export function table<Item>(
  items: readonly Item[],
  columns: readonly Column<Item>[],
  { width = terminalWidth(), header = true }: { width?: number; header?: boolean } = {},
): string[] {
  const rowsOf = (short: boolean) => [
    ...(header ? [columns.map(({ title }) => title)] : []),
    ...items.map(item => columns.map(({ of }) => cellText(of(item), short))),
  ]
  let rows = rowsOf(false)
  if (lineLength(rows) > width) rows = rowsOf(true)
  const widths = shrink(widthsOf(rows), columns, width)
  return rows.map(row =>
    row
      .map((text, n) => aligned(text, widths[n] as number, columns[n]?.right))
      .join(GAP)
      .trimEnd(),
  )
}

/** Names and what they are, one line each; those that are nothing are left out. */
export function facts(rows: readonly (readonly [name: string, cell: Cell])[]): string[] {
  const told = rows.flatMap(([name, cell]) => (cellText(cell) === '' ? [] : [[name, cellText(cell)] as const]))
  const width = Math.max(...told.map(([name]) => name.length))
  return told.map(([name, text]) => `${name.padEnd(width)}${GAP}${text}`)
}

function cellText(cell: Cell, short = false): string {
  if (cell === null || cell === undefined) return ''
  return typeof cell === 'object' ? timeText(cell.at, short) : printable(String(cell))
}

/** What functions and users wrote must neither break lines nor steer the terminal. */
export const printable = (text: string): string => text.replace(/[\p{Cc}\u2028\u2029]+/gu, ' ')

function timeText(at: string, short: boolean): string {
  const date = new Date(at)
  if (Number.isNaN(date.getTime())) return printable(at)
  const distance = relative(date.getTime() - Date.now())
  return short ? distance : `${date.toISOString().replace(/\.\d+Z$/, 'Z')} (${distance})`
}

function relative(ms: number): string {
  const far = duration(Math.abs(ms) / 1_000)
  if (Math.abs(ms) < 1_000) return 'now'
  return ms < 0 ? `${far} ago` : `in ${far}`
}

/** `45s`, `3m`, `5h`, `12d`: rounded down. */
export function duration(seconds: number): string {
  const [size, unit] = (
    [
      [86_400, 'd'],
      [3_600, 'h'],
      [60, 'm'],
      [1, 's'],
    ] as const
  ).find(([size]) => seconds >= size) ?? [1, 's']
  return `${Math.floor(seconds / size)}${unit}`
}

const widthsOf = (rows: readonly (readonly string[])[]): number[] =>
  (rows[0] ?? []).map((_, n) => Math.max(...rows.map(row => row[n]?.length ?? 0)))

const total = (widths: readonly number[]): number => widths.reduce((sum, w) => sum + w + GAP.length, -GAP.length)

const lineLength = (rows: readonly (readonly string[])[]): number => total(widthsOf(rows))

/** Takes from the last column that may shrink first. */
function shrink<Item>(widths: number[], columns: readonly Column<Item>[], width: number): number[] {
  const shrunk = [...widths]
  for (let n = columns.length - 1; n >= 0; n--) {
    const own = shrunk[n] as number
    const excess = total(shrunk) - width
    if (columns[n]?.shrinks && excess > 0) shrunk[n] = Math.max(Math.min(own, LEAST), own - excess)
  }
  return shrunk
}

function aligned(text: string, width: number, right = false): string {
  const cut = text.length > width ? `${text.slice(0, width - 1)}…` : text
  return right ? cut.padStart(width) : cut.padEnd(width)
}
