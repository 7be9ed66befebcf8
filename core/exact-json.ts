// JSON whose whole numbers stay what they are, also where no double can tell them: ids of 64 bits, of functions in other languages.

interface Raw {
  readonly rawJSON: string
}

/** Not in TypeScript's library yet; runtimes without it round, as `JSON.parse` does. */
const { rawJSON, isRawJSON } = JSON as {
  readonly rawJSON?: (text: string) => Raw
  readonly isRawJSON?: (value: unknown) => value is Raw
}

/**
 * `JSON.parse`, but for whole numbers beyond those of doubles: they come as objects that `JSON.stringify` writes as they were.
 *
 * @throws {SyntaxError}
 */
export function exactJson(text: string): unknown {
  return /[0-9]{16}/.test(text) ? JSON.parse(text, exact as Parameters<typeof JSON.parse>[1]) : JSON.parse(text)
}

function exact(_: string, value: unknown, context?: { readonly source?: string }): unknown {
  const source = context?.source
  if (typeof value !== 'number' || source === undefined || rawJSON === undefined) return value
  if (Number.isSafeInteger(value) || !Number.isFinite(value) || !/^-?[0-9]+$/.test(source)) return value
  return String(value) === source ? value : rawJSON(source)
}

/** The same with doubles only, for whoever reckons with it. */
export function rounded(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || isRawJSON === undefined) return value
  if (isRawJSON(value)) return Number(value.rawJSON)
  if (Array.isArray(value)) return value.map(rounded)
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, rounded(inner)]))
}
