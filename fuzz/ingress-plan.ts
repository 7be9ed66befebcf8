// Requests for the ingress: by strangers, who can prove nothing, and by those who hold a key.

import fc from 'fast-check'
import type { AttemptRef } from 'millrace/callbacks'
import {
  attemptKey,
  type CallbackAction,
  callbackIdOf,
  type EventAction,
  eventKey,
  eventToken,
  type Keyring,
  signCallback,
  signCompatible,
} from 'millrace/protocol'
import type { Shot, Wire } from './shot.ts'
import { asJson, headers, junk, meant, sized, text } from './values.ts'
import { foreign, keyring, type World } from './world.ts'

/** What is decided before there is a world: shots are made of it there. */
export type Plan = (world: World) => Shot

const ACTIONS = ['complete', 'fail', 'heartbeat', 'wait'] as const satisfies readonly CallbackAction[]
const METHODS = ['GET', 'HEAD', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'CONNECT', 'PURGE', 'post']

const action: fc.Arbitrary<CallbackAction> = fc.constantFrom(...ACTIONS)
const mostlyPost = fc.oneof({ weight: 8, arbitrary: fc.constant('POST') }, fc.constantFrom(...METHODS))

const HANDED_OVER = { weight: 5, arbitrary: fc.constant(undefined) }

const wholeWire: fc.Arbitrary<Wire> = fc.constantFrom({ chunks: undefined }, { chunks: 1_000 }, { chunks: 70_000 })

const part = fc.double({ min: 0, max: 1, noNaN: true })

/** Of six five are handed over, the rest goes as bytes; those of strangers also broken ones. */
export const wires = (isBroken: boolean): fc.Arbitrary<Wire | undefined> =>
  isBroken
    ? fc.oneof(
        HANDED_OVER,
        wholeWire,
        fc.oneof(
          part.map(cut => ({ chunks: undefined, cut })),
          part.map(flip => ({ chunks: undefined, flip })),
        ),
      )
    : fc.oneof(HANDED_OVER, wholeWire)

const bodyOf = (action: string): fc.Arbitrary<Uint8Array<ArrayBuffer> | undefined> =>
  fc.oneof({ weight: 3, arbitrary: (meant[action] as fc.Arbitrary<unknown>).map(asJson) }, junk)

const refIn = (world: World, nth: number): AttemptRef =>
  world.attempts[nth % world.attempts.length] ?? { segment: '0', id: '1', attempt: 1 }

const keyIn = ({ keys }: Keyring) => keys[0]
const bytes = (body: Uint8Array | undefined) => body ?? new Uint8Array()

interface Signing {
  readonly id: string
  readonly action: CallbackAction
  readonly body: Uint8Array
  readonly other: string
  readonly at: number
}

const flipped = (text: string, at: number): string => {
  const n = Math.floor(at * text.length)
  const swapped = text[n] === 'a' ? 'b' : 'a'
  return text.slice(0, n) + swapped + text.slice(n + 1)
}

const bound = ({ id, action, body }: Omit<Signing, 'other' | 'at'>, root = keyIn(keyring), now = Date.now()): string =>
  signCallback(attemptKey(root, id), { action, callbackId: id, body }, now)

const SIGNATURE = 'Millrace-Signature'
const BEARER = 'X-Awa-Signature'

type Header = readonly [string, string]

