// The Retry-After header (RFC 9110, 10.2.3): seconds or an HTTP date.

/** How long to wait, in milliseconds from `now`; undefined when the header is missing or says neither. */
export function retryAfterMs(header: string | null, now: number): number | undefined {
  const text = header?.trim() ?? ''
  if (/^[0-9]{1,9}$/.test(text)) return Number(text) * 1000
  const date = /[A-Za-z]/.test(text) ? Date.parse(text) : Number.NaN
  return Number.isNaN(date) ? undefined : Math.max(0, date - now)
}
