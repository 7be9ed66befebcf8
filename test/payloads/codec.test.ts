// Codecs by themselves: what comes back is what went in, and nothing that was altered does.

import fc from 'fast-check'
import { claimCheck, decodePayloads, encryptedPayloads, type Json, type PayloadCodec } from 'millrace'
import { describe, expect, test } from 'vitest'
import { memoryBlobs } from '../support/memory-blobs.ts'

const key = (kid: string, byte: string) => `${kid}:${byte.repeat(32)}`
const kind = 'render'
const encrypted = encryptedPayloads(key('d1', '01'))
const failed = expect.objectContaining({ code: 'codec_failed' })

const encode = async (codec: PayloadCodec, value: unknown, of = kind): Promise<Json> =>
  JSON.parse(await codec.encode(JSON.stringify(value), { kind: of }))
const decode = async (codec: PayloadCodec, value: Json, of = kind) => codec.decode(value, { kind: of })

/** All there are, so that each rule is shown of each. */
const codecs: [string, () => PayloadCodec][] = [
  ['encrypted', () => encrypted],
  ['claim check', () => claimCheck({ store: memoryBlobs().store, thresholdBytes: 20 })],
  ['both', () => claimCheck({ store: memoryBlobs().store, thresholdBytes: 120, codec: encrypted })],
]

describe.each(codecs)('%s', (_, make) => {
  test('what comes back is what went in, whatever it looks like', async () => {
    const codec = make()
    const lookalikes = fc.constantFrom<Json>(
      { 'millrace:ref': 'v1', key: 'x' },
      { 'millrace:enc': 'v1', kid: 'd1', data: '' },
    )
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.jsonValue() as fc.Arbitrary<Json>, lookalikes), async value => {
        const same = JSON.parse(JSON.stringify(value))
        expect(await decode(codec, await encode(codec, value))).toEqual(same)
      }),
    )
  })

  test('what was never encoded is answered as it is', async () => {
    for (const value of [null, 7, 'text', [1], { a: { 'millrace:enc': 'v1' } }]) {
      expect(await decode(make(), value as Json)).toEqual(value)
    }
  })

  test('megabytes go through', async () => {
    const [codec, large] = [make(), { text: 'ä'.repeat(500_000) }]
    expect(await decode(codec, await encode(codec, large))).toEqual(large)
  })
})

describe('encrypted', () => {
  test('tells nothing of the payload, and is another text each time', async () => {
    const [a, b] = [await encode(encrypted, { name: 'alice' }), await encode(encrypted, { name: 'alice' })]
    expect(a).toEqual({ 'millrace:enc': 'v1', kid: 'd1', data: expect.stringMatching(/^[A-Za-z0-9+/]+=*$/) })
    expect(a).not.toEqual(b)
    expect(atob((a as { data: string }).data)).not.toContain('alice')
  })

  test('the first key encrypts, all decrypt', async () => {
    const rotated = encryptedPayloads(`${key('d2', '02')},${key('d1', '01')}`)
    const [before, after] = [await encode(encrypted, 1), await encode(rotated, 2)]
    expect(after).toMatchObject({ kid: 'd2' })
    expect([await decode(rotated, before), await decode(rotated, after)]).toEqual([1, 2])
    await expect(decode(encrypted, after)).rejects.toEqual(failed)
  })

  test('opens for no other kind, under no other key of that id, and not when a bit of it was changed', async () => {
    const sealed = (await encode(encrypted, { secret: 42 })) as { data: string }
    await expect(decode(encrypted, sealed, 'other')).rejects.toEqual(failed)
    await expect(decode(encryptedPayloads(key('d1', '03')), sealed)).rejects.toEqual(failed)
    const bytes = Uint8Array.from(atob(sealed.data), char => char.charCodeAt(0))
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const altered = bytes.with(bit >> 3, (bytes[bit >> 3] as number) ^ (1 << (bit & 7)))
      const data = btoa(String.fromCharCode(...altered))
      await expect(decode(encrypted, { ...sealed, data })).rejects.toEqual(failed)
    }
  })

  test.each([{}, { kid: 7 }, { kid: 'd1' }, { kid: 'd1', data: '?' }, { kid: 'd1', data: 'AAAA' }])(
    'the envelope with %o is refused, in words that repeat none of it',
    async fields => {
      await expect(decode(encrypted, { 'millrace:enc': 'v1', ...fields } as Json)).rejects.toEqual(failed)
    },
  )

  test('an envelope of another version is refused', async () => {
    await expect(decode(encrypted, { 'millrace:enc': 'v2', kid: 'd1', data: '' })).rejects.toEqual(failed)
  })

  test('a keyring that is none is refused at once', () => {
    expect(() => encryptedPayloads('')).toThrow(expect.objectContaining({ code: 'invalid_keyring' }))
  })
})

