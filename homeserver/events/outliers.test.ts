import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { play, steps } from '../../conformance-tests/properties/random-room.ts'
import { signingKeyFromSeed } from '../../spec/crypto/ed25519.ts'
import { testDatabase } from '../database/test-database.ts'
import { systemClock } from '../platform/clock.ts'
import type { KeyRing } from '../ports.ts'
import { createBulkVerifier } from './bulk-verify.ts'
import { createNumbers } from './numbers.ts'
import { createOutliers } from './outliers.ts'
import { createEventStore } from './store.ts'
import { createVerifier } from './verify.ts'

const database = await testDatabase()
afterAll(() => database[Symbol.asyncDispose]())
const { db } = database

/** The key of every server of the generated rooms. */
const { publicKey } = signingKeyFromSeed('ed25519:1', new Uint8Array(32).fill(7))
const keys: KeyRing = { verifyKey: async () => publicKey }
const verifier = createVerifier({ keys })
const outliers = createOutliers({
  db,
  store: createEventStore({ db }),
  numbers: createNumbers({ db }),
  verifier,
  bulk: createBulkVerifier({ keys, clock: systemClock, verifier }),
})

describe('the check of a state that another server sent', () => {
  it('gives the same events whether there are few or very many', { timeout: 60_000 }, async () => {
    const [history = []] = fc.sample(steps(60), { seed: 5, numRuns: 1 })
    const { room } = play('11', history, 'hashes')
    const { roomId } = room.create
    const good = [...room.events.values()].map(({ json }) => json)
    const [first = {}] = good
    const events = [...good, { ...first, signatures: {} }]
    const few = await outliers.verify(roomId, room.rules, events)
    expect(few).toHaveLength(good.length)
    const times = Math.ceil(1_001 / events.length)
    const repeated = Array.from({ length: times }, () => events).flat()
    const many = await outliers.verify(roomId, room.rules, repeated)
    expect(many).toHaveLength(good.length * times)
    const told = ({ eventId, type, authEvents, text, json }: (typeof few)[number]) => ({
      eventId,
      type,
      authEvents,
      json: text ?? JSON.stringify(json),
    })
    expect(many.slice(0, few.length).map(told)).toEqual(few.map(told))
  })
})
