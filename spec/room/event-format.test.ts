import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { canonicalJson } from '../canonical-json.ts'
import { signingKeyFromSeed, verifySignature } from '../crypto/ed25519.ts'
import { contentHash, fromUnpaddedBase64, referenceHash } from '../crypto/hash.ts'
import { signaturesOf } from '../crypto/sign-json.ts'
import { parseServerName } from '../ids.ts'
import type { Json, JsonObject } from '../json.ts'
import {
  checkContentHash,
  countersignPdu,
  eventBytesMax,
  eventIdOf,
  examinePdu,
  finishPdu,
  parsePdu,
  readStoredPdu,
  redactedBytesForSignature,
  redactPdu,
  requiredSigners,
} from './event-format.ts'
import { redactEvent } from './redact.ts'
import { type RoomVersionRules, rulesOf } from './version.ts'

interface EventVector {
  version: string
  name: string
  draft: JsonObject
  hashes: JsonObject
  signatures: JsonObject
  event_id: string
  room_id: string
}
const events: EventVector[] = read('events.json').events
const signing: { seed: string; server: string; keyId: string } = read('signing.json')
const server = parseServerName(signing.server)
const key = signingKeyFromSeed(signing.keyId, fromUnpaddedBase64(signing.seed))

const v1 = rules('1')
const v5 = rules('5')
const v11 = rules('11')
const v12 = rules('12')
const hash43 = 'thishashcoversallfieldsincasethisisredacted'

describe('events of our own', () => {
  it.each(events)('get hash, signature and id of the vector: $name (v$version)', (vector) => {
    const pdu = finishPdu(vector.draft, rules(vector.version), server, key)
    expect(pdu.json).toEqual({
      ...vector.draft,
      hashes: vector.hashes,
      signatures: vector.signatures,
    })
    expect(pdu.eventId).toBe(vector.event_id)
    expect(pdu.roomId).toBe(vector.room_id)
    expect(pdu.text).toBe(canonicalJson(pdu.json))
  })

  it('are told what is wrong with a draft', () => {
    expect(() => finish({ ...message(), type: 1 })).toThrow(bad('type'))
    expect(() => finish({ ...message(), content: { a: 1.5 } })).toThrow(bad('not an integer'))
    expect(() => finish({ ...message(), content: { a: 'x'.repeat(65_536) } })).toThrow(
      large('event'),
    )
    expect(() => finish({ ...message(), state_key: 'é'.repeat(128) })).toThrow(large('state_key'))
  })

  it('lose unsigned, which nobody signs', () => {
    const pdu = finish({ ...message(), unsigned: { age: 1 } })
    expect(pdu.json['unsigned']).toBeUndefined()
    expect(pdu.unsigned).toEqual({ age: 1 })
    expect(pdu.eventId).toBe(finish(message()).eventId)
  })
})

