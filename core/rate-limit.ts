// When a limit that was reached is over, as the RateLimit headers say it: those of the IETF's drafts and what came before.

/** A number from here on is a point in time, as seconds since 1970; a smaller one counts from now. */
const EPOCH_SECONDS = 1e9
/** A number from here on is a point in time in milliseconds. */
const EPOCH_MS = 1e12

/**
 * How long until the limit is over that stands in the way, in milliseconds from `now`; undefined when no header tells,
 * when something is left of the limit, or when the time has come. `header` takes lower-case names.
 *
 * - `RateLimit: "burst";r=0;t=30` (draft-ietf-httpapi-ratelimit-headers from 08 on): of several limits that are used up,
 *   the last to be over; `RateLimit: limit=100, remaining=0, reset=30` (draft 07)
 * - `RateLimit-Reset`, `X-RateLimit-Reset`, `X-Rate-Limit-Reset`: seconds, seconds or milliseconds since 1970, or a date
 */
export function rateLimitResetMs(header: (name: string) => string | undefined, now: number): number | undefined {
  const structured = header('ratelimit')
  const waits = structured === undefined ? resets(header, now) : itemsOf(structured).map(item => resetOfItem(item, now))
  const longest = Math.max(...waits.filter(wait => wait !== undefined))
  return longest > 0 ? longest : undefined
}

function resets(header: (name: string) => string | undefined, now: number): (number | undefined)[] {
  const names = ['ratelimit', 'x-ratelimit', 'x-rate-limit']
  const family = names.find(name => header(`${name}-reset`) !== undefined)
  return family === undefined ? [] : [resetMs(header(`${family}-reset`), header(`${family}-remaining`), now)]
}

/** One limit: its parameters by name. Draft 07 has all of them in one item, separated by commas. */
function itemsOf(text: string): Map<string, string>[] {
  const items = /\breset\s*=/.test(text) ? [text.replaceAll(',', ';')] : text.split(',')
  return items.map(
    item => new Map([...item.matchAll(/([a-z]+)\s*=\s*"?([0-9.]+)/gi)].map(([, k, v]) => [`${k}`, `${v}`])),
  )
}

const resetOfItem = (item: Map<string, string>, now: number): number | undefined =>
  resetMs(item.get('t') ?? item.get('reset'), item.get('r') ?? item.get('remaining'), now)

function resetMs(reset: string | undefined, remaining: string | undefined, now: number): number | undefined {
  // Many send these headers with every answer; a limit of which something is left asks nobody to wait.
  if (Number.parseFloat(remaining ?? '0') > 0) return undefined
  const text = reset?.trim() ?? ''
  const number = /^[0-9]+(\.[0-9]+)?$/.test(text) ? Number(text) : undefined
  if (number === undefined) return dateMs(text, now)
  if (number >= EPOCH_MS) return number - now
  return number >= EPOCH_SECONDS ? number * 1000 - now : number * 1000
}

function dateMs(text: string, now: number): number | undefined {
  const date = /^([A-Z][a-z]{2}, |[0-9]{4}-)/.test(text) ? Date.parse(text) : Number.NaN
  return Number.isNaN(date) ? undefined : date - now
}
