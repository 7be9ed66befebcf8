// Requests for the API: those of every route, as its schema says and not, with right keys and without.

import fc from 'fast-check'
import { apiRoutes } from '../core/api/app.ts'
import type { Route } from '../core/api/route.ts'
import type { JsonSchema } from '../core/api/schema.ts'
import { type Plan, wires } from './ingress-plan.ts'
import { asJson, encoded, headers, junk, number, text, value } from './values.ts'
import { KEYS, type World } from './world.ts'

const mostly = <T, U>(right: fc.Arbitrary<T>, wrong: fc.Arbitrary<U>): fc.Arbitrary<T | U> =>
  fc.oneof({ weight: 12, arbitrary: right }, { weight: 1, arbitrary: wrong })

/** A value as a schema has it, mostly. */
function like(schema: JsonSchema, depth = 0): fc.Arbitrary<unknown> {
  const right = schema.anyOf ? fc.oneof(...schema.anyOf.map(one => like(one, depth))) : ofType(schema, depth)
  return fc.oneof({ weight: 40, arbitrary: right }, { weight: 1, arbitrary: value })
}

function ofType(schema: JsonSchema, depth: number): fc.Arbitrary<unknown> {
  const types = [schema.type ?? []].flat()
  if (types.length === 0 || depth > 4) return value
  return fc.oneof(...types.map(type => ofOneType(type, schema, depth)))
}

function ofOneType(type: string, schema: JsonSchema, depth: number): fc.Arbitrary<unknown> {
  const { minimum = -3, maximum = 50, items = {} } = schema
  switch (type) {
    case 'string':
      return textLike(schema)
    case 'integer':
      return mostly(fc.integer({ min: minimum, max: Math.min(maximum, minimum + 100) }), number)
    case 'number':
      return mostly(fc.double({ min: minimum, max: maximum, noNaN: true }), number)
    case 'boolean':
      return fc.boolean()
    case 'array':
      return fc.array(like(items, depth + 1), { minLength: schema.minItems ?? 0, maxLength: 3 })
    case 'null':
      return fc.constant(null)
    default:
      return objectLike(schema, depth)
  }
}

const name = fc.oneof(
  fc.constantFrom('default', 'work', 'own', 'others', 'acme', 'other', 'fuzz', 'paid'),
  fc.stringMatching(/^[a-z]{1,8}$/),
)

function textLike({ enum: values, format, pattern }: JsonSchema): fc.Arbitrary<string> {
  if (values) return fc.constantFrom(...values)
  if (format)
    return mostly(
      fc.constantFrom('2026-11-20T00:00:00Z', '2026-11-20T00:00:00.5+01:00', '9999-12-31T23:59:59Z'),
      fc.constantFrom('2026-13-01', '-1'),
    )
  return mostly(pattern ? fc.nat({ max: 300 }).map(String) : name, text)
}

type Field = fc.Arbitrary<unknown>

function objectLike({ properties = {}, required = [] }: JsonSchema, depth: number): fc.Arbitrary<unknown> {
  const fields = Object.fromEntries(Object.entries(properties).map(([name, schema]) => [name, like(schema, depth + 1)]))
  const needed = required.filter(name => name in fields)
  const optional = Object.keys(fields).filter(name => !needed.includes(name))
  const all = fc.record(fields, { requiredKeys: needed })
  // Of many together some are in each other's way.
  const few = fc
    .shuffledSubarray(optional, { maxLength: Math.min(optional.length, 2) })
    .chain(names => fc.record(Object.fromEntries([...needed, ...names].map(name => [name, fields[name] as Field]))))
  const stray = fc.dictionary(fc.oneof(text, fc.constantFrom('tags', 'args', 'metadata')), value, { maxKeys: 1 })
  return fc.oneof(
    { weight: 9, arbitrary: few },
    { weight: 3, arbitrary: all },
    fc.tuple(all, stray).map(([a, b]) => ({ ...b, ...a })),
  )
}

/** Waits for the end of a job are short. */
const WAITS = fc.constantFrom('0', '0.01', '-1', '26', 'x', '1e3', 'NaN')

const asText = (given: unknown): string => (typeof given === 'object' ? JSON.stringify(given) : String(given))

const queryOf = (route: Route): fc.Arbitrary<string> => {
  const known = Object.entries(route.query).map(([name, schema]) =>
    (name === 'wait_seconds' ? WAITS : like(schema.items ?? schema).map(asText)).map(given => [name, given] as const),
  )
  const stray = fc.tuple(
    text.filter(name => name !== 'wait_seconds'),
    text,
  )
  const one = fc.oneof(...known.map(arbitrary => ({ weight: 12, arbitrary })), { weight: 1, arbitrary: stray })
  const pairs = fc.array(one, { maxLength: known.length === 0 ? 1 : 3 })
  return (known.length === 0 ? mostly(fc.constant([]), pairs) : pairs).map(pairs =>
    pairs.length === 0 ? '' : `?${pairs.map(([name, given]) => `${encoded(name)}=${encoded(given)}`).join('&')}`,
  )
}

