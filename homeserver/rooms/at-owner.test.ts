import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  parseDeviceId,
  parseUserId,
  type RoomId,
  serverOfUser,
  type UserId,
} from '../../spec/ids.ts'
import { finishPdu } from '../../spec/room/event-format.ts'
import { type TestDatabase, testDatabase } from '../database/test-database.ts'
import { receiveAtOwner } from '../events/at-owner.ts'
import { testNeeds, testRoom } from '../events/test-events.ts'
import { acquainted, openTestProcess, type TestProcess } from '../events/test-processes.ts'
import { systemClock } from '../platform/clock.ts'
import { systemRandom } from '../platform/random.ts'
import { atOwner } from './at-owner.ts'
import { createRooms } from './create-rooms.ts'
import { membershipRowOf } from './membership-row.ts'
import { createMemberships } from './memberships.ts'
import { handshakesAtOwner } from './remote-at-owner.ts'
import { createRemoteMembership } from './remote-membership.ts'
import type { Requester } from './rooms.ts'

const alice = parseUserId('@alice:one.test')
const bob = parseUserId('@bob:one.test')
const device = parseDeviceId('PHONE')

/** A process with its rooms. */
async function open(database: TestDatabase) {
  const process = await openTestProcess('one.test', database, { membershipRow: membershipRowOf })
  const { stream, owned, name: serverName } = process
  const events = { ...process.events, receive: receiveAtOwner(process.events, owned) }
  const base = {
    ...testNeeds(serverName, new Map()),
    ...{ serverName, db: database.db, clock: systemClock, random: systemRandom },
    ...{ tail: stream.tail, log: stream.writer, events },
  }
  const memberships = createMemberships(base)
  const local = createRooms({ ...base, memberships, profileOf: async () => ({}) })
  const handshakes = createRemoteMembership({ ...base, memberships })
  return {
    ...process,
    local,
    memberships,
    rooms: atOwner(local, owned, { events, memberships }),
    handshakes: handshakesAtOwner(handshakes, owned, events),
    [Symbol.asyncDispose]: () => process[Symbol.asyncDispose](),
  }
}

type Process = Awaited<ReturnType<typeof open>>

function who(user: UserId): Requester {
  return { user, device, guest: false, admin: false }
}

function message(room: RoomId, body: string, txnId = body) {
  const txn = { device, endpoint: `send ${room}`, txnId }
  return { room, type: 'm.room.message', content: { msgtype: 'm.text', body }, txn }
}

/** A room that `owner` owns in the eyes of `asker`. */
async function roomOf(owner: TestProcess, asker: TestProcess): Promise<RoomId> {
  for (;;) {
    const room = await testRoom(asker, alice)
    if (asker.stream.processes.ownerOf(room)?.id === owner.stream.processes.self) return room
  }
}