describe('events of others', () => {
  it.each(events)('are parsed, hashed and verified: $name (v$version)', (vector) => {
    const its = rules(vector.version)
    const json = { ...vector.draft, hashes: vector.hashes, signatures: vector.signatures }
    const { pdu, contentHashMatches, signedText } = examinePdu(
      { ...json, unsigned: { age: 1 } },
      its,
    )
    expect(pdu).toMatchObject({ eventId: vector.event_id, roomId: vector.room_id, json })
    expect(contentHashMatches).toBe(true)
    expect(signedText).toBe(redactedBytesForSignature(pdu, its))
    expect(parsePdu(json, its).eventId).toBe(pdu.eventId)
    expect(eventIdOf(json, its)).toBe(vector.event_id)
    const signature = signaturesOf(json, server)[key.keyId] ?? ''
    expect(verifySignature(key.publicKey, signedText, signature)).toBe(true)
    expect(readStoredPdu(pdu.text ?? '', pdu.eventId, its)).toEqual({ ...pdu, unsigned: undefined })
  })

  it.each(events)('keep id and signature when redacted: $name (v$version)', (vector) => {
    const its = rules(vector.version)
    const pdu = finishPdu(vector.draft, its, server, key)
    const redacted = redactPdu(pdu, its)
    expect(redacted.json).toEqual(redactEvent(pdu.json, its))
    expect(redacted.eventId).toBe(pdu.eventId)
    expect(redacted.text).toBe(canonicalJson(redacted.json))
    expect(eventIdOf(redacted.json, its)).toBe(pdu.eventId)
    expect(redactedBytesForSignature(redacted, its)).toBe(redactedBytesForSignature(pdu, its))
  })

  it('with changed content fail the hash and go on redacted under the same id', () => {
    const pdu = finish(message())
    const changed = parsePdu({ ...pdu.json, content: { body: 'changed' } }, v11)
    expect(changed.eventId).toBe(pdu.eventId)
    expect(checkContentHash(pdu, v11)).toBe(true)
    expect(checkContentHash(changed, v11)).toBe(false)
    expect(redactPdu(changed, v11).content).toEqual({})
  })

  it('may pad their hashes', () => {
    const { json } = finish(message())
    const hashes = { sha256: `${String(contentHash(message(), v11))}=` }
    expect(checkContentHash(parsePdu({ ...json, hashes }, v11), v11)).toBe(true)
  })

  it('may have historical senders', () => {
    for (const sender of ['@:domain', '@Upper Case:domain', '@é😀:domain']) {
      expect(parse({ ...complete(), sender }).sender).toBe(sender)
    }
  })

  const wrong: [string, Json | undefined][] = [
    ['type', undefined],
    ['type', 1],
    ['state_key', null],
    ['state_key', 1],
    ['content', undefined],
    ['content', 'x'],
    ['content', []],
    ['content', null],
    ['sender', undefined],
    ['sender', 'alice'],
    ['sender', '@alice'],
    ['sender', '@a:b c'],
    ['room_id', undefined],
    ['room_id', '!nodomain'],
    ['room_id', 7],
    ['depth', undefined],
    ['depth', -1],
    ['depth', 1.5],
    ['depth', '1'],
    ['depth', 2 ** 53],
    ['origin_server_ts', undefined],
    ['origin_server_ts', 1.5],
    ['origin_server_ts', '1'],
    ['prev_events', undefined],
    ['prev_events', {}],
    ['prev_events', [1]],
    ['prev_events', ['x']],
    ['prev_events', [['$a', {}]]],
    ['prev_events', Array.from({ length: 21 }, (_, n) => `$${n}`)],
    ['auth_events', undefined],
    ['auth_events', Array.from({ length: 11 }, (_, n) => `$${n}`)],
    ['hashes', undefined],
    ['hashes', {}],
    ['hashes', { sha256: 1 }],
    ['signatures', undefined],
    ['signatures', []],
    ['signatures', { domain: 'x' }],
    ['signatures', { domain: { 'ed25519:1': 1 } }],
  ]
  it.each(wrong)('are refused for %s being %j, naming the field', (field, value) => {
    const { [field]: _replaced, ...rest } = complete()
    expect(() => parse(value === undefined ? rest : { ...rest, [field]: value })).toThrow(
      bad(field),
    )
  })

  it.each([[null], ['x'], [1], [[]], [undefined]])('are refused for being %j', (json) => {
    expect(() => parsePdu(json, v11)).toThrow(bad('event'))
  })

  it.each(['type', 'state_key', 'sender', 'room_id'])(
    'are too large for a %s of 256 bytes',
    (field) => {
      const frame = { sender: ['@', ':domain'], room_id: ['!', ':domain'] }[field] ?? ['', '']
      const long = (bytes: number) => frame.join('x'.repeat(bytes - frame.join('').length))
      expect(parse({ ...complete(), [field]: long(255) })).toMatchObject({
        json: { [field]: long(255) },
      })
      expect(() => parse({ ...complete(), [field]: long(256) })).toThrow(large(field))
    },
  )

  it('may have 65,536 bytes with their signatures and not one more', () => {
    const room = eventBytesMax - canonicalJson({ ...complete(), content: { body: '' } }).length
    expect(parse({ ...complete(), content: { body: 'x'.repeat(room) } }).text).toHaveLength(
      eventBytesMax,
    )
    expect(
      parse({ ...complete(), content: { body: 'x'.repeat(room) }, unsigned: { age: 1 } }),
    ).toBeDefined()
    expect(() => parse({ ...complete(), content: { body: 'x'.repeat(room + 1) } })).toThrow(
      large('event'),
    )
    const accents = 'é'.repeat(Math.floor(room / 2) + 1)
    expect(() => parse({ ...complete(), content: { body: accents } })).toThrow(large('event'))
  })

  it('may name 20 predecessors and 10 auth events', () => {
    const ids = Array.from({ length: 20 }, (_, n) => `$${n}`)
    const pdu = parse({ ...complete(), prev_events: ids, auth_events: ids.slice(10) })
    expect([pdu.prevEvents.length, pdu.authEvents.length]).toEqual([20, 10])
  })
})

