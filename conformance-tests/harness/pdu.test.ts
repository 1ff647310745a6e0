/** The peer's own hashing, redaction and signing against the product's: two implementations, one specification. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { contentHash } from '../../spec/crypto/hash.ts'
import type { JsonObject } from '../../spec/json.ts'
import { eventIdOf } from '../../spec/room/event-format.ts'
import { redactEvent } from '../../spec/room/redact.ts'
import { rulesOf } from '../../spec/room/version.ts'
import { eventId, finish, namesItself, redact } from './pdu.ts'
import { createSigningKey, verifyObject } from './signing.ts'

const versions = ['1', '2', '3', '4', '5', '6', '7', '8', '9', '10', '11', '12']
const types = [
  'm.room.create',
  'm.room.member',
  'm.room.power_levels',
  'm.room.join_rules',
  'm.room.history_visibility',
  'm.room.aliases',
  'm.room.redaction',
  'm.room.message',
  'org.example.other',
]
const keys = [
  'membership',
  'creator',
  'join_rule',
  'allow',
  'ban',
  'users',
  'invite',
  'redacts',
  'aliases',
  'history_visibility',
  'join_authorised_via_users_server',
  'third_party_invite',
  'signed',
  'body',
  'room_version',
  'ü',
  '\u{1F4A9}',
  '10',
  '9',
]
const value = fc.oneof(fc.string(), fc.boolean(), fc.integer(), fc.constant(null))
const content = fc.dictionary(
  fc.constantFrom(...keys),
  fc.oneof(
    value,
    fc.dictionary(fc.constantFrom(...keys), value),
    fc.array(value, { maxLength: 3 }),
  ),
)
const drafts = fc.record({
  type: fc.constantFrom(...types),
  content,
  state_key: fc.string(),
  sender: fc.constant('@alice:example.org'),
  room_id: fc.constant('!room:example.org'),
  depth: fc.nat(),
  origin_server_ts: fc.nat(),
  prev_events: fc.constant([]),
  auth_events: fc.constant([]),
  origin: fc.constant('example.org'),
  membership: fc.constant('join'),
  unsigned: fc.constant({ age: 1 }),
})

describe.each(versions)('an event of room version %s', (version) => {
  const rules = rulesOf(version)
  if (!rules) throw new Error(`no rules for ${version}`)
  const key = createSigningKey()

  it('is hashed, redacted, named and signed alike by both', () => {
    fc.assert(
      fc.property(drafts, (draft) => {
        const named = namesItself(version) ? { ...draft, event_id: '$x:example.org' } : draft
        const { json } = finish(named, version, 'example.org', key)
        // What was made by JSON goes over the wire as JSON.
        const sent: JsonObject = JSON.parse(JSON.stringify(json))
        expect(redactEvent(sent, rules)).toEqual(redact(sent, version))
        expect(eventIdOf(sent, rules)).toBe(eventId(sent, version))
        expect(sent['hashes']).toEqual({ sha256: contentHash(sent, rules) })
        expect(verifyObject(redact(sent, version), 'example.org', key.id, key.publicKey)).toBe(true)
      }),
      { numRuns: 60 },
    )
  })
})
