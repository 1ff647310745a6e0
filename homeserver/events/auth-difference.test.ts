import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { play, steps } from '../../conformance-tests/properties/random-room.ts'
import type { StateKey } from '../../spec/events/event.ts'
import type { EventId } from '../../spec/ids.ts'
import { testDatabase } from '../database/test-database.ts'
import { authDifference } from './auth-difference.ts'
import { createNumbers } from './numbers.ts'
import { storedRoom } from './test-rooms.ts'

const database = await testDatabase()
afterAll(() => database[Symbol.asyncDispose]())
const { db } = database
const numbers = createNumbers({ db })

/** The auth difference by the book: of the chains of whole states, with the undisputed events in all of them. */
function byTheBook({ room, states }: ReturnType<typeof play>): string[] {
  const [first = new Map<StateKey, EventId>()] = states
  const undisputed = [...first].filter(([key, id]) => states.every((each) => each.get(key) === id))
  const chains = states.map(
    (state) =>
      new Set([...room.source.authChain(state.values()), ...undisputed.map(([, id]) => id)]),
  )
  const all = new Set(chains.flatMap((chain) => [...chain]))
  return [...all].filter((id) => !chains.every((chain) => chain.has(id))).toSorted()
}

describe('the auth difference of stored states', () => {
  it('is that of the chains of the whole states', { timeout: 120_000 }, async () => {
    let found = 0
    await fc.assert(
      fc.asyncProperty(steps(60), fc.nat(60), async (history, pendingFrom) => {
        const played = play('6', history)
        const { byId, byNr, pending } = await storedRoom(db, numbers, played.room, pendingFrom)
        const { states } = played
        const eventAt = (state: ReadonlyMap<StateKey, EventId>, key: StateKey) => {
          const id = state.get(key)
          return id === undefined ? undefined : byId.get(id)
        }
        const [first = new Map<StateKey, EventId>()] = states
        const isDisputed = (key: StateKey) =>
          states.some((state) => state.get(key) !== first.get(key))
        const keys = [...new Set(states.flatMap((state) => [...state.keys()]))].filter(isDisputed)
        const sets = states.map((state) => keys.flatMap((key) => eventAt(state, key) ?? []))
        const events = new Map(sets.flat().map((event) => [event.pdu.eventId, event]))
        for (const id of played.room.source.authChain([...events.keys()])) {
          const event = byId.get(id)
          if (event !== undefined) events.set(id, event)
        }
        const difference = await authDifference(
          {
            db,
            events,
            pending,
            byNumber: async (nrs) =>
              new Map(
                nrs.flatMap((nr) => {
                  const event = byNr.get(nr)
                  return event === undefined ? [] : [[nr, event] as const]
                }),
              ),
            shared: async (key) => (isDisputed(key) ? undefined : eventAt(first, key)?.nr),
          },
          sets,
        )
        if (difference.size > 0) found++
        expect([...difference].toSorted()).toEqual(byTheBook(played))
      }),
      { numRuns: 300 },
    )
    expect(found).toBeGreaterThan(20)
  })
})
