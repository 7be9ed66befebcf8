// Where dispatches may go: public addresses over TLS, whatever the spelling, and what is allowed besides.

import { once } from 'node:events'
import { createServer as createHttpServer, type RequestListener, type Server } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import { type AddressInfo, BlockList } from 'node:net'
import type { TLSSocket } from 'node:tls'
import fc from 'fast-check'
import { cancel } from 'millrace'
import { fetchTransport, type Transport, TransportError } from 'millrace/maintenance'
import { type UndiciTransportOptions, undiciTransport } from 'millrace/node'
import { formatKeyring } from 'millrace/protocol'
import { describe, expect, onTestFinished, test } from 'vitest'
import { selfSigned } from '../support/certificate.ts'
import { runCli } from '../support/cli.ts'
import { startFunctionServer } from '../support/function-server.ts'
import { keyring } from '../support/ingress.ts'
import { freshDatabase } from '../support/maintenance.ts'

/** IANA's registries of special addresses, and what else no dispatch goes to, in Node's own matcher. */
const special = new BlockList()
for (const range of [
  '0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24 192.31.196.0/24',
  '192.52.193.0/24 192.88.99.0/24 192.168.0.0/16 192.175.48.0/24 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24',
  '224.0.0.0/4 240.0.0.0/4 168.63.129.16/32',
].flatMap(line => line.split(' '))) {
  const [network = '', bits] = range.split('/')
  special.addSubnet(network, Number(bits), 'ipv4')
}

type Octets = readonly [number, number, number, number]

const hex = (n: number): string => n.toString(16)
const dotted = (octets: Octets): string => octets.join('.')
const numberOf = (octets: Octets): number => octets.reduce((sum, octet) => sum * 256 + octet, 0)
/** As the two last groups of an address of IPv6. */
const groups = ([a, b, c, d]: Octets): string => `${hex(a * 256 + b)}:${hex(c * 256 + d)}`

/** What URLs may say for one address of IPv4. */
const spellings: Record<string, (octets: Octets) => string> = {
  dotted,
  'with a final dot': octets => `${dotted(octets)}.`,
  decimal: octets => String(numberOf(octets)),
  hexadecimal: octets => `0x${hex(numberOf(octets))}`,
  octal: octets => `0${numberOf(octets).toString(8)}`,
  'octal octets': octets => octets.map(octet => `0${octet.toString(8)}`).join('.'),
  'padded octal octets': octets => octets.map(octet => `000${octet.toString(8)}`).join('.'),
  'hexadecimal octets': octets => octets.map(octet => `0X${hex(octet).toUpperCase()}`).join('.'),
  'two parts': ([a, b, c, d]) => `${a}.${(b * 256 + c) * 256 + d}`,
  'three parts': ([a, b, c, d]) => `${a}.0x${hex(b)}.${c * 256 + d}`,
  'percent-encoded': octets => dotted(octets).replace(/\d/g, digit => `%3${digit}`),
  'wide digits and dots': octets =>
    dotted(octets)
      .replace(/\d/g, digit => String.fromCodePoint(0xff10 + Number(digit)))
      .replace(/\./g, '。'),
  'mapped to IPv6': octets => `[::ffff:${dotted(octets)}]`,
  'mapped to IPv6, in hexadecimal': octets => `[0:0:0:0:0:FFFF:${groups(octets)}]`,
  'behind NAT64': octets => `[64:ff9b::${groups(octets)}]`,
}

/** More often than chance would have it: at the edges of the special ranges. */
const octets: fc.Arbitrary<Octets> = fc.oneof(
  fc.tuple(fc.nat(255), fc.nat(255), fc.nat(255), fc.nat(255)),
  fc
    .tuple(
      fc.constantFrom(0, 9, 10, 11, 100, 126, 127, 128, 168, 169, 172, 192, 198, 203, 223, 224, 255),
      fc.constantFrom(0, 1, 15, 16, 17, 18, 31, 32, 51, 63, 64, 88, 127, 128, 168, 254, 255),
      fc.constantFrom(0, 1, 2, 99, 100, 113, 129, 169, 254, 255),
      fc.constantFrom(0, 1, 16, 254, 255),
    )
    .map(([a, b, c, d]) => [a, b, c, d] as const),
)

const request = (origin: string) => ({
  origin,
  path: '/jobs',
  headers: {},
  body: new Uint8Array(),
  timeoutMs: 5_000,
  signal: new AbortController().signal,
})

