// What a command of the `millrace` program is made of; every cli-<command>.ts defines one.

/** One `--option`, as node:util's parseArgs takes it, with its line of help. */
export interface Option {
  readonly type: 'string' | 'boolean'
  readonly short?: string
  readonly multiple?: boolean
  readonly help: string
  /** Stands for the value in the help, such as `URL`. */
  readonly value?: string
}

export type Options = Readonly<Record<string, Option>>

export type ValuesOf<O extends Options> = {
  readonly [K in keyof O]?: O[K]['type'] extends 'boolean' ? boolean : O[K]['multiple'] extends true ? string[] : string
}

export interface Run<O extends Options> {
  readonly values: ValuesOf<O>
  readonly positionals: readonly string[]
  /** Under `--json`. */
  readonly json: boolean
  /** Prints the result: `value` as a line of JSON under `--json`, else `text`. */
  result(text: string, value: unknown): void
  /** Tells people how it goes, on stderr; silent under `--json`. */
  progress(line: string): void
}

export interface Command {
  /** In a {@link Group} with the group's: `job list`. */
  readonly name: string
  readonly summary: string
  /** Positional arguments in the usage line, such as `<job>`. */
  readonly operands?: string
  /** More for `--help`, in plain text. */
  readonly details?: string
  readonly options: Options
  /** Rejected with a MillraceError (exit status 1) or a {@link UsageError} (2). */
  run(run: Run<Options>): Promise<void>
}

/** Commands on one subject: `millrace job list`, `millrace job show`. */
export interface Group {
  readonly name: string
  readonly summary: string
  readonly commands: readonly Command[]
}

/** Gives `run` the types of the command's own options. `--json` and `--help` are every command's. */
export function defineCommand<const O extends Options>(
  command: Omit<Command, 'options' | 'run'> & { readonly options: O; run(run: Run<O>): Promise<void> },
): Command {
  return command as unknown as Command
}

/** The call itself is wrong: exit status 2. */
export class UsageError extends Error {
  readonly hint: string | undefined

  constructor(message: string, hint?: string) {
    super(message)
    this.name = 'UsageError'
    this.hint = hint
  }
}

/** Not done, though the call is right: exit status 1. `code` is stable, as a MillraceError's. */
export class Failure extends Error {
  readonly code: string
  readonly hint: string | undefined

  constructor(code: string, message: string, hint?: string) {
    super(message)
    this.name = 'Failure'
    this.code = code
    this.hint = hint
  }
}

/** `--database-url` for any command that needs a database. */
export const databaseOption = {
  'database-url': { type: 'string', value: 'URL', help: 'the database (default: $DATABASE_URL)' },
} as const satisfies Options

/** `--schema` for any command that needs the engine. */
export const schemaOption = {
  schema: { type: 'string', value: 'NAME', help: 'the schema of the engine (default: millrace)' },
} as const satisfies Options

/** The database a command works on. */
export function databaseUrl(values: ValuesOf<typeof databaseOption>): string {
  const url = values['database-url'] ?? process.env.DATABASE_URL
  if (!url)
    throw new UsageError('no database given', 'Set DATABASE_URL or pass --database-url; `millrace pg` starts one.')
  if (!URL.canParse(url))
    throw new UsageError('the database URL is not a URL', 'postgres://user:password@host:5432/database')
  return url
}

/** A whole number of an option, within bounds. */
export function integer(name: string, text: string | undefined, least: number, most: number): number | undefined {
  if (text === undefined) return undefined
  const value = Number(text)
  if (/^\d+$/.test(text) && value >= least && value <= most) return value
  throw new UsageError(`--${name} takes a whole number from ${least} to ${most}, not "${text}"`)
}
