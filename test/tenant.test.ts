// To whom a job belongs: an option of enqueueing that its metadata carry.

import { defineKind, enqueue } from 'millrace'
import * as v from 'valibot'
import { describe, expect, test } from 'vitest'
import { useDatabase } from './support/database.ts'
import { workOn } from './support/maintenance.ts'

const shared = useDatabase()
const kind = defineKind({ name: 'belongs', args: v.object({}) })

const metadataOf = async (options: object) => {
  const id = await enqueue(shared.sql, kind, {}, options)
  return (await workOn(shared).job(String(id))).metadata
}

describe('a tenant', () => {
  test('stands in the metadata, beside what else is there', async () => {
    expect(await metadataOf({ tenant: 'acme' })).toEqual({ tenant: 'acme' })
    expect(await metadataOf({ tenant: 'acme', metadata: { a: 1 } })).toEqual({ a: 1, tenant: 'acme' })
    expect(await metadataOf({ tenant: 'acme', metadata: { tenant: 'acme' } })).toEqual({ tenant: 'acme' })
    expect(await metadataOf({})).toEqual({})
  })

  test.each([{ tenant: '' }, { tenant: 'x'.repeat(201) }, { tenant: 7 }, { tenant: 'a', metadata: { tenant: 'b' } }])(
    'is refused as %j',
    async options => {
      await expect(enqueue(shared.sql, kind, {}, options as never)).rejects.toMatchObject({ code: 'invalid_metadata' })
    },
  )
})
