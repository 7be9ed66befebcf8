// Self-signed certificates for servers of tests, made on the spot: nothing to keep, nothing that expires.

import { generateKeyPairSync, randomBytes, sign } from 'node:crypto'

const der = (tag: number, ...parts: readonly (Buffer | string)[]): Buffer => {
  const content = Buffer.concat(parts.map(part => (typeof part === 'string' ? Buffer.from(part, 'hex') : part)))
  const { length } = content
  const size = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 255]
  return Buffer.concat([Buffer.from([tag, ...size]), content])
}

const sequence = (...parts: readonly (Buffer | string)[]): Buffer => der(0x30, ...parts)
const utcTime = (at: Date): Buffer => der(0x17, Buffer.from(`${at.toISOString().replace(/[-:T]/g, '').slice(2, 14)}Z`))
const pem = (bytes: Buffer): string =>
  `-----BEGIN CERTIFICATE-----\n${bytes.toString('base64').replace(/.{64}/g, '$&\n')}\n-----END CERTIFICATE-----\n`

const ECDSA_WITH_SHA256 = sequence(der(6, '2a8648ce3d040302'))
const SUBJECT_ALT_NAME = der(6, '551d11')
const COMMON_NAME = der(6, '550403')
const DAY_MS = 86_400_000

/** For one DNS name (RFC 5280). Trust `cert` as an authority of its own. */
export function selfSigned(name: string): { key: string; cert: string } {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const subject = sequence(der(0x31, sequence(COMMON_NAME, der(0x0c, Buffer.from(name)))))
  const altName = sequence(SUBJECT_ALT_NAME, der(4, sequence(der(0x82, Buffer.from(name)))))
  const content = sequence(
    der(0xa0, der(2, '02')),
    der(2, Buffer.from([1]), randomBytes(8)),
    ECDSA_WITH_SHA256,
    subject,
    sequence(utcTime(new Date(Date.now() - DAY_MS)), utcTime(new Date(Date.now() + DAY_MS))),
    subject,
    publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, sequence(altName)),
  )
  const signature = sign('sha256', content, privateKey)
  const cert = pem(sequence(content, ECDSA_WITH_SHA256, der(3, '00', signature)))
  return { key: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string, cert }
}