/** Everything that proves nothing; each is given what would be right. */
const FORGERIES: Readonly<Record<string, (signing: Signing) => readonly Header[]>> = {
  none: () => [],
  blank: () => [[SIGNATURE, '']],
  bit: signing => [[SIGNATURE, flipped(bound(signing), 0.3 + signing.at * 0.7)]],
  cut: signing => [[SIGNATURE, bound(signing).slice(0, Math.floor(signing.at * 60))]],
  'other job': signing => [[SIGNATURE, bound({ ...signing, id: signing.other })]],
  'other action': signing => [
    [SIGNATURE, bound({ ...signing, action: signing.action === 'fail' ? 'complete' : 'fail' })],
  ],
  'other body': signing => [[SIGNATURE, bound({ ...signing, body: new Uint8Array([...signing.body, 32]) })]],
  'other deployment': signing => [[SIGNATURE, bound(signing, keyIn(foreign))]],
  'other key of ours': signing => [[SIGNATURE, bound(signing, keyring.keys[1])]],
  'other time': signing => [[SIGNATURE, bound(signing).replace(/\d(?=,)/, digit => String((Number(digit) + 1) % 10))]],
  'too old': signing => [[SIGNATURE, bound(signing, keyIn(keyring), Date.now() - 400_000)]],
  'too new': signing => [[SIGNATURE, bound(signing, keyIn(keyring), Date.now() + 400_000)]],
  'bearer of another': ({ other }) => [[BEARER, signCompatible(keyIn(keyring), other)]],
  'bearer, a bit off': ({ id, at }) => [[BEARER, flipped(signCompatible(keyIn(keyring), id), at)]],
  'bearer of another deployment': ({ id }) => [[BEARER, signCompatible(keyIn(foreign), id)]],
  'bearer twice': ({ id }) => [
    [BEARER, signCompatible(keyIn(keyring), id)],
    [BEARER, signCompatible(keyIn(keyring), id)],
  ],
  'a right bearer beside a wrong signature': signing => [
    [BEARER, signCompatible(keyIn(keyring), signing.id)],
    [SIGNATURE, bound({ ...signing, id: signing.other })],
  ],
}

/** Another spelling of an id, or one that names nothing; what is signed is the right one. */
const MISSPELT: readonly ((id: string) => string)[] = [
  id => id.replace(/\d$/, digit => `%3${digit}`),
  id => `${id}0`,
  id => id.replace('k1', 'k7'),
  id => id.replace('k1', 'k0'),
  id => id.replace(/\.(\d+)$/, '.0$1'),
  id => `${id}%00`,
  id => id.toUpperCase(),
  () => 'k1.0.9223372036854775808.1',
  () => '550e8400-e29b-41d4-a716-446655440000',
  () => '%ff%fe',
  () => '..%2f..%2fetc%2fpasswd',
  () => 'x'.repeat(5_000),
]

const strangersCallback: fc.Arbitrary<Plan> = action.chain(action =>
  fc
    .record({
      ...{ nth: fc.nat(), other: fc.nat(), at: fc.double({ min: 0, max: 0.999, noNaN: true }), method: mostlyPost },
      ...{ body: bodyOf(action), extra: headers, wire: wires(true) },
      forgery: fc.constantFrom(...Object.keys(FORGERIES)),
      misspelt: fc.option(fc.nat({ max: MISSPELT.length - 1 }), { freq: 3 }),
    })
    .map(
      ({ nth, other, at, method, body, extra, wire, forgery, misspelt }): Plan =>
        world => {
          const id = callbackIdOf(keyring, refIn(world, nth))
          const ref = refIn(world, other)
          const elsewhere = callbackIdOf(keyring, { ...ref, attempt: ref.attempt + 7 })
          const spelt = misspelt === null ? id : (MISSPELT[misspelt] as (id: string) => string)(id)
          const signing = { id, action, body: bytes(body), other: elsewhere, at }
          // With another id in the path, even the right signature of this one is none.
          const forge =
            misspelt === null ? FORGERIES[forgery] : (given: Signing) => [[SIGNATURE, bound(given)] as const]
          const proof = forge?.(signing) ?? []
          return {
            door: 'ingress',
            method,
            path: `/api/callbacks/${spelt}/${action}`,
            headers: [...proof, ...extra],
            body,
            wire,
          }
        },
    ),
)

const EVENT_PATHS = ['', '/resume', '/complete', '/fail', '/retry'] as const satisfies readonly (
  | `/${EventAction}`
  | ''
)[]

/** `other`: of another job. */
const BAD_TOKENS: readonly ((token: string, at: number, other: string) => string)[] = [
  (token, _, other) => withPart(token, 1, other),
  token => withPart(token, 2, 'cGFpRA'),
  (token, at) => token.slice(0, -64) + flipped(token.slice(-64), at),
  token => token.replace('k1', 'k0'),
  token => token.replace('k1', 'k9'),
  token => token.slice(0, -1),
  token => `${token}=`,
  token => `${token.slice(0, -64)}${token.slice(-64).toUpperCase()}g`,
  token => token.replace(/^k1\.\d+/, 'k1.999999'),
  token => token.replace(/\.(\d+)\./, '.0$1.'),
  (token, at) => token.slice(0, Math.floor(at * token.length)) || 'x',
  () => 'x',
  () => '%00',
  () => `k1.1.${'a'.repeat(3_900)}.${'0'.repeat(64)}`,
]