/** The code of a refusal, or `sent` where the request was let through. */
const verdictOf = async (posted: Promise<unknown>): Promise<string> =>
  posted.then(
    () => 'sent',
    error => {
      expect(error).toBeInstanceOf(TransportError)
      expect(error).toMatchObject({ sent: false })
      return (error as TransportError).code
    },
  )

/** Ends where it would go out. */
const fetching = (allow?: readonly string[]) => fetchTransport({ allow, fetch: async () => new Response() })

function undici(options: UndiciTransportOptions = {}): Transport {
  const transport = undiciTransport(options)
  onTestFinished(() => transport.end())
  return transport
}

async function listening(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  return (server.address() as AddressInfo).port
}

const serveHttp = (answer: RequestListener = (_, response) => response.end('ok')) => listening(createHttpServer(answer))

/** What names mean, one answer after the other; the last one stays. */
function resolver(...answers: readonly (readonly string[])[]) {
  const asked: string[] = []
  const resolve: UndiciTransportOptions['resolve'] = async hostname => {
    const answer = answers[Math.min(asked.push(hostname), answers.length) - 1] ?? []
    return answer.map(address => ({ address, family: address.includes(':') ? 6 : 4 }))
  }
  return { asked, resolve }
}

const noResolver = resolver().resolve

describe('addresses in URLs', () => {
  test.each(Object.entries(spellings))('%s: only public ones pass', async (_, spell) => {
    await fc.assert(
      fc.asyncProperty(octets, async address => {
        const url = `https://${spell(address)}`
        const verdict = special.check(dotted(address)) ? 'target_refused' : 'sent'
        expect(await verdictOf(fetching().post(request(url)))).toBe(verdict)
      }),
      { numRuns: 300 },
    )
  })

  test('on Node no connection is made to those that do not', async () => {
    const transport = undici({ resolve: noResolver })
    await fc.assert(
      fc.asyncProperty(octets, fc.constantFrom(...Object.values(spellings)), async (address, spell) => {
        fc.pre(special.check(dotted(address)))
        expect(await verdictOf(transport.post(request(`https://${spell(address)}`)))).toBe('target_refused')
      }),
      { numRuns: 300 },
    )
  })

  test.each([
    '[::]',
    '[::1]',
    '[::127.0.0.1]',
    '[::ffff:0:127.0.0.1]',
    '[64:ff9b:1::a00:1]',
    '[100::1]',
    '[2001::1]',
    '[2001:db8::1]',
    '[2002:7f00:1::]',
    '[2002:0808:0808::]',
    '[3fff::1]',
    '[4000::1]',
    '[5f00::1]',
    '[fc00::1]',
    '[fd00:ec2::254]',
    '[fd20:ce::254]',
    '[fe80::1]',
    '[fec0::1]',
    '[ff02::1]',
  ])('%s does not pass', async host => {
    expect(await verdictOf(fetching().post(request(`https://${host}`)))).toBe('target_refused')
    expect(await verdictOf(undici({ resolve: noResolver }).post(request(`https://${host}`)))).toBe('target_refused')
  })

  test.each(['[2606:4700::1111]', '[2a00:1450:4001::200e]'])('%s passes', async host => {
    expect(await verdictOf(fetching().post(request(`https://${host}`)))).toBe('sent')
  })
})

