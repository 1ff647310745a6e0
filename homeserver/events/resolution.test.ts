import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { play, steps } from '../../conformance-tests/properties/random-room.ts'
import { type StateKey, stateKeyOf } from '../../spec/events/event.ts'
import type { EventId } from '../../spec/ids.ts'
import { resolveState } from '../../spec/room/resolve.ts'
import { testDatabase } from '../database/test-database.ts'
import { createSnapshots } from '../state/state.ts'
import { createNumbers } from './numbers.ts'
import { applyOutsideLog } from './queries.ts'
import { createResolver } from './resolution.ts'
import { createConflictResolution } from './resolution-pool.ts'
import type { StoredEvent } from './stored-event.ts'
import { storedRoom } from './test-rooms.ts'

const database = await testDatabase()
afterAll(() => database[Symbol.asyncDispose]())
const { db } = database
const numbers = createNumbers({ db })
const all = new Map<number, StoredEvent>()

const versions = ['1', '2', '6', '10', '11', '12']

describe('the resolution of stored states', () => {
  it('comes to what the resolution of the whole states comes to', {
    timeout: 120_000,
  }, async () => {
    const snapshots = createSnapshots({
      db,
      nextId: () => numbers.take(),
      reserve: (count) => numbers.ready(count),
      async keyOf(nr) {
        const pdu = all.get(nr)?.pdu
        return stateKeyOf(pdu?.type ?? '', pdu?.stateKey ?? '')
      },
    })
    const resolver = createResolver({ db, snapshots })
    let conflicts = 0
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...versions),
        steps(40),
        fc.nat(60),
        async (version, history, pendingFrom) => {
          const { room, states } = play(version, history)
          const { byId, byNr, pending } = await storedRoom(db, numbers, room, pendingFrom)
          for (const [nr, event] of byNr) all.set(nr, event)
          const roots: number[] = []
          for (const state of states) {
            const entries = new Map<StateKey, number>()
            for (const [key, id] of state) entries.set(key, byId.get(id)?.nr ?? 0)
            const { root, rows } = await snapshots.create(entries)
            await applyOutsideLog(db, 'state_nodes', JSON.stringify(rows))
            roots.push(root)
          }
          await numbers.ready(500)
          const pick =
            <K, V>(from: ReadonlyMap<K, V>) =>
            async (keys: readonly K[]) =>
              new Map(
                keys.flatMap((key) => {
                  const value = from.get(key)
                  return value === undefined ? [] : [[key, value] as const]
                }),
              )
          const { rules, create } = room
          const resolved = await resolver.resolve(
            create.roomId,
            rules,
            roots,
            pick(byId),
            pick(byNr),
            pending,
          )
          const found = (await snapshots.entries(resolved.root)).map(
            (nr) => byNr.get(nr)?.pdu.eventId,
          )
          const expected = resolveState(rules, states, room.source)
          if (resolved.rows.length > 0) conflicts++
          expect(found.toSorted()).toEqual([...expected.values()].toSorted())
        },
      ),
      { numRuns: 150 },
    )
    expect(conflicts).toBeGreaterThan(20)
  })

  it('decides a large conflict in a thread as it would here', { timeout: 60_000 }, async () => {
    const { room, states } = play(
      '11',
      fc.sample(steps(60), { seed: 5, numRuns: 1 })[0] ?? [],
      'hashes',
    )
    const events = new Map<EventId, StoredEvent>()
    let nr = 0
    for (const pdu of room.events.values()) {
      const text = JSON.stringify(pdu.json)
      events.set(pdu.eventId, { nr: ++nr, pdu, text, softFailed: false })
    }
    const conflicted = new Set(states.flatMap((state) => [...state.values()]))
    const conflict = { base: new Map(), conflicted, authDifference: new Set<EventId>() }
    const here = await createConflictResolution()(room.rules, conflict, events)
    const there = await createConflictResolution(0)(room.rules, conflict, events)
    expect(here.size).toBeGreaterThan(3)
    expect(there).toEqual(here)
  })
})