describe('differences between room versions', () => {
  it('v6+: floats and large integers are refused', () => {
    for (const content of [{ a: 0.5 }, { a: 2 ** 53 }]) {
      expect(() => parsePdu({ ...complete(), content }, rules('6'))).toThrow(bad('canonical json'))
      expect(parsePdu({ ...complete(), content }, v5).content).toEqual(content)
    }
  })

  it('v1–5: a depth of 64 bits is accepted and clamped', () => {
    expect(parsePdu({ ...complete(), depth: 2 ** 63 }, v5).depth).toBe(Number.MAX_SAFE_INTEGER)
    expect(() => parsePdu({ ...complete(), depth: 2 ** 64 }, v5)).toThrow(bad('depth'))
  })

  it('v1–2: the event carries its id, and names others with their hashes', () => {
    const pairs = [['$a:domain', { sha256: hash43 }]]
    const old = { ...complete(), event_id: '$own:domain', prev_events: pairs, auth_events: pairs }
    expect(parsePdu(old, v1)).toMatchObject({ eventId: '$own:domain', prevEvents: ['$a:domain'] })
    for (const [field, value] of [
      ['event_id', undefined],
      ['event_id', '$nodomain'],
      ['prev_events', ['$a:domain']],
      ['prev_events', [['$a:domain']]],
      ['auth_events', [['$a:domain', {}, 1]]],
    ] as const) {
      expect(() => parsePdu({ ...old, [field]: value }, v1)).toThrow(bad(field))
    }
  })

  it('v1–10: redacts is at the top level, v11+: in content', () => {
    const top = { ...complete(), type: 'm.room.redaction', redacts: '$x' }
    const inside = { ...complete(), type: 'm.room.redaction', content: { redacts: '$y' } }
    expect(parsePdu(top, rules('10')).redacts).toBe('$x')
    expect(parsePdu(inside, rules('10')).redacts).toBeUndefined()
    expect(parsePdu(top, v11).redacts).toBeUndefined()
    expect(parsePdu(inside, v11).redacts).toBe('$y')
    expect(parsePdu({ ...inside, content: { redacts: 1 } }, v11).redacts).toBeUndefined()
    expect(() => parsePdu({ ...top, redacts: 1 }, rules('10'))).toThrow(bad('redacts'))
    expect(parsePdu({ ...top, type: 'm.room.message' }, rules('10')).redacts).toBeUndefined()
  })

  it('v12: the create event has no room id, and makes it', () => {
    const { room_id: _none, ...rest } = complete()
    const create = { ...rest, type: 'm.room.create', state_key: '' }
    const pdu = parsePdu(create, v12)
    expect(pdu.roomId).toBe(`!${referenceHash(create, v12)}`)
    expect(() => parsePdu({ ...create, room_id: pdu.roomId }, v12)).toThrow(bad('room_id'))
    const { state_key: _key, ...stateless } = create
    expect(() => parsePdu(stateless, v12)).toThrow(bad('state_key'))
  })

  it('v12: the room id is a hash, and the create event is no auth event', () => {
    const event = { ...complete(), room_id: `!${hash43}` }
    expect(parsePdu(event, v12).roomId).toBe(`!${hash43}`)
    expect(() => parsePdu({ ...event, room_id: '!r:domain' }, v12)).toThrow(bad('room_id'))
    expect(() => parsePdu({ ...event, room_id: '!short' }, v12)).toThrow(bad('room_id'))
    expect(() => parsePdu({ ...event, auth_events: ['$a', `$${hash43}`] }, v12)).toThrow(
      bad('auth_events'),
    )
  })
})