/** Ids of jobs that there are, names that there are, and others. */
const segmentsOf = ({ path }: Route): fc.Arbitrary<((world: World) => string)[]> => {
  const id = path.startsWith('/api/dead-letters') ? deadSegment : idSegment
  const parameters = path.match(/:\w+/g) ?? []
  return fc.tuple(...parameters.map(parameter => mostly(parameter === ':name' ? nameSegment : id, anySegment)))
}

const idSegment = fc.oneof(
  { weight: 4, arbitrary: fc.nat().map(nth => (world: World) => idIn(world, nth)) },
  fc.nat({ max: 30 }).map(id => () => String(id)),
)
const deadSegment = fc.nat().map(
  nth =>
    ({ dead }: World) =>
      dead[nth % dead.length] ?? '1',
)
const nameSegment = name.map(given => () => given)
const anySegment = fc.oneof(
  idSegment,
  nameSegment,
  text.map(name => () => encoded(name) || 'x'),
  fc
    .constantFrom('default', 'own', 'others', '%00', '%ff', '9999999999999999999', '-1', '1.0', '0x1')
    .map(name => () => name),
)

const idIn = ({ attempts, bystanders }: World, nth: number): string =>
  (nth % 2 ? attempts[nth % attempts.length]?.id : bystanders[nth % bystanders.length]) ?? '1'

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'PURGE']

/** Mostly for these routes. `authorization`: what is sent in the header of that name; more than one for more than one header. */
const requestsOf = (
  routes: readonly Route[],
  authorization: (world: World, nth: number) => readonly string[],
  isStranger = false,
): fc.Arbitrary<Plan> =>
  fc.oneof({ weight: 5, arbitrary: fc.constantFrom(...routes) }, fc.constantFrom(...apiRoutes)).chain(route =>
    fc
      .record({
        ...{ nth: fc.nat(), query: queryOf(route) },
        segments: segmentsOf(route),
        method: fc.oneof({ weight: 30, arbitrary: fc.constant(route.method as string) }, fc.constantFrom(...METHODS)),
        body: fc.oneof({ weight: 15, arbitrary: like(route.body ?? { type: 'object' }).map(asJson) }, junk),
        type: fc.oneof({ weight: 30, arbitrary: fc.constant('application/json') }, text.map(encoded)),
        ...{ extra: mostly(fc.constant([]), headers), wire: wires(isStranger) },
      })
      .map(
        ({ nth, segments, query, method, body, type, extra, wire }): Plan =>
          world => {
            const left = [...segments]
            const path = route.path.replaceAll(/:\w+/g, () => left.shift()?.(world) ?? 'x')
            const given = authorization(world, nth).map(value => ['authorization', value] as const)
            const isSent = method !== 'GET' && method !== 'HEAD'
            return {
              ...{ door: 'api', method, path: path + query, wire, body: isSent ? body : undefined },
              headers: [...given, ...(isSent && type ? [['content-type', type] as const] : []), ...extra],
            }
          },
      ),
  )

const forScope = (wanted: Route['scope']) => apiRoutes.filter(({ scope }) => scope === wanted)

const bearer = (key: string): readonly string[] => [`Bearer ${key}`]

const WRONG: readonly ((world: World) => readonly string[])[] = [
  () => [],
  () => [''],
  () => bearer(''),
  () => bearer(`mk_${'z'.repeat(43)}`),
  () => bearer(`${KEYS.all}a`),
  () => bearer(KEYS.all.slice(0, -1)),
  () => bearer(KEYS.all.toUpperCase()),
  () => [`Basic ${btoa(`:${KEYS.all}`)}`],
  () => [KEYS.all],
  () => bearer(`${KEYS.all}\u0001`),
  () => bearer(`"${KEYS.all}"`),
  () => bearer(`${KEYS.all}, ${KEYS.read}`),
  () => bearer('x'.repeat(600)),
  ({ keys }) => bearer(keys.dead[0] as string),
  ({ keys }) => bearer(keys.dead[1] as string),
]

/** Nothing of these may change anything. */
export const keyless: fc.Arbitrary<Plan> = requestsOf(
  apiRoutes,
  (world, nth) => (WRONG[nth % WRONG.length] as (world: World) => readonly string[])(world),
  true,
)

/** Nor of these: the key's scope is to read. */
export const readers: fc.Arbitrary<Plan> = requestsOf(apiRoutes, () => bearer(KEYS.read))

/** Nor may these change anything of another tenant's. */
export const tenants: fc.Arbitrary<Plan> = requestsOf(
  apiRoutes.filter(route => route.tenants),
  ({ keys }) => bearer(keys.tenant),
)

/** Nor may these do more than put jobs in. */
export const enqueuers: fc.Arbitrary<Plan> = requestsOf(forScope('enqueue'), () => bearer(KEYS.enqueue))

/** These may do anything. */
export const operators: fc.Arbitrary<Plan> = requestsOf(apiRoutes, (_, nth) =>
  bearer(nth % 2 ? KEYS.all : KEYS.operate),
)