describe('what is allowed besides', () => {
  test.each<[string, readonly string[], readonly string[], readonly string[]]>([
    [
      'nothing',
      [],
      ['https://a.example', 'https://8.8.8.8'],
      ['http://a.example', 'https://localhost', 'http://8.8.8.8'],
    ],
    [
      'loopback',
      ['loopback'],
      ['http://127.0.0.1:8', 'https://127.9.9.9', 'http://[::1]', 'http://localhost', 'https://a.localhost.'],
      ['http://8.8.8.8', 'https://10.0.0.1', 'http://a.example', 'https://0.0.0.0'],
    ],
    [
      'private',
      ['private'],
      ['https://10.0.0.1', 'https://172.31.0.1', 'https://192.168.1.1', 'https://[fd00::1]', 'https://db.internal'],
      [
        'http://10.0.0.1',
        'https://127.0.0.1',
        'https://100.64.0.1',
        'https://[fd00:ec2::254]',
        'https://169.254.169.254',
      ],
    ],
    [
      'http',
      ['http'],
      ['http://a.example', 'http://8.8.8.8'],
      ['http://127.0.0.1', 'http://10.0.0.1', 'http://printer.local'],
    ],
    [
      'a range',
      ['100.64.0.0/10'],
      ['https://100.64.0.1'],
      ['https://100.100.100.200', 'https://10.0.0.1', 'http://100.64.0.1'],
    ],
    ['an address', ['10.1.2.3'], ['https://10.1.2.3', 'https://[::ffff:10.1.2.3]'], ['https://10.1.2.4']],
    [
      'everything',
      ['0.0.0.0/0', '::/0'],
      ['https://10.1.2.3', 'https://[fe80::1]'],
      ['https://169.254.169.254', 'https://168.63.129.16', 'https://[fd00:ec2::254]'],
    ],
    ['a metadata service', ['169.254.169.254', 'http'], ['http://169.254.169.254'], ['http://169.254.170.2']],
  ])('%s', async (_, allow, passes, refused) => {
    for (const url of passes) expect([url, await verdictOf(fetching(allow).post(request(url)))]).toEqual([url, 'sent'])
    for (const url of refused)
      expect([url, await verdictOf(fetching(allow).post(request(url)))]).toEqual([
        url,
        expect.stringMatching(/target_refused|tls_required/),
      ])
  })

  test.each(['localhost', '10.0.0.0/33', '0x7f000001', '10/8', 'example.com', ''])('"%s" is not understood', entry => {
    expect(() => undiciTransport({ allow: [entry] })).toThrow(
      expect.objectContaining({ code: 'invalid_configuration' }),
    )
    expect(() => fetchTransport({ allow: [entry] })).toThrow(expect.objectContaining({ code: 'invalid_configuration' }))
  })
})

describe('names are resolved before anything is sent', () => {
  test('to an address that is not public: refused', async () => {
    const { resolve } = resolver(['10.0.0.5'])
    const posted = undici({ resolve }).post(request('https://hooks.example'))
    await expect(posted).rejects.toMatchObject({ code: 'target_refused', sent: false })
    // Whoever chose the name does not learn the address.
    await expect(posted).rejects.toMatchObject({ message: expect.not.stringContaining('10.0.0.5') })
  })

  test.each([
    [['93.184.215.14', '169.254.169.254']],
    [['169.254.169.254', '93.184.215.14']],
    [['93.184.215.14', 'fe80::1']],
    [['127.0.0.1', '10.0.0.1']],
  ])('to %j: one that is refused spoils them all', async addresses => {
    const { resolve } = resolver(addresses)
    const transport = undici({ resolve, allow: ['loopback'] })
    expect(await verdictOf(transport.post(request('https://hooks.example')))).toBe('target_refused')
  })

  test('to none at all', async () => {
    expect(await verdictOf(undici({ resolve: noResolver }).post(request('https://hooks.example')))).toBe('connect')
  })

  test('the connection goes to the address that was checked, whatever the name means afterwards', async () => {
    const port = await serveHttp((_, response) => response.setHeader('connection', 'close').end('ok'))
    const { resolve, asked } = resolver(['127.0.0.1'], ['169.254.169.254'])
    const transport = undici({ resolve, allow: ['loopback'] })
    const origin = `http://rebinding.example:${port}`
    expect(await transport.post(request(origin))).toMatchObject({ status: 200, body: 'ok' })
    expect(asked).toEqual(['rebinding.example'])
    expect(await verdictOf(transport.post(request(origin)))).toBe('target_refused')
    expect(asked).toHaveLength(2)
  })

  test('once per connection, not per request', async () => {
    const port = await serveHttp()
    const { resolve, asked } = resolver(['127.0.0.1'], ['169.254.169.254'])
    const transport = undici({ resolve, allow: ['loopback'], connections: 1 })
    for (let n = 0; n < 10; n++)
      expect(await transport.post(request(`http://kept.example:${port}`))).toMatchObject({ status: 200 })
    expect(asked).toHaveLength(1)
  })

  test('the next address is tried when nobody listens at the first', async () => {
    const port = await serveHttp()
    const { resolve } = resolver(['::1', '127.0.0.1'])
    const transport = undici({ resolve, allow: ['loopback'] })
    expect(await transport.post(request(`http://both.example:${port}`))).toMatchObject({ status: 200 })
  })

  test('without TLS and without leave for it, not even that', async () => {
    const { resolve, asked } = resolver(['93.184.215.14'])
    expect(await verdictOf(undici({ resolve }).post(request('http://a.example')))).toBe('tls_required')
    expect(asked).toEqual([])
    expect(await verdictOf(undici({ resolve, allow: ['loopback'] }).post(request('http://a.example')))).toBe(
      'tls_required',
    )
  })
})

