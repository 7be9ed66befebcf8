// Ids of jobs, dead letters and batches, as callers give them.

import { MillraceError } from './errors.ts'
import { arrayLiteral } from './sql.ts'

/** A job or batch by its number, in whatever shape it travelled. */
export type Id = string | number | bigint

/** A Postgres array of ids. @throws {MillraceError} `invalid_request` when one of them is none */
export function idsLiteral(ids: readonly Id[]): string {
  for (const id of ids) checkId(id)
  return arrayLiteral(ids)
}

/** @throws {MillraceError} `invalid_request` when it is no number that an id could be */
export function checkId(id: Id): string {
  if (/^\d{1,18}$/.test(String(id))) return String(id)
  throw new MillraceError('invalid_request', `Not an id: ${id}`)
}
