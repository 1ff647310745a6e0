import { afterAll, describe, expect, it } from 'vitest'
import {
  alice,
  bob,
  carol,
  furnishedRoom,
  membership,
  powerLevels,
  topic,
} from '../../conformance-tests/properties/room-builder.ts'
import { type Pdu, type StateKey, stateKeyOf } from '../../spec/events/event.ts'
import { type EventId, parseEventId, parseUserId } from '../../spec/ids.ts'
import { resolveState, type StateMap } from '../../spec/room/resolve.ts'
import { testDatabase } from '../database/test-database.ts'
import { createSnapshots } from '../state/state.ts'
import { createNumbers } from './numbers.ts'
import { applyOutsideLog } from './queries.ts'
import { createResolver } from './resolution.ts'
import type { StoredEvent } from './stored-event.ts'
import { storedRoom } from './test-rooms.ts'

const members = 10_000
const nodesAtOnce = 5_000

const database = await testDatabase()
afterAll(() => database[Symbol.asyncDispose]())
const { db } = database

/** A room with very many members, and two branches on which little happened. */
function largeRoom() {
  const room = furnishedRoom('11', {
    joined: [bob, carol],
    levels: { users: { [alice]: 100, [bob]: 50, [carol]: 50 }, events: { 'm.room.topic': 0 } },
  })
  const { events, main } = room
  const auth = ['m.room.create', 'm.room.power_levels', 'm.room.join_rules'].flatMap(
    (type) => main.read(type, '')?.eventId ?? [],
  )
  const state = new Map(main.state)
  for (let at = 0; at < members; at++) {
    const user = parseUserId(`@member${at}:d.example`)
    const event: Pdu = {
      eventId: parseEventId(`$member${at}`),
      roomId: room.create.roomId,
      sender: user,
      type: 'm.room.member',
      stateKey: user,
      content: { membership: 'join' },
      depth: 10,
      originServerTs: at,
      prevEvents: [],
      authEvents: auth,
      json: {},
    }
    events.set(event.eventId, event)
    state.set(stateKeyOf(event.type, user), event.eventId)
  }
  main.adopt(state)
  const [left, right] = [main.fork(), main.fork()]
  left.offer({ ...powerLevels({ users: { [alice]: 100, [bob]: 50 } }), sender: alice })
  left.offer({ ...powerLevels({ users: { [alice]: 100, [bob]: 40 } }), sender: alice })
  left.offer(membership(carol, 'ban', alice))
  right.offer(topic('from the right', carol))
  for (let at = 0; at < 20; at++) right.offer(membership(`@member${at}:d.example`, 'leave'))
  return { room, states: [new Map(left.state), new Map(right.state)] satisfies StateMap[] }
}

describe('the resolution of a room with very many members', () => {
  it('looks at what differs and at little else', { timeout: 110_000 }, async () => {
    const numbers = createNumbers({ db })
    const { room, states } = largeRoom()
    const { byId, byNr } = await storedRoom(db, numbers, room, Number.POSITIVE_INFINITY)
    const snapshots = createSnapshots({
      db,
      nextId: () => numbers.take(),
      reserve: (count) => numbers.ready(count),
      async keyOf(nr) {
        const pdu = byNr.get(nr)?.pdu
        return stateKeyOf(pdu?.type ?? '', pdu?.stateKey ?? '')
      },
    })
    const [left = new Map<StateKey, EventId>(), right = new Map<StateKey, EventId>()] = states
    const nrs = (state: StateMap) =>
      new Map([...state].map(([key, id]) => [key, byId.get(id)?.nr ?? 0]))
    const first = await snapshots.create(nrs(left))
    await numbers.ready(1_000)
    const changes = new Map<StateKey, number | undefined>()
    for (const [key, nr] of nrs(right)) if (left.get(key) !== right.get(key)) changes.set(key, nr)
    const second = await snapshots.update(first.root, changes)
    const rows = [...first.rows, ...second.rows]
    for (let at = 0; at < rows.length; at += nodesAtOnce)
      await applyOutsideLog(db, 'state_nodes', JSON.stringify(rows.slice(at, at + nodesAtOnce)))

    const read = new Set<EventId>()
    const noted = (event: StoredEvent | undefined) => {
      if (event !== undefined) read.add(event.pdu.eventId)
      return event
    }
    const startedAt = performance.now()
    const resolved = await createResolver({ db, snapshots }).resolve(
      room.create.roomId,
      room.rules,
      [first.root, second.root],
      async (ids) =>
        new Map(ids.flatMap((id) => noted(byId.get(id)) ?? []).map((e) => [e.pdu.eventId, e])),
      async (all) => new Map(all.flatMap((nr) => noted(byNr.get(nr)) ?? []).map((e) => [e.nr, e])),
    )
    const tookMs = performance.now() - startedAt
    const found = (await snapshots.entries(resolved.root)).map((nr) => byNr.get(nr)?.pdu.eventId)
    const expected = resolveState(room.rules, states, room.source)
    expect(found.toSorted()).toEqual([...expected.values()].toSorted())
    expect(read.size).toBeLessThan(400)
    expect(resolved.rows.length).toBeLessThan(200)
    expect(tookMs).toBeLessThan(2_000)
  })
})
