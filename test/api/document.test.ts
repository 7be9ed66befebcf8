// The OpenAPI document and the app's routes are the same, both ways; that answers are as it says, every call of these tests checks.

import { describe, expect, it } from 'vitest'
import { apiRoutes } from '../../core/api/app.ts'
import { openApi } from '../../core/api/openapi.ts'
import { documented, operations, useApi } from '../support/api.ts'

const api = useApi()

const names = documented.map(({ method, path }) => `${method} ${path}`)

/** Everything that the app does something at, but for the answers to wrong methods and unknown paths. */
const routed = () =>
  api.app.routes
    .filter(({ method }) => method !== 'ALL')
    .map(({ method, path }) => `${method} ${path.replaceAll(/:(\w+)/g, '{$1}')}`)

describe('the document', () => {
  it('has every route of the app, and the app every one of its operations', () => {
    expect(routed().sort()).toEqual([...names].sort())
    expect(new Set(names).size).toBe(names.length)
  })

  it('is served to whoever has a key', async () => {
    const { status, body } = await api.call('GET', '/api/openapi.json')
    expect(status).toBe(200)
    expect(body).toEqual(JSON.parse(JSON.stringify(openApi(apiRoutes))))
  })

  it('names every parameter of a path, what each operation takes, and all that it may answer', () => {
    for (const { method, path, parameters, requestBody, statuses, scope } of operations) {
      const named = parameters.filter(parameter => parameter.in === 'path').map(({ name }) => name)
      expect(named).toEqual([...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name))
      expect(statuses).toEqual(expect.arrayContaining([400, 401, 503]))
      if (scope) expect(statuses).toContain(403)
      if (method === 'POST') expect(statuses).toEqual(expect.arrayContaining([413, 415]))
      expect(method === 'POST' || requestBody === undefined).toBe(true)
    }
  })

  it('has operation ids that differ, and refers to nothing that it does not have', () => {
    const text = JSON.stringify(openApi(apiRoutes))
    const ids = [...text.matchAll(/"operationId":"(\w+)"/g)].map(([, id]) => id)
    expect(ids).toHaveLength(documented.length)
    expect(new Set(ids).size).toBe(ids.length)
    const { components } = openApi(apiRoutes) as { components: { schemas: Record<string, unknown> } }
    const referred = [...text.matchAll(/#\/components\/schemas\/(\w+)/g)].map(([, name]) => name)
    expect([...new Set(referred)].sort()).toEqual(Object.keys(components.schemas).sort())
  })
})
