import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { play, steps } from '../../conformance-tests/properties/random-room.ts'
import { signingKeyFromSeed } from '../../spec/crypto/ed25519.ts'
import { systemClock } from '../platform/clock.ts'
import type { KeyRing } from '../ports.ts'
import { createBulkVerifier } from './bulk-verify.ts'
import { createVerifier } from './verify.ts'

/** The key of every server of the generated rooms. */
const { publicKey } = signingKeyFromSeed('ed25519:1', new Uint8Array(32).fill(7))

function bulkVerifier(onMainMax: number, keyFor: KeyRing['verifyKey']) {
  const keys: KeyRing = { verifyKey: keyFor }
  const verifier = createVerifier({ keys })
  return createBulkVerifier({ keys, clock: systemClock, verifier }, { onMainMax })
}

const [history = []] = fc.sample(steps(80), { seed: 11, numRuns: 1 })
const { room } = play('11', history, 'hashes')
const good = [...room.events.values()].map(({ json }) => json)
const roomId = room.create.roomId

describe('the check of many events', () => {
  it('lets through in threads what it lets through here', { timeout: 60_000 }, async () => {
    const [first = {}, second = {}, third = {}] = good
    const events = [
      ...good,
      '{"no": "event"}',
      'no JSON',
      { ...first, signatures: { 'a.example': { 'ed25519:1': 'A'.repeat(86) } } },
      { ...second, signatures: {} },
      JSON.stringify({ ...third, content: { membership: 'join', extra: 'not in the hash' } }),
      { ...second, room_id: '!elsewhere:a.example' },
    ]
    const asked: string[] = []
    const keyFor: KeyRing['verifyKey'] = async (server, keyId) => {
      asked.push(server)
      return keyId === 'ed25519:1' ? publicKey : undefined
    }
    const here = await bulkVerifier(1_000, keyFor).verifyAll(roomId, room.rules, events)
    asked.length = 0
    const there = await bulkVerifier(0, keyFor).verifyAll(roomId, room.rules, events)
    const comparable = (all: typeof here) => all.map(({ pdu: _, ...rest }) => rest)
    expect(comparable(there)).toEqual(comparable(here))
    expect(here.length).toBeGreaterThanOrEqual(good.length)
    expect(here.length).toBeLessThan(events.length)
    // Once for each server that signed, whatever the number of its events.
    expect(asked.length).toBeLessThanOrEqual(5)
  })

  it('asks again for a key that was only valid at the time', { timeout: 60_000 }, async () => {
    const now = systemClock.now()
    const keyFor: KeyRing['verifyKey'] = async (_server, _keyId, validAt) =>
      validAt < now - 1_000 ? publicKey : undefined
    const found = await bulkVerifier(0, keyFor).verifyAll(roomId, room.rules, good)
    expect(found.map(({ eventId }) => eventId).toSorted()).toEqual(
      [...room.events.keys()].toSorted(),
    )
  })
})