describe('rooms of two processes', () => {
  let database: TestDatabase
  let a: Process
  let b: Process

  beforeAll(async () => {
    database = await testDatabase()
    ;[a, b] = await Promise.all([open(database), open(database)])
    await Promise.all([a.start(), b.start()])
    await acquainted(a, b)
  })
  afterAll(async () => {
    await Promise.all([a[Symbol.asyncDispose](), b[Symbol.asyncDispose]()])
    await database[Symbol.asyncDispose]()
  })

  it('are written to by their owner, and the one who asked has seen it', async () => {
    const room = await roomOf(b, a)
    const id = await a.rooms.send(who(alice), message(room, 'hello'))
    const { timeline } = a.events
    const range = { after: 0, upTo: a.stream.tail.position, limit: 1 }
    expect((await timeline(room, range)).events.map(({ pdu }) => pdu.eventId)).toEqual([id])
    await a.rooms.redact(who(alice), room, id, 'a slip')
    expect(await ownerOf(room)).toBe(b.stream.processes.self)
  })

  it('are replaced by their owner', async () => {
    const room = await roomOf(b, a)
    const next = await a.rooms.upgrade(who(alice), room, { version: '12' })
    const tombstone = await a.events.currentEntry(room, 'm.room.tombstone', '')
    expect(tombstone?.pdu.content['replacement_room']).toBe(next)
    expect(await a.memberships.isJoined(alice, next)).toBe(true)
    expect(await ownerOf(room)).toBe(b.stream.processes.self)
  })

  it('change memberships at their owner', async () => {
    const room = await roomOf(b, a)
    await a.rooms.invite(who(alice), room, bob, { reason: 'come' })
    expect(await a.rooms.join(who(bob), room, { via: [] })).toBe(room)
    expect(await a.memberships.isJoined(bob, room)).toBe(true)
    await a.rooms.kick(who(alice), room, bob, 'go')
    expect(await a.memberships.isJoined(bob, room)).toBe(false)
    await a.rooms.ban(who(alice), room, bob)
    await a.rooms.unban(who(alice), room, bob)
    await a.rooms.join(who(bob), room, { via: [] })
    await a.rooms.leave(who(bob), room)
    expect((await a.memberships.ofUser(bob)).get(room)?.membership).toBe('leave')
  })

  it('take a changed name, and leave with who is deactivated, at their owners', async () => {
    const dave = parseUserId('@dave:one.test')
    const rooms = [await roomOf(a, b), await roomOf(b, a), await roomOf(b, a)]
    for (const room of rooms) await a.rooms.join(who(dave), room, { via: [] })
    await a.rooms.propagateProfile(dave, { displayname: 'Dave' })
    for (const room of rooms) {
      const member = await a.events.currentEntry(room, 'm.room.member', dave)
      expect(member?.pdu.content).toEqual({ membership: 'join', displayname: 'Dave' })
    }
    await a.rooms.leaveAll(dave)
    const left = [...(await a.memberships.ofUser(dave)).values()]
    expect(left.map(({ membership }) => membership)).toEqual(['leave', 'leave', 'leave'])
    const self = ({ stream }: Process) => stream.processes.self
    expect(await Promise.all(rooms.map(ownerOf))).toEqual([self(a), self(b), self(b)])
  })

  it('refuse with the owner’s error', async () => {
    const room = await roomOf(b, a)
    await expect(a.rooms.send(who(bob), message(room, 'stranger'))).rejects.toMatchObject({
      errcode: 'M_FORBIDDEN',
      status: 403,
    })
  })

  it('make one event of a transaction that both are given', async () => {
    const room = await roomOf(b, a)
    const draft = message(room, 'once')
    const ids = await Promise.all([a, b, a, b].map(({ rooms }) => rooms.send(who(alice), draft)))
    expect(new Set(ids).size).toBe(1)
  })

  it('take 200 messages through both in one order', async () => {
    const room = await roomOf(b, a)
    const sent = await Promise.all(
      Array.from({ length: 200 }, (_, n) =>
        (n % 2 ? a : b).rooms.send(who(alice), message(room, `message ${n}`)),
      ),
    )
    const orders = await Promise.all(
      [a, b].map(async ({ events, stream }) => {
        const range = { after: 0, upTo: stream.tail.position, limit: 200 }
        return (await events.timeline(room, range)).events.map(({ pdu }) => pdu.eventId)
      }),
    )
    expect(orders[0]).toEqual(orders[1])
    expect(new Set(orders[0])).toEqual(new Set(sent))
  })

  it('let users of other servers in at the owner', async () => {
    const room = await roomOf(b, a)
    const carol = parseUserId('@carol:two.test')
    const origin = serverOfUser(carol)
    const rules = await a.events.rulesOf(room)
    if (rules === undefined) throw new Error('unknown room')
    const { event } = await a.handshakes.makeJoin(origin, room, carol, [rules.version])
    expect(event).toMatchObject({ type: 'm.room.member', state_key: carol })
    const { key } = testNeeds(origin, new Map())
    const join = finishPdu(event, rules, origin, key)
    const joined = await a.handshakes.sendJoin(origin, room, join.json)
    expect(joined.event.pdu.eventId).toBe(join.eventId)
    expect(joined.state.map(({ pdu }) => pdu.type)).toContain('m.room.create')
    expect(joined.serversInRoom).toEqual(['one.test'])
    expect(await a.memberships.isJoined(carol, room)).toBe(true)
    expect(await ownerOf(room)).toBe(b.stream.processes.self)
  })

  /** Who took the room last. */
  async function ownerOf(room: RoomId): Promise<string | undefined> {
    const rows = await database.db.query<{ process: string }>(
      'select process from room_fences where room_id = $1',
      [room],
    )
    return rows[0]?.process
  }
})

describe('when the owner ends unanswered', () => {
  it('the next one answers the same transaction with the same event', async () => {
    await using database = await testDatabase()
    await using a = await open(database)
    const b = await open(database)
    await Promise.all([a.start(), b.start()])
    await acquainted(a, b)
    const room = await roomOf(b, a)
    const { send } = b.local
    const written = deferred<string>()
    b.local.send = async (requester, draft) => {
      written.resolve(await send(requester, draft))
      return await new Promise(() => {})
    }
    const answer = a.rooms.send(who(alice), message(room, 'written and not answered'))
    const id = await written.promise
    await b[Symbol.asyncDispose]()
    expect(await answer).toBe(id)
  })

  it('a change of a membership that it had made is not refused as a second one', async () => {
    await using database = await testDatabase()
    await using a = await open(database)
    const b = await open(database)
    await Promise.all([a.start(), b.start()])
    await acquainted(a, b)
    const room = await roomOf(b, a)
    await a.rooms.join(who(bob), room, { via: [] })
    const { kick } = b.local
    const written = deferred<undefined>()
    b.local.kick = async (...call) => {
      await kick(...call)
      written.resolve(undefined)
      await new Promise(() => {})
    }
    const answer = a.rooms.kick(who(alice), room, bob)
    await written.promise
    await b[Symbol.asyncDispose]()
    await answer
    expect(await a.memberships.isJoined(bob, room)).toBe(false)
    await expect(a.rooms.kick(who(alice), room, bob)).rejects.toMatchObject({
      errcode: 'M_FORBIDDEN',
    })
  })
})

function deferred<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => {}
  const promise = new Promise<T>((settle) => {
    resolve = settle
  })
  return { promise, resolve }
}
