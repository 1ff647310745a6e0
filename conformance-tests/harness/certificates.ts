/**
 * A certificate authority for one test run, made with nothing but node:crypto, so that a machine without OpenSSL can
 * run federation over TLS. It writes the few DER structures of RFC 5280 that a test server needs.
 */
import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto'
import { isIPv4 } from 'node:net'

const dayMs = 86_400_000
const validDays = 30

/** A certificate and its private key, both PEM. */
interface Certificate {
  readonly cert: string
  readonly key: string
}

/** An authority: its own certificate, and certificates for hosts. */
export interface Authority {
  readonly cert: string
  /** Issues a certificate for DNS names and IPv4 addresses. */
  issue(hosts: readonly string[]): Certificate
}

/** Makes a new authority with a P-256 key. */
export function createAuthority(): Authority {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const name = 'Conformance test authority'
  const extensions = [
    extension('551d13', true, sequence(der(0x01, Buffer.from([0xff])))), // basicConstraints: CA
    extension('551d0f', true, der(0x03, Buffer.from([0x01, 0x06]))), // keyUsage: certificate and CRL signing
    extension('551d0e', false, der(0x04, keyId(publicKey))),
  ]
  const issuer = { name, key: privateKey }
  return {
    cert: certificate({ subject: name, publicKey, extensions, issuer }),
    issue(hosts) {
      const leaf = generateKeyPairSync('ec', { namedCurve: 'P-256' })
      const cert = certificate({
        subject: hosts[0] ?? 'localhost',
        publicKey: leaf.publicKey,
        extensions: leafExtensions(hosts, publicKey),
        issuer,
      })
      return { cert, key: leaf.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() }
    },
  }
}

function leafExtensions(hosts: readonly string[], authorityKey: KeyObject): Buffer[] {
  const names = hosts.map((host) =>
    isIPv4(host)
      ? der(0x87, Buffer.from(host.split('.').map(Number)))
      : der(0x82, Buffer.from(host, 'ascii')),
  )
  return [
    extension('551d13', true, sequence()),
    extension('551d0f', true, der(0x03, Buffer.from([0x07, 0x80]))), // keyUsage: digital signature
    extension('551d25', false, sequence(oid('2b06010505070301'), oid('2b06010505070302'))), // server and client
    extension('551d11', false, sequence(...names)),
    extension('551d23', false, sequence(der(0x80, keyId(authorityKey)))),
  ]
}

interface Draft {
  readonly subject: string
  readonly publicKey: KeyObject
  readonly extensions: readonly Buffer[]
  readonly issuer: { readonly name: string; readonly key: KeyObject }
}

function certificate({ subject, publicKey, extensions, issuer }: Draft): string {
  const ecdsaWithSha256 = sequence(oid('2a8648ce3d040302'))
  const serial = randomBytes(16)
  serial[0] = 0x40 | ((serial[0] ?? 0) & 0x3f) // positive and of full length
  const now = Date.now()
  const body = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))), // version 3
    der(0x02, serial),
    ecdsaWithSha256,
    commonName(issuer.name),
    sequence(utcTime(now - dayMs), utcTime(now + validDays * dayMs)),
    commonName(subject),
    publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, sequence(...extensions)),
  )
  const signature = sign('sha256', body, issuer.key)
  const whole = sequence(
    body,
    ecdsaWithSha256,
    der(0x03, Buffer.concat([Buffer.from([0]), signature])),
  )
  const lines = whole.toString('base64').match(/.{1,64}/g) ?? []
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`
}

function der(tag: number, content: Buffer): Buffer {
  const size = content.length
  if (size < 0x80) return Buffer.concat([Buffer.from([tag, size]), content])
  if (size < 0x100) return Buffer.concat([Buffer.from([tag, 0x81, size]), content])
  return Buffer.concat([Buffer.from([tag, 0x82, size >> 8, size & 0xff]), content])
}

function sequence(...parts: readonly Buffer[]): Buffer {
  return der(0x30, Buffer.concat(parts))
}

/** An object identifier by its encoded content in hexadecimal. */
function oid(hex: string): Buffer {
  return der(0x06, Buffer.from(hex, 'hex'))
}

function commonName(name: string): Buffer {
  return sequence(der(0x31, sequence(oid('550403'), der(0x0c, Buffer.from(name)))))
}

function utcTime(ms: number): Buffer {
  const digits = new Date(ms).toISOString().replace(/[-:T]/g, '').slice(2, 14)
  return der(0x17, Buffer.from(`${digits}Z`))
}

function extension(id: string, critical: boolean, value: Buffer): Buffer {
  const flag = critical ? [der(0x01, Buffer.from([0xff]))] : []
  return sequence(oid(id), ...flag, der(0x04, value))
}

function keyId(key: KeyObject): Buffer {
  return createHash('sha1')
    .update(key.export({ type: 'spki', format: 'der' }))
    .digest()
}
