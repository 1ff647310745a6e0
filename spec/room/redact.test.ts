import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Json, JsonObject } from '../json.ts'
import { redactEvent } from './redact.ts'
import { type RoomVersionRules, roomVersions } from './version.ts'

interface Vectors {
  cases: { name: string; versions: string[]; event: JsonObject; redacted: JsonObject }[]
}
const path = new URL('../../conformance-tests/vectors/redaction.json', import.meta.url)
const vectors: Vectors = JSON.parse(readFileSync(path, 'utf8'))
const everyVersion = [...roomVersions.values()]

const types = [
  'm.room.member',
  'm.room.create',
  'm.room.join_rules',
  'm.room.power_levels',
  'm.room.history_visibility',
  'm.room.aliases',
  'm.room.redaction',
  'm.room.message',
]
const keys = [
  'membership',
  'join_authorised_via_users_server',
  'third_party_invite',
  'creator',
  'join_rule',
  'allow',
  'users',
  'invite',
  'history_visibility',
  'aliases',
  'redacts',
  'other',
  '__proto__',
]
const event: fc.Arbitrary<JsonObject> = fc.record({
  type: fc.constantFrom(...types),
  content: fc.oneof(
    fc.dictionary(
      fc.constantFrom(...keys),
      fc.oneof(fc.constant(1), fc.constant({ signed: {} }), fc.constant({ signed: 1, x: 2 })),
    ),
    fc.constant(null),
  ),
  origin: fc.constant('a'),
  sender: fc.constant('@a:b'),
  unsigned: fc.constant({}),
})

describe('redaction', () => {
  for (const { name, versions, event: before, redacted } of vectors.cases) {
    it.each(versions)(`leaves what the vector says: ${name} (v%s)`, (version) => {
      expect(redactEvent(before, rulesOrThrow(version))).toEqual(redacted)
    })
  }

  it('covers every room version by vectors', () => {
    expect(new Set(vectors.cases.flatMap(({ versions }) => versions))).toEqual(
      new Set(roomVersions.keys()),
    )
  })

  it('has nothing left to do the second time, and then answers the same object', () => {
    fc.assert(
      fc.property(event, fc.constantFrom(...everyVersion), (before, rules) => {
        const once = redactEvent(before, rules)
        expect(redactEvent(once, rules)).toBe(once)
      }),
    )
  })

  it('leaves its input alone', () => {
    const before = { type: 'm.room.message', content: { body: 'x' }, unsigned: { age: 1 } }
    redactEvent(before, rulesOrThrow('12'))
    expect(before).toEqual({ type: 'm.room.message', content: { body: 'x' }, unsigned: { age: 1 } })
  })

  it('never invents a member', () => {
    fc.assert(
      fc.property(event, fc.constantFrom(...everyVersion), (before, rules) => {
        for (const [key, value] of Object.entries(redactEvent(before, rules))) {
          if (key !== 'content') expect(value).toBe(before[key])
        }
        expect(contentKeys(before)).toEqual(
          expect.arrayContaining(contentKeys(redactEvent(before, rules))),
        )
      }),
    )
  })
})

function contentKeys({ content }: JsonObject): string[] {
  const value: Json | undefined = content
  return typeof value === 'object' && value !== null ? Object.keys(value) : []
}

function rulesOrThrow(version: string): RoomVersionRules {
  const rules = roomVersions.get(version)
  if (!rules) throw new Error(`unknown room version ${version}`)
  return rules
}
