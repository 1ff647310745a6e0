import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import * as ids from './ids.ts'

type Vectors = Record<string, { valid: string[]; invalid: string[] }>
const path = new URL('../conformance-tests/vectors/ids.json', import.meta.url)
const vectors: Vectors = JSON.parse(readFileSync(path, 'utf8'))

const kinds = [
  ['server_name', ids.isServerName, ids.parseServerName, ids.serverNameSchema],
  ['user_id', ids.isUserId, ids.parseUserId, ids.userIdSchema],
  ['room_id', ids.isRoomId, ids.parseRoomId, ids.roomIdSchema],
  ['event_id', ids.isEventId, ids.parseEventId, ids.eventIdSchema],
  ['room_alias', ids.isRoomAlias, ids.parseRoomAlias, ids.roomAliasSchema],
] as const

/** `{3}` in a vector stands for `aaa`. */
function expand(vector: string): string {
  return vector.replace(/\{(\d+)\}/, (_all, count) => 'a'.repeat(Number(count)))
}

describe.each(kinds)('%s', (kind, is, parse, schema) => {
  it.each(vectors[kind]?.valid ?? [])('accepts %j', (vector) => {
    const id = expand(vector)
    expect(is(id)).toBe(true)
    expect(parse(id)).toBe(id)
    expect(schema.parse(id)).toBe(id)
  })

  it.each(vectors[kind]?.invalid ?? [])('refuses %j', (vector) => {
    const id = expand(vector)
    expect(is(id)).toBe(false)
    expect(() => parse(id)).toThrow(expect.objectContaining({ errcode: 'M_INVALID_PARAM' }))
    expect(schema.safeParse(id).success).toBe(false)
  })

  it('refuses lone surrogates and what is no string', () => {
    for (const input of [
      '@\ud800:a',
      '!\ud800',
      '$\udc00',
      '#\ud800:a',
      1,
      null,
      undefined,
      {},
      [],
    ]) {
      expect(is(input)).toBe(false)
    }
  })

  it('has a schema that JSON Schema can describe', () => {
    expect(z.toJSONSchema(schema)).toMatchObject({ type: 'string' })
  })
})

describe('parts of identifiers', () => {
  it('are what stands before and after the first colon', () => {
    const user = ids.parseUserId('@al:[::1]:8448')
    expect(ids.localpartOf(user)).toBe('al')
    expect(ids.serverOfUser(user)).toBe('[::1]:8448')
    expect(ids.serverOfAlias(ids.parseRoomAlias('#x:example.org'))).toBe('example.org')
    expect(ids.serverOfRoom(ids.parseRoomId('!x:example.org:1'))).toBe('example.org:1')
    expect(ids.serverOfRoom(ids.parseRoomId('!x'))).toBeUndefined()
    expect(ids.serverOfEventId(ids.parseEventId('$x:example.org'))).toBe('example.org')
    expect(ids.serverOfEventId(ids.parseEventId('$x'))).toBeUndefined()
  })

  it('make a user id again', () => {
    const server = ids.parseServerName('example.org')
    expect(ids.makeUserId('alice', server)).toBe('@alice:example.org')
    expect(() => ids.makeUserId('a:b', server)).toThrow(/user_id/)
    expect(() => ids.makeUserId('a'.repeat(243), server)).toThrow(/user_id/)
  })

  it('turn a create event id into its room id and back', () => {
    const create = ids.eventIdOfHash('Nhcu5BS-UMnFX7hBVfVSoXiD7OgH6iRT-xyIuqDnpYQ')
    const room = ids.roomIdOfCreate(create)
    expect(room).toBe('!Nhcu5BS-UMnFX7hBVfVSoXiD7OgH6iRT-xyIuqDnpYQ')
    expect(ids.createIdOfRoom(room)).toBe(create)
  })
})

describe('strict local parts', () => {
  it.each(vectors['strict_localpart']?.valid ?? [])('accept %j', (localpart) => {
    expect(ids.isStrictLocalpart(localpart)).toBe(true)
  })
  it.each(vectors['strict_localpart']?.invalid ?? [])('refuse %j', (localpart) => {
    expect(ids.isStrictLocalpart(localpart)).toBe(false)
  })
})

describe('compliant user ids', () => {
  it('have a local part of visible ASCII that is not empty', () => {
    for (const id of ['@alice:a', '@UPPER!~:a']) {
      expect(ids.isCompliantUserId(ids.parseUserId(id))).toBe(true)
    }
    for (const id of ['@:a', '@a b:a', '@é:a', '@a\u007f:a']) {
      expect(ids.isCompliantUserId(ids.parseUserId(id))).toBe(false)
    }
  })
})

describe('device ids', () => {
  it('are any text of 1 to 255 bytes', () => {
    expect(ids.isDeviceId('ABCDEF')).toBe(true)
    expect(ids.isDeviceId('é'.repeat(127))).toBe(true)
    expect(ids.isDeviceId('é'.repeat(128))).toBe(false)
    expect(ids.isDeviceId('')).toBe(false)
    expect(() => ids.parseDeviceId('')).toThrow(/device_id/)
    expect(ids.deviceIdSchema.safeParse('').success).toBe(false)
  })
})

describe('lengths', () => {
  it('are those of UTF-8', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 40 }), (text) => {
        const bytes = Buffer.byteLength(text, 'utf8')
        expect(ids.utf8Length(text)).toBe(bytes)
        expect(ids.isWithin(text, bytes)).toBe(true)
        expect(ids.isWithin(text, bytes - 1)).toBe(false)
      }),
    )
  })
})
