// What a key of one tenant's is held to: its own jobs, and no word of others.

import type { Id } from '../job-id.ts'
import { tenantKey } from '../tenant.ts'
import { notFound, Problem } from './problem.ts'
import type { Call } from './route.ts'

/** Of which tenant things are to be: the key's own, else the one that was asked for. @throws {Problem} `forbidden` for another's */
export function tenantOf({ tenant }: Call, given?: string): string | undefined {
  if (tenant !== undefined && given !== undefined && given !== tenant) {
    throw new Problem('forbidden', 'This key is of another tenant')
  }
  return tenant ?? given
}

/** A unique key as the tenant's jobs have it. */
export const uniqueKeyOf = <K extends string | undefined>({ tenant }: Call, key: K): K =>
  (tenant === undefined || key === undefined ? key : tenantKey(tenant, key)) as K

/** Those of the jobs that this key may see; the others are to be as if they were not there. */
export async function own({ tenant, admin }: Call, ids: readonly Id[]): Promise<readonly Id[]> {
  return tenant === undefined ? ids : admin.jobs.ofTenant(tenant, ids)
}

/** The same of one. @throws {Problem} `not_found`, in the words for one that is not there */
export async function ownOne(call: Call, id: Id, what = 'job'): Promise<void> {
  if ((await own(call, [id])).length === 0) throw notFound(what)
}

/** Does something with the key's own of the jobs; of each other one, tells what is told of one that is not there. */
export async function withOwn<Item extends { readonly id: number }>(
  call: Call,
  ids: readonly Id[],
  work: (ids: readonly Id[]) => Promise<readonly Item[]>,
  missing: (id: number) => Item,
): Promise<Item[]> {
  const mine = await own(call, ids)
  const found = mine.length === 0 ? [] : await work(mine)
  const known = new Set(mine.map(Number))
  const others = call.tenant === undefined ? [] : [...new Set(ids.map(Number))].filter(id => !known.has(id))
  return [...found, ...others.map(missing)].sort((a, b) => a.id - b.id)
}