describe('claim check', () => {
  const large = { text: 'x'.repeat(1_000) }
  const checked = (options: object = {}) => {
    const { store, objects } = memoryBlobs()
    return { store, objects, codec: claimCheck({ store, thresholdBytes: 100, ...options }) }
  }

  test('small payloads stay where they are, large ones leave a reference', async () => {
    const { codec, objects } = checked()
    expect(await encode(codec, { a: 1 })).toEqual({ a: 1 })
    expect(objects.size).toBe(0)
    const reference = await encode(codec, large)
    const [[name, bytes] = ['', new Uint8Array()]] = objects
    expect(reference).toEqual({ 'millrace:ref': 'v1', key: name, bytes: bytes.length, blake3: name.slice(9, 73) })
    expect(name).toMatch(/^millrace\/[0-9a-f]{64}-[0-9a-f]{32}$/)
  })

  test('with a codec, what is stored is encrypted', async () => {
    const { codec, objects } = checked({ codec: encrypted })
    const reference = await encode(codec, large)
    const [stored] = objects.values()
    expect(new TextDecoder().decode(stored)).toMatch(/^{"millrace:enc":"v1"/)
    expect(await decode(codec, reference)).toEqual(large)
    await expect(decode(codec, reference, 'other')).rejects.toEqual(failed)
  })

  test('a blob that is gone, was altered or cut is refused', async () => {
    const { codec, objects } = checked()
    const reference = (await encode(codec, large)) as { key: string }
    const bytes = objects.get(reference.key) as Uint8Array
    for (const instead of [bytes.with(12, 0), bytes.subarray(1), undefined]) {
      if (instead) objects.set(reference.key, instead)
      else objects.delete(reference.key)
      await expect(decode(codec, reference as Json)).rejects.toEqual(failed)
    }
  })

  test('a reference that somebody made up gets at nothing else', async () => {
    const { codec, objects, store } = checked()
    const asked: string[] = []
    const get = async (name: string) => {
      asked.push(name)
      return objects.get(name)
    }
    const spying = claimCheck({ store: { ...store, get } })
    const reference = (await encode(codec, large)) as Record<string, Json>
    const name = reference.key as string
    for (const made of [
      'secrets.json',
      `../${name}`,
      `${name}/../../secrets`,
      name.slice(9),
      `other/${name.slice(9)}`,
      7,
      null,
    ]) {
      await expect(decode(spying, { ...reference, key: made })).rejects.toEqual(failed)
    }
    await expect(decode(spying, { ...reference, bytes: 1e12 })).rejects.toEqual(failed)
    expect(asked).toEqual([])
  })

  test('a store that fails, and a payload beyond the limit, are told as codec_failed', async () => {
    const broken = async () => Promise.reject(new Error('no route to host'))
    const codec = claimCheck({ store: { put: broken, get: broken }, thresholdBytes: 10 })
    await expect(encode(codec, large)).rejects.toMatchObject({
      code: 'codec_failed',
      cause: { message: 'no route to host' },
    })
    await expect(encode(checked({ maxBytes: 500 }).codec, large)).rejects.toEqual(failed)
  })
})

test('decodePayloads opens whatever has payloads, and leaves the rest', async () => {
  const [args, result] = [await encode(encrypted, { n: 1 }), await encode(encrypted, 'done')]
  const data = { kind, args, result, job_id: 7, metadata: { tenant: 'a' } }
  expect(await decodePayloads(encrypted, data)).toEqual({ ...data, args: { n: 1 }, result: 'done' })
  expect(await decodePayloads(encrypted, { kind, args: null })).toEqual({ kind, args: null })
  await expect(decodePayloads(encrypted, { args })).rejects.toEqual(failed)
})
