import { hash } from 'node:crypto'
import { badJson } from '../errors.ts'
import type { JsonObject } from '../json.ts'
import { hashedText, membersOf, signedText } from '../room/event-text.ts'
import type { RoomVersionRules } from '../room/version.ts'

/** Base64 without `=`. {@link https://spec.matrix.org/v1.19/appendices/#unpadded-base64} */
export function unpaddedBase64(bytes: Uint8Array): string {
  return encode(bytes, standardAlphabet)
}

/** Base64 with `-` and `_`, without `=`. {@link https://spec.matrix.org/v1.19/appendices/#url-safe-unpadded-base64} */
export function urlSafeBase64(bytes: Uint8Array): string {
  return encode(bytes, urlSafeAlphabet)
}

/**
 * Bytes of Base64 in either alphabet, padded or not.
 * @throws MatrixError M_BAD_JSON when it is not Base64.
 */
export function fromUnpaddedBase64(text: string): Uint8Array {
  const bytes = decodeBase64(text)
  if (bytes) return bytes
  throw badJson('base64', 'not Base64')
}

/** As `fromUnpaddedBase64`, undefined when it is not Base64. */
export function decodeBase64(text: string): Uint8Array | undefined {
  const end = text.length - (text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0)
  if (end % 4 === 1) return undefined
  const bytes = new Uint8Array(Math.floor((end * 3) / 4))
  let bits = 0
  let written = 0
  for (let at = 0; at < end; at++) {
    const value = sextetOf[text.charCodeAt(at)] ?? noValue
    if (value === noValue) return undefined
    bits = (bits << 6) | value
    if (at % 4 !== 0) bytes[written++] = (bits >> (6 - 2 * (at % 4))) & 0xff
  }
  return bytes
}

/** SHA-256 of the text's UTF-8. */
export function sha256(text: string): Uint8Array {
  return hash('sha256', text, 'buffer')
}

/** SHA-256 of the text's UTF-8 in unpadded Base64 of the alphabet that is asked for. */
export function sha256Text(text: string, alphabet: 'base64' | 'base64url'): string {
  return hash('sha256', text, alphabet).replace('=', '')
}

/**
 * The hash that covers the whole event, in unpadded Base64.
 * {@link https://spec.matrix.org/v1.19/server-server-api/#calculating-the-content-hash-for-an-event}
 */
export function contentHash(event: JsonObject, rules: RoomVersionRules): string {
  return sha256Text(hashedText(membersOf(event, rules)), 'base64')
}

/**
 * The hash that covers what a redaction leaves, in the alphabet of the room version's event ids (the
 * standard one where an event id is no hash).
 * {@link https://spec.matrix.org/v1.19/server-server-api/#calculating-the-reference-hash-for-an-event}
 */
export function referenceHash(event: JsonObject, rules: RoomVersionRules): string {
  return hashOfSigned(signedText(membersOf(event, rules), event, rules), rules)
}

/** The reference hash of an event whose signed text is at hand. */
export function hashOfSigned(signed: string, rules: RoomVersionRules): string {
  return sha256Text(signed, rules.eventIdFormat === 'base64url' ? 'base64url' : 'base64')
}

const standardAlphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'
const urlSafeAlphabet = `${standardAlphabet.slice(0, 62)}-_`
const noValue = 64

/** Value of each character of either alphabet, by its code. */
const sextetOf = new Uint8Array(128).fill(noValue)
for (const alphabet of [standardAlphabet, urlSafeAlphabet]) {
  for (let value = 0; value < 64; value++) sextetOf[alphabet.charCodeAt(value)] = value
}

function encode(bytes: Uint8Array, alphabet: string): string {
  let text = ''
  let bits = 0
  let pending = 0
  for (const byte of bytes) {
    bits = (bits << 8) | byte
    pending += 8
    while (pending >= 6) {
      pending -= 6
      text += alphabet[(bits >> pending) & 63]
    }
  }
  return pending > 0 ? text + alphabet[(bits << (6 - pending)) & 63] : text
}
