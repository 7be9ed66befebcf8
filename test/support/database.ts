// A fresh, migrated database for one test file.

import { cloneDatabase, type TestDatabase } from 'millrace/testing'
import { afterAll, beforeAll, inject } from 'vitest'

/**
 * Copies the template before the file's tests and drops the copy afterwards; connections left open fail the file.
 * The properties are there once the tests run, so read them inside tests and hooks.
 */
export function useDatabase(): Pick<TestDatabase, 'url' | 'name' | 'sql'> {
  let database: TestDatabase | undefined
  beforeAll(async () => {
    const { url, template } = inject('postgres')
    database = await cloneDatabase(url, template)
  })
  afterAll(() => database?.drop())
  const ready = (): TestDatabase => {
    if (!database) throw new Error('The database is there inside of tests and hooks only')
    return database
  }
  return {
    get url() {
      return ready().url
    },
    get name() {
      return ready().name
    },
    get sql() {
      return ready().sql
    },
  }
}