const withPart = (token: string, nth: number, part: string): string => token.split('.').with(nth, part).join('.')

const tokenOf = (id: string, name: string, action: EventAction): string =>
  eventToken(eventKey(keyIn(keyring), id), id, name, action)

const actionAt = (end: (typeof EVENT_PATHS)[number]): EventAction =>
  end === '' ? 'event' : (end.slice(1) as EventAction)

const strangersEvent: fc.Arbitrary<Plan> = fc
  .record({
    ...{
      nth: fc.nat(),
      at: fc.double({ min: 0, max: 0.999, noNaN: true }),
      method: mostlyPost,
      body: junk,
      extra: headers,
    },
    ...{ bad: fc.nat({ max: BAD_TOKENS.length }), end: fc.constantFrom(...EVENT_PATHS), wire: wires(true) },
  })
  .map(
    ({ nth, at, method, body, extra, bad, end, wire }): Plan =>
      world => {
        const right = tokenOf(refIn(world, nth).id, 'paid', actionAt(end))
        // Besides those that were altered: the right one for something else.
        const token =
          BAD_TOKENS[bad]?.(right, at, refIn(world, nth + 1).id) ??
          tokenOf(refIn(world, nth).id, 'paid', end === '' ? 'resume' : 'event')
        return { door: 'ingress', method, path: `/api/events/${token}${end}`, headers: extra, body, wire }
      },
  )

const STRAY = [
  '/',
  '/healthz/',
  '/api',
  '/api/callbacks',
  '/api/callbacks/x',
  '/api/jobs',
  '//',
  '/.env',
  '/api/events/',
  '/%',
  '*',
  '/?a=%zz',
]

const stray: fc.Arbitrary<Plan> = fc
  .record({
    path: fc.oneof(
      fc.constantFrom(...STRAY),
      fc.webPath(),
      fc.webPath().map(path => `${path}?${path}`),
      fc.constant('/healthz'),
    ),
    ...{ method: fc.constantFrom('GET', 'POST', ...METHODS), body: junk, extra: headers, wire: wires(true) },
  })
  .map(
    ({ path, method, body, extra, wire }): Plan =>
      () => {
        return { door: 'ingress', method, path: path || '/', headers: extra, body, wire }
      },
  )

/** Nothing of these may change anything. */
export const strangers: fc.Arbitrary<Plan> = fc.oneof(
  { weight: 5, arbitrary: strangersCallback },
  { weight: 3, arbitrary: strangersEvent },
  { weight: 2, arbitrary: stray },
)

const signedCallback: fc.Arbitrary<Plan> = action.chain(action =>
  fc
    .record({
      nth: fc.nat(),
      body: fc.oneof({ weight: 20, arbitrary: bodyOf(action) }, sized),
      isBound: fc.boolean(),
      extra: headers,
      wire: wires(false),
    })
    .map(
      ({ nth, body, isBound, extra, wire }): Plan =>
        world => {
          const id = callbackIdOf(keyring, refIn(world, nth))
          const proof: Header = isBound
            ? [SIGNATURE, bound({ id, action, body: bytes(body) })]
            : [BEARER, signCompatible(keyIn(keyring), id)]
          return {
            door: 'ingress',
            method: 'POST',
            path: `/api/callbacks/${id}/${action}`,
            headers: [proof, ...extra],
            body,
            wire,
          }
        },
    ),
)

const signedEvent: fc.Arbitrary<Plan> = fc
  .record({
    ...{ nth: fc.nat(), name: fc.oneof(fc.constant('paid'), text), body: junk, end: fc.constantFrom(...EVENT_PATHS) },
    type: fc.constantFrom(
      'application/json',
      'application/x-www-form-urlencoded',
      'multipart/form-data',
      'text/plain',
      '',
    ),
    wire: wires(false),
  })
  .map(
    ({ nth, name, body, end, type, wire }): Plan =>
      world => {
        const isName = name.isWellFormed() && name.length > 0 && name.length <= 200 && !name.includes('\0')
        const token = tokenOf(refIn(world, nth).id, isName ? name : 'paid', actionAt(end))
        return {
          door: 'ingress',
          method: 'POST',
          path: `/api/events/${token}${end}`,
          headers: [['content-type', type]],
          body,
          wire,
        }
      },
  )

/** Rightly signed, whatever they say. */
export const signed: fc.Arbitrary<Plan> = fc.oneof(signedCallback, signedEvent)
