import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { canonicalJson } from '../canonical-json.ts'
import { signingKeyFromSeed, verifySignature } from '../crypto/ed25519.ts'
import { contentHash } from '../crypto/hash.ts'
import { signaturesOf } from '../crypto/sign-json.ts'
import { MatrixError } from '../errors.ts'
import { parseServerName } from '../ids.ts'
import type { Json, JsonObject } from '../json.ts'
import {
  checkContentHash,
  eventIdOf,
  examinePdu,
  finishPdu,
  readStoredPdu,
  redactedBytesForSignature,
  redactPdu,
} from './event-format.ts'
import { roomVersions } from './version.ts'

const server = parseServerName('domain')
const key = signingKeyFromSeed('ed25519:1', new Uint8Array(32).fill(1))
const anyRules = fc.constantFrom(...roomVersions.values())
const listRules = fc.constantFrom(
  ...[...roomVersions.values()].filter((rules) => rules.eventFormat === 'list'),
)

const content = fc.dictionary(
  fc.oneof(fc.string(), fc.constantFrom('membership', 'creator', 'users', 'allow', '__proto__')),
  fc.jsonValue({ maxDepth: 3, depthSize: 'small' }).map(toIntegers),
  { maxKeys: 5 },
)
const type = fc.constantFrom(
  'm.room.message',
  'm.room.member',
  'm.room.power_levels',
  'm.room.join_rules',
  'm.room.redaction',
  'org.example',
)

/** What a stranger may put in the place of any member. */
const junk: fc.Arbitrary<Json> = fc.oneof(
  fc.constantFrom<Json[]>(null, true, '', -0, -1, 0.5, 2 ** 53, 1e300, Number.POSITIVE_INFINITY),
  fc.constantFrom<Json[]>(
    '\ud800',
    '\u0000',
    '@',
    '!',
    '$',
    '@:',
    '$:',
    'x'.repeat(256),
    '__proto__',
  ),
  fc.constantFrom<Json[]>([], {}, [[]], [{}], [null], ['$a', '$a'], [['$a:b', {}]], {
    sha256: null,
  }),
  fc.constantFrom<Json[]>({ domain: null }, { domain: {} }, JSON.parse('{"__proto__":{"a":{}}}')),
  fc.jsonValue({ maxDepth: 2 }).map(toIntegers),
)
const field = fc.constantFrom(
  'type',
  'state_key',
  'content',
  'sender',
  'room_id',
  'event_id',
  'depth',
  'origin_server_ts',
  'prev_events',
  'auth_events',
  'hashes',
  'signatures',
  'unsigned',
  'redacts',
  '__proto__',
  'toJSON',
)

describe('any event of ours', () => {
  it('is accepted by others, with its hash, signature and id, redacted or not', () => {
    fc.assert(
      fc.property(type, content, listRules, (kind, body, rules) => {
        const pdu = finishPdu(draft(kind, body, rules.createHashRoomId), rules, server, key)
        const {
          pdu: parsed,
          contentHashMatches,
          signedText,
        } = examinePdu(JSON.parse(pdu.text ?? ''), rules)
        expect(contentHashMatches).toBe(true)
        expect(parsed).toEqual(pdu)
        expect(readStoredPdu(pdu.text ?? '', pdu.eventId, rules)).toEqual(pdu)
        expect(pdu.json['hashes']).toEqual({ sha256: contentHash(pdu.json, rules) })
        const signature = signaturesOf(pdu.json, server)[key.keyId] ?? ''
        expect(verifySignature(key.publicKey, signedText, signature)).toBe(true)
        const redacted = redactPdu(pdu, rules)
        expect(eventIdOf(redacted.json, rules)).toBe(pdu.eventId)
        expect(redactedBytesForSignature(redacted, rules)).toBe(signedText)
        expect(redactPdu(redacted, rules)).toBe(redacted)
      }),
      { numRuns: 300 },
    )
  })
})

describe('any event of a stranger', () => {
  it('is either refused with a Matrix error or comes out whole', () => {
    fc.assert(
      fc.property(
        anyRules,
        type,
        fc.array(fc.tuple(field, junk), { maxLength: 3 }),
        (rules, kind, changes) => {
          const changed: JsonObject = Object.fromEntries([
            ...Object.entries(finished(kind)),
            ...changes,
          ])
          try {
            const { pdu } = examinePdu(changed, rules)
            expect(typeof checkContentHash(pdu, rules)).toBe('boolean')
            expect(JSON.parse(pdu.text ?? '')).toEqual(JSON.parse(JSON.stringify(pdu.json)))
            expect(redactPdu(pdu, rules).eventId).toBe(pdu.eventId)
            if (rules.strictCanonicalJson) expect(pdu.text).toBe(canonicalJson(pdu.json))
          } catch (error) {
            expect(error).toBeInstanceOf(MatrixError)
          }
        },
      ),
      { numRuns: 3000 },
    )
  })
})

function draft(kind: string, body: JsonObject, hashRoom: boolean): JsonObject {
  return {
    type: kind,
    room_id: hashRoom ? `!${'a'.repeat(43)}` : '!r:domain',
    sender: '@a:domain',
    content: body,
    depth: 3,
    origin_server_ts: 1_700_000_000_000,
    prev_events: ['$p'],
    auth_events: ['$q'],
  }
}

function finished(kind: string): JsonObject {
  return { ...draft(kind, {}, false), hashes: { sha256: 'x' }, signatures: { domain: {} } }
}

/** Numbers become integers in range, so that the value has canonical JSON, and strings lose lone surrogates. */
function toIntegers(value: unknown): Json {
  if (typeof value === 'number') return Number.isSafeInteger(value) ? value + 0 : 7
  if (typeof value === 'string' || typeof value === 'boolean') return value
  if (Array.isArray(value)) return value.map(toIntegers)
  if (typeof value !== 'object' || value === null) return null
  return Object.fromEntries(Object.entries(value).map(([k, inner]) => [k, toIntegers(inner)]))
}