describe('required signers', () => {
  const member = { type: 'm.room.member', state_key: '@b:c' }

  it('are the sender’s server', () => {
    expect(requiredSigners(parse(complete()), v11)).toEqual(['domain'])
  })

  it('v1–2: and the server in the event id', () => {
    const old = { ...complete(), event_id: '$own:other', prev_events: [], auth_events: [] }
    expect(requiredSigners(parsePdu(old, v1), v1)).toEqual(['domain', 'other'])
  })

  it('v8+: and the server of the user who let a member in', () => {
    const via = (user: Json) => ({
      ...complete(),
      ...member,
      content: { membership: 'join', join_authorised_via_users_server: user },
    })
    expect(requiredSigners(parse(via('@x:other')), v11)).toEqual(['domain', 'other'])
    expect(requiredSigners(parse(via('@x:domain')), v11)).toEqual(['domain'])
    expect(requiredSigners(parsePdu(via('@x:other'), rules('7')), rules('7'))).toEqual(['domain'])
    expect(() => requiredSigners(parse(via(1)), v11)).toThrow(
      bad('join_authorised_via_users_server'),
    )
  })

  it('are nobody for an invite that stands for a third-party one', () => {
    const content = { membership: 'invite', third_party_invite: { signed: {} } }
    expect(requiredSigners(parse({ ...complete(), ...member, content }), v11)).toEqual([])
  })
})

describe('countersigning', () => {
  it('adds a signature that covers the same, and keeps the id', () => {
    const other = parseServerName('other')
    const second = signingKeyFromSeed('ed25519:2', new Uint8Array(32).fill(9))
    const pdu = finish(message())
    const both = countersignPdu(pdu, v11, other, second)
    expect(both.eventId).toBe(pdu.eventId)
    expect(both.text).toBe(canonicalJson(both.json))
    expect(Object.keys(both.json['signatures'] ?? {})).toEqual(['domain', 'other'])
    const signature = signaturesOf(both.json, other)['ed25519:2'] ?? ''
    expect(verifySignature(second.publicKey, redactedBytesForSignature(pdu, v11), signature)).toBe(
      true,
    )
    expect(signaturesOf(both.json, server)).toEqual(signaturesOf(pdu.json, server))
  })
})

/** A draft in the format of room versions 3 to 11. */
function message(): JsonObject {
  return {
    type: 'm.room.message',
    room_id: '!r:domain',
    sender: '@a:domain',
    content: { body: 'hello' },
    depth: 3,
    origin_server_ts: 1_700_000_000_000,
    prev_events: ['$p'],
    auth_events: ['$q'],
  }
}

function complete(): JsonObject {
  return { ...message(), hashes: { sha256: hash43 }, signatures: { domain: { 'ed25519:1': 'x' } } }
}

function parse(json: JsonObject) {
  return parsePdu(json, v11)
}

function finish(draft: JsonObject) {
  return finishPdu(draft, v11, server, key)
}

function bad(field: string) {
  return expect.objectContaining({ errcode: 'M_BAD_JSON', message: expect.stringContaining(field) })
}

function large(field: string) {
  return expect.objectContaining({
    errcode: 'M_TOO_LARGE',
    message: expect.stringContaining(field),
  })
}

function rules(version: string): RoomVersionRules {
  const found = rulesOf(version)
  if (!found) throw new Error(`unknown room version ${version}`)
  return found
}

function read(name: string) {
  const path = new URL(`../../conformance-tests/vectors/${name}`, import.meta.url)
  return JSON.parse(readFileSync(path, 'utf8'))
}