describe('TLS goes by the name, while the connection goes to the address', () => {
  async function serveTls(name: string) {
    const { key, cert } = selfSigned(name)
    const asked: (string | false | null)[] = []
    const server = createHttpsServer({ key, cert }, ({ socket }, response) => {
      asked.push((socket as TLSSocket).servername as string)
      response.end('ok')
    })
    return { port: await listening(server as Server), cert, asked }
  }
  const options = { resolve: resolver(['127.0.0.1']).resolve, allow: ['loopback'] }

  test('the right certificate', async () => {
    const { port, cert, asked } = await serveTls('functions.example')
    const transport = undici({ ...options, ca: cert })
    expect(await transport.post(request(`https://functions.example:${port}`))).toMatchObject({ status: 200 })
    expect(asked).toEqual(['functions.example'])
  })

  test("another one's certificate", async () => {
    const { port, cert, asked } = await serveTls('other.example')
    const posted = undici({ ...options, ca: cert }).post(request(`https://functions.example:${port}`))
    await expect(posted).rejects.toMatchObject({ code: 'connect', message: expect.stringContaining('ALTNAME') })
    expect(asked).toEqual([])
  })

  test('a certificate of nobody we know', async () => {
    const { port, asked } = await serveTls('functions.example')
    const posted = undici(options).post(request(`https://functions.example:${port}`))
    await expect(posted).rejects.toMatchObject({ code: 'connect', sent: false })
    expect(asked).toEqual([])
  })
})

describe('what becomes of the jobs', () => {
  test('of a kind: put back, which costs no attempt; of a subscription: a failed attempt', async () => {
    const database = await freshDatabase()
    const fn = await startFunctionServer()
    await database.declare(
      [
        { name: 'refused', target: { url: fn.url.replace('http:', 'https:'), mode: 'sync' }, maxAttempts: 1 },
        { name: 'clear', target: { url: 'http://functions.example', mode: 'sync' }, maxAttempts: 1 },
      ],
      [{ name: 'hook', events: ['cancelled'], url: fn.url, secret: `whsec_${'A'.repeat(32)}` }],
    )
    const work = await database.maintain({ transport: undici() })
    const refused = await database.enqueue('refused')
    const clear = await database.enqueue('clear')
    expect(await work.closed(refused)).toMatchObject({ state: 'available', code: 'target_refused' })
    expect(await work.closed(clear)).toMatchObject({ state: 'available', code: 'tls_required' })
    expect(await database.job(refused)).toMatchObject({ errors: [], put_back: { code: 'target_refused' } })
    await cancel(database.sql, clear)
    expect(await work.events.first({ type: 'closed', kind: 'millrace.webhook' })).toMatchObject({
      state: 'retryable',
      code: 'target_refused',
    })
    expect(fn.received.all).toEqual([])
  })

  test('millrace tick and maintain allow nothing unless told', async () => {
    const database = await freshDatabase()
    const fn = await startFunctionServer()
    await database.declare([{ name: 'work', target: { url: fn.url, mode: 'sync' } }])
    const job = await database.enqueue('work')
    const env = { DATABASE_URL: database.url, MILLRACE_KEYS: formatKeyring(keyring), MILLRACE_ALLOW_TARGETS: '' }
    expect(await runCli(['tick'], { env })).toMatchObject({ status: 0, stderr: '' })
    expect(await database.job(job)).toMatchObject({ put_back: { code: 'target_refused' } })
    await database.passTime()
    expect(await runCli(['tick', '--allow-targets', 'private, loopback'], { env })).toMatchObject({ status: 0 })
    expect(await database.job(job)).toMatchObject({ state: 'completed', attempt: 2, max_attempts: 26, errors: [] })
    const wrong = await runCli(['maintain', '--allow-targets', 'lookback'], { env })
    expect(wrong).toMatchObject({ status: 2, stderr: expect.stringContaining('lookback') })
  })
})
