// What a function reports of its progress, checked.

import type { Json } from './json.ts'
import type { Progress } from './wire.ts'

/** Percent is brought into 0 to 100, as Awa does; what else is in it is left out. Throws what `wrong` makes of a fault. */
export function progressOf(value: Json, wrong: (what: string) => Error): Progress {
  if (!isObject(value)) throw wrong('progress must be an object')
  const { percent, message, metadata } = value
  if (percent !== undefined && typeof percent !== 'number') throw wrong('progress.percent must be a number')
  if (message !== undefined && typeof message !== 'string') throw wrong('progress.message must be a string')
  if (metadata !== undefined && !isObject(metadata)) throw wrong('progress.metadata must be an object')
  return {
    ...(percent !== undefined && { percent: Math.min(100, Math.max(0, percent)) }),
    ...(message !== undefined && { message }),
    ...(metadata !== undefined && { metadata }),
  }
}

const isObject = (value: Json | undefined): value is { readonly [key: string]: Json | undefined } =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
