import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseUserId, type RoomId, type UserId } from '../../../spec/ids.ts'
import { type TestDatabase, testDatabase } from '../../database/test-database.ts'
import { say, setState, testRoom } from '../../events/test-events.ts'
import { deviceOf, requester, type TestProcess, testProcess } from '../test-sync.ts'
import { type SlidingAnswer, slide } from './test-sliding.ts'

let database: TestDatabase
let home: TestProcess
beforeAll(async () => {
  database = await testDatabase()
  home = await testProcess(database)
}, 60_000)
afterAll(async () => {
  await home[Symbol.asyncDispose]()
  await database[Symbol.asyncDispose]()
})

let count = 0
const somebody = (name: string): UserId => parseUserId(`@${name}${count++}:here.test`)
const member = (room: RoomId, user: UserId, membership: string, by = user) =>
  setState(home, room, by, 'm.room.member', user, { membership })

async function twoInRoom() {
  const alice = somebody('alice')
  const bob = somebody('bob')
  const room = await testRoom(home, alice)
  await member(room, bob, 'join')
  return { alice, bob, room }
}

const bodies = (answer: SlidingAnswer, room: RoomId) =>
  (answer.rooms[room]?.timeline ?? []).flatMap(({ content }) =>
    typeof content === 'object' && content !== null && 'body' in content ? [content['body']] : [],
  )
const stateOf = (answer: SlidingAnswer, room: RoomId) =>
  (answer.rooms[room]?.required_state ?? []).map(({ type, state_key }) => `${type}|${state_key}`)
const roomsOf = (answer: SlidingAnswer) => Object.keys(answer.rooms).sort()
const exactly = (...pairs: [type: string, stateKey: string][]) => [
  {
    include: pairs.map(([type, stateKey]) => ({ type, stateKey })),
    exclude: [],
    lazyMembers: false,
  },
]
const lazily = [{ include: [], exclude: [], lazyMembers: true }]

describe('the first answer of a connection', () => {
  it('has a room whole: its newest events, the state asked for, and what it is called by', async () => {
    const { alice, bob, room } = await twoInRoom()
    for (let n = 0; n < 5; n++) await say(home, room, bob, `${n}`)
    const required = exactly(['m.room.create', ''], ['m.room.member', alice])
    const answer = await slide(home, alice, { lists: { all: { timelineLimit: 3, required } } })
    expect(bodies(answer, room)).toEqual(['2', '3', '4'])
    expect(stateOf(answer, room).sort()).toEqual(['m.room.create|', `m.room.member|${alice}`])
    expect(answer.rooms[room]).toMatchObject({
      initial: true,
      limited: true,
      num_live: 0,
      joined_count: 2,
      invited_count: 0,
      heroes: [{ user_id: bob }],
      prev_batch: expect.stringMatching(/^t/),
    })
    expect(answer.rooms[room]).not.toHaveProperty('name')
    expect(answer.lists['all']?.count).toBe(1)
    expect(answer.lists['all']?.ops?.[0]?.room_ids).toEqual([room])
  })

  it('has the name and the avatar of a room that has them, and no heroes', async () => {
    const { alice, room } = await twoInRoom()
    await setState(home, room, alice, 'm.room.name', '', { name: 'Kitchen' })
    await setState(home, room, alice, 'm.room.avatar', '', { url: 'mxc://here.test/a' })
    const answer = await slide(home, alice, { lists: { all: { required: [] } } })
    expect(answer.rooms[room]).toMatchObject({ name: 'Kitchen', avatar: 'mxc://here.test/a' })
    expect(answer.rooms[room]).not.toHaveProperty('heroes')
    expect(answer.rooms[room]).not.toHaveProperty('required_state')
  })
})

describe('a connection', () => {
  it('is sent what happened since, once, and then nothing', async () => {
    const { alice, bob, room } = await twoInRoom()
    const first = await slide(home, alice)
    const event = await say(home, room, bob, 'news')
    const second = await slide(home, alice, { pos: first.pos })
    expect(bodies(second, room)).toEqual(['news'])
    expect(second.rooms[room]).toMatchObject({
      limited: false,
      num_live: 1,
      bump_stamp: event.position,
    })
    expect(second.rooms[room]).not.toHaveProperty('initial')
    expect(second.rooms[room]).not.toHaveProperty('required_state')
    const third = await slide(home, alice, { pos: second.pos })
    expect(third.rooms).toEqual({})
    // A client that did not get the second answer is given the same again.
    const again = await slide(home, alice, { pos: first.pos })
    expect(bodies(again, room)).toEqual(['news'])
  })

  it('waits for what happens', async () => {
    const { alice, bob, room } = await twoInRoom()
    const { pos } = await slide(home, alice)
    const waiting = slide(home, alice, { pos, timeoutMs: 20_000 })
    await say(home, room, bob, 'at last')
    expect(bodies(await waiting, room)).toEqual(['at last'])
  })

  it('asks the database nothing while nothing happens', async () => {
    const { alice } = await twoInRoom()
    const all = { lists: ['*'], rooms: ['*'] }
    const extensions = {
      ...{ accountData: all, receipts: all, typing: all, e2ee: {} },
      toDevice: { limit: 100 },
      threadSubscriptions: { limit: 100 },
    }
    const first = await slide(home, alice, { extensions })
    const second = await slide(home, alice, { extensions, pos: first.pos })
    const before = home.statements()
    const third = await slide(home, alice, { extensions, pos: second.pos })
    expect(third.rooms).toEqual({})
    expect(home.statements() - before).toBe(0)
  })

  it('survives a restart', async () => {
    const { alice, bob, room } = await twoInRoom()
    const { pos } = await slide(home, alice)
    await say(home, room, bob, 'meanwhile')
    await using other = await testProcess(database)
    const answer = await slide(other, alice, { pos })
    expect(bodies(answer, room)).toEqual(['meanwhile'])
    expect(answer.rooms[room]).not.toHaveProperty('initial')
  })

  it('is not known by a position of another connection, or by one that it has left behind', async () => {
    const { alice, bob, room } = await twoInRoom()
    const { pos } = await slide(home, alice, { connId: 'one' })
    const unknown = expect.objectContaining({ errcode: 'M_UNKNOWN_POS', status: 400 })
    await expect(slide(home, alice, { connId: 'two', pos })).rejects.toEqual(unknown)
    await expect(slide(home, bob, { connId: 'one', pos })).rejects.toEqual(unknown)
    await expect(slide(home, alice, { connId: 'one', pos: 's1' })).rejects.toEqual(unknown)
    await slide(home, alice, { connId: 'one' })
    await expect(slide(home, alice, { connId: 'one', pos })).rejects.toEqual(unknown)
    expect(room).toBeDefined()
  })

  it('forgets the oldest when a device has too many', async () => {
    const { alice } = await twoInRoom()
    const { pos } = await slide(home, alice, { connId: 'first' })
    for (let n = 0; n < 16; n++) await slide(home, alice, { connId: `${n}` })
    await using other = await testProcess(database)
    await expect(slide(other, alice, { connId: 'first', pos })).rejects.toMatchObject({
      errcode: 'M_UNKNOWN_POS',
    })
  })
})

describe('a window', () => {
  it('holds the rooms in which something happened last, and grows', async () => {
    const alice = somebody('alice')
    const rooms: RoomId[] = []
    for (let n = 0; n < 4; n++) rooms.push(await testRoom(home, alice))
    const [one = rooms[0], two, three, four] = rooms
    if (one === undefined || two === undefined) throw new Error('no rooms')
    const first = await slide(home, alice, { lists: { top: { ranges: [[0, 1]] } } })
    expect(roomsOf(first)).toEqual([three, four].sort())
    expect(first.lists['top']).toEqual({
      count: 4,
      ops: [{ op: 'SYNC', range: [0, 1], room_ids: [four, three] }],
    })
    await say(home, one, alice, 'up')
    const second = await slide(home, alice, {
      pos: first.pos,
      lists: { top: { ranges: [[0, 1]] } },
    })
    expect(roomsOf(second)).toEqual([one])
    expect(second.rooms[one]).toMatchObject({ initial: true, num_live: 1 })
    const third = await slide(home, alice, {
      pos: second.pos,
      lists: { top: { ranges: [[0, 9]] } },
    })
    expect(roomsOf(third)).toEqual([two])
  })

  it('brings back a room with all that happened while it was outside', async () => {
    const { alice, bob, room } = await twoInRoom()
    const lists = (isDm?: boolean) => ({ top: { filters: isDm === undefined ? {} : { isDm } } })
    const first = await slide(home, alice, { lists: lists() })
    await say(home, room, bob, 'unseen')
    const second = await slide(home, alice, { pos: first.pos, lists: lists(true) })
    expect(second.rooms).toEqual({})
    await say(home, room, bob, 'nor this')
    const third = await slide(home, alice, { pos: second.pos, lists: lists(true) })
    const fourth = await slide(home, alice, { pos: third.pos, lists: lists() })
    expect(bodies(fourth, room)).toEqual(['unseen', 'nor this'])
    expect(fourth.rooms[room]).toMatchObject({ num_live: 0, limited: false })
    const fifth = await slide(home, alice, { pos: fourth.pos, lists: lists() })
    expect(fifth.rooms).toEqual({})
  })
})

describe('a rule that grows', () => {
  it('is answered with older events at once, and says so', async () => {
    const { alice, bob, room } = await twoInRoom()
    for (let n = 0; n < 5; n++) await say(home, room, bob, `${n}`)
    const lists = { all: { timelineLimit: 1, required: [] } }
    const first = await slide(home, alice, { lists })
    expect(bodies(first, room)).toEqual(['4'])
    const subscriptions = { [room]: { timelineLimit: 4, required: exactly(['m.room.create', '']) } }
    const second = await slide(home, alice, {
      pos: first.pos,
      lists,
      subscriptions,
      timeoutMs: 20_000,
    })
    expect(bodies(second, room)).toEqual(['1', '2', '3', '4'])
    expect(second.rooms[room]).toMatchObject({ unstable_expanded_timeline: true, num_live: 0 })
    expect(second.rooms[room]).not.toHaveProperty('initial')
    expect(stateOf(second, room)).toEqual(['m.room.create|'])
    const third = await slide(home, alice, { pos: second.pos, lists, subscriptions })
    expect(third.rooms).toEqual({})
    // Smaller and larger again, with nothing left out in between: there is nothing to send.
    const fourth = await slide(home, alice, { pos: third.pos, lists })
    const fifth = await slide(home, alice, { pos: fourth.pos, lists, subscriptions })
    expect(fifth.rooms).toEqual({})
    await say(home, room, bob, '5')
    await say(home, room, bob, '6')
    const sixth = await slide(home, alice, { pos: fifth.pos, lists })
    expect(bodies(sixth, room)).toEqual(['6'])
    const seventh = await slide(home, alice, { pos: sixth.pos, lists, subscriptions })
    expect(bodies(seventh, room)).toEqual(['3', '4', '5', '6'])
  })

  it('is not told again of state that has not changed, and is of state that has', async () => {
    const { alice, room } = await twoInRoom()
    const few = { all: { required: [] } }
    const more = { all: { required: exactly(['m.room.topic', '']) } }
    await setState(home, room, alice, 'm.room.topic', '', { topic: 'one' })
    const first = await slide(home, alice, { lists: more })
    const second = await slide(home, alice, { pos: first.pos, lists: few })
    const third = await slide(home, alice, { pos: second.pos, lists: more })
    expect(third.rooms).toEqual({})
    const fourth = await slide(home, alice, { pos: third.pos, lists: few })
    await setState(home, room, alice, 'm.room.topic', '', { topic: 'two' })
    const fifth = await slide(home, alice, { pos: fourth.pos, lists: few })
    expect(stateOf(fifth, room)).toEqual([])
    const sixth = await slide(home, alice, { pos: fifth.pos, lists: more })
    expect(sixth.rooms[room]?.required_state?.[0]).toMatchObject({ content: { topic: 'two' } })
  })
})

describe('lazy members', () => {
  it('are those whom the timeline needs, once', async () => {
    const { alice, bob, room } = await twoInRoom()
    const carol = somebody('carol')
    await member(room, carol, 'join')
    await say(home, room, bob, 'hi')
    const lists = { all: { timelineLimit: 1, required: lazily } }
    const first = await slide(home, alice, { lists })
    expect(stateOf(first, room)).toEqual([`m.room.member|${bob}`])
    await say(home, room, bob, 'again')
    const second = await slide(home, alice, { lists, pos: first.pos })
    expect(stateOf(second, room)).toEqual([])
    await say(home, room, carol, 'me too')
    const third = await slide(home, alice, { lists, pos: second.pos })
    expect(stateOf(third, room)).toEqual([`m.room.member|${carol}`])
    // Whoever did not get the answer is sent the member again.
    const again = await slide(home, alice, { lists, pos: second.pos })
    expect(stateOf(again, room)).toEqual([`m.room.member|${carol}`])
  })

  it('are all that changed when nothing of the timeline is left out', async () => {
    const { alice, bob, room } = await twoInRoom()
    const lists = { all: { timelineLimit: 5, required: lazily } }
    const first = await slide(home, alice, { lists })
    const content = { membership: 'join', displayname: 'Bob' }
    await setState(home, room, bob, 'm.room.member', bob, content)
    const second = await slide(home, alice, { lists, pos: first.pos })
    expect(second.rooms[room]?.required_state?.[0]).toMatchObject({ content })
  })
})

describe('rooms that one comes into and leaves', () => {
  it('are shown as an invite, then whole, and then as left', async () => {
    const alice = somebody('alice')
    const bob = somebody('bob')
    const room = await testRoom(home, alice)
    const first = await slide(home, bob)
    expect(first.rooms).toEqual({})
    await member(room, bob, 'invite', alice)
    const second = await slide(home, bob, { pos: first.pos })
    expect(second.rooms[room]).toMatchObject({ initial: true, bump_stamp: expect.any(Number) })
    expect(second.rooms[room]?.invite_state).toContainEqual(
      expect.objectContaining({ type: 'm.room.member', state_key: bob }),
    )
    expect(second.rooms[room]).not.toHaveProperty('timeline')
    expect((await slide(home, bob, { pos: second.pos })).rooms).toEqual({})
    await member(room, bob, 'join')
    const third = await slide(home, bob, { pos: second.pos })
    expect(third.rooms[room]).toMatchObject({ initial: true, joined_count: 2 })
    await say(home, room, bob, 'bye')
    await member(room, bob, 'leave')
    await say(home, room, alice, 'gone')
    const fourth = await slide(home, bob, { pos: third.pos })
    expect(bodies(fourth, room)).toEqual(['bye'])
    expect(fourth.rooms[room]?.timeline?.at(-1)).toMatchObject({ content: { membership: 'leave' } })
    expect(stateOf(fourth, room)).toEqual([`m.room.member|${bob}`])
    const fifth = await slide(home, bob, { pos: fourth.pos })
    expect(fifth.rooms).toEqual({})
    expect(fifth.lists['all']?.count).toBe(0)
    await member(room, bob, 'join')
    const sixth = await slide(home, bob, { pos: fifth.pos })
    expect(sixth.rooms[room]).toMatchObject({ initial: true })
  })

  it('are shown to whoever was kicked, not to whoever left, and not to the banned who never were there', async () => {
    const { alice, bob, room } = await twoInRoom()
    const other = await testRoom(home, alice)
    const third = await testRoom(home, alice)
    await member(other, bob, 'join')
    await member(other, bob, 'leave')
    await member(room, bob, 'leave', alice)
    await member(third, bob, 'ban', alice)
    await say(home, room, alice, 'secret')
    const answer = await slide(home, bob)
    expect(roomsOf(answer)).toEqual([room])
    expect(bodies(answer, room)).toEqual([])
    expect(answer.rooms[room]?.timeline?.at(-1)).toMatchObject({ content: { membership: 'leave' } })
    const subscriptions = { [third]: {} }
    expect((await slide(home, bob, { lists: {}, subscriptions })).rooms).toEqual({})
  })

  it('show nothing of themselves to somebody whose invite was taken back', async () => {
    const alice = somebody('alice')
    const bob = somebody('bob')
    const room = await testRoom(home, alice)
    await setState(home, room, alice, 'm.room.name', '', { name: 'Secret' })
    await member(room, bob, 'invite', alice)
    const first = await slide(home, bob)
    await setState(home, room, alice, 'm.room.topic', '', { topic: 'secret' })
    await member(room, bob, 'leave', alice)
    const own = [`m.room.member|${bob}`]
    for (const query of [{ pos: first.pos }, {}, { subscriptions: { [room]: {} } }]) {
      const answer = await slide(home, bob, query)
      expect(stateOf(answer, room)).toEqual(own)
      expect(answer.rooms[room]).not.toHaveProperty('name')
      expect(answer.rooms[room]).not.toHaveProperty('joined_count')
      expect(JSON.stringify(answer)).not.toContain('ecret')
    }
  })

  it('are not shown when somebody ignored invites', async () => {
    const alice = somebody('alice')
    const bob = somebody('bob')
    const room = await testRoom(home, alice)
    await home.accountData.set(bob, 'm.ignored_user_list', { ignored_users: { [alice]: {} } })
    await member(room, bob, 'invite', alice)
    expect((await slide(home, bob)).rooms).toEqual({})
  })
})

describe('filters', () => {
  it('choose by what a room is', async () => {
    const alice = somebody('alice')
    const plain = await testRoom(home, alice)
    const secret = await testRoom(home, alice)
    await setState(home, secret, alice, 'm.room.encryption', '', {
      algorithm: 'm.megolm.v1.aes-sha2',
    })
    await setState(home, secret, alice, 'm.room.name', '', { name: 'The Cellar' })
    await home.accountData.set(alice, 'm.direct', { '@x:y': [secret] })
    await home.accountData.setTag(alice, plain, 'm.favourite', {})
    const counted = async (filters: object) => {
      const answer = await slide(home, alice, { lists: { all: { filters, ranges: [[0, 9]] } } })
      return answer.lists['all']?.ops?.[0]?.room_ids
    }
    expect(await counted({ isEncrypted: true })).toEqual([secret])
    expect(await counted({ isEncrypted: false })).toEqual([plain])
    expect(await counted({ isDm: true })).toEqual([secret])
    expect(await counted({ isDm: false })).toEqual([plain])
    expect(await counted({ tags: ['m.favourite'] })).toEqual([plain])
    expect(await counted({ notTags: ['m.favourite'] })).toEqual([secret])
    expect(await counted({ roomNameLike: 'cell' })).toEqual([secret])
    expect(await counted({ roomTypes: ['m.space'] })).toEqual([])
    expect(await counted({ notRoomTypes: ['m.space'] })).toEqual([secret, plain])
    expect(await counted({ roomTypes: [null] })).toEqual([secret, plain])
    expect(await counted({ isInvited: true })).toEqual([])
    expect(await counted({ spaces: [plain] })).toEqual([])
    await setState(home, plain, alice, 'm.space.child', secret, { via: ['here.test'] })
    expect(await counted({ spaces: [plain] })).toEqual([secret])
  })

  it('are told when a room becomes a direct message, and when it is one no more', async () => {
    const { alice, room } = await twoInRoom()
    const first = await slide(home, alice)
    expect(first.rooms[room]).not.toHaveProperty('is_dm')
    await home.accountData.set(alice, 'm.direct', { '@x:y': [room] })
    const second = await slide(home, alice, { pos: first.pos })
    expect(second.rooms[room]).toMatchObject({ is_dm: true })
    await home.accountData.set(alice, 'm.direct', {})
    const third = await slide(home, alice, { pos: second.pos })
    expect(third.rooms[room]).toMatchObject({ is_dm: false })
  })
})

describe('extensions', () => {
  const all = { lists: ['*'], rooms: ['*'] }

  it('hand out to-device messages until the client says that it has them', async () => {
    const alice = somebody('alice')
    const send = (n: number) =>
      home.toDevice.send(
        requester(alice),
        'x',
        { [alice]: { [deviceOf(alice)]: { n } } },
        `${count++}`,
      )
    await send(1)
    await send(2)
    const asked = (since?: string) => ({
      toDevice: { limit: 1, ...(since !== undefined && { since: Number(since) }) },
    })
    const first = await slide(home, alice, { lists: {}, extensions: asked() })
    expect(first.extensions.to_device?.events.map(({ content }) => content)).toEqual([{ n: 1 }])
    const since = first.extensions.to_device?.next_batch
    const second = await slide(home, alice, { lists: {}, extensions: asked(since), pos: first.pos })
    expect(second.extensions.to_device?.events.map(({ content }) => content)).toEqual([{ n: 2 }])
    const last = second.extensions.to_device?.next_batch
    const third = await slide(home, alice, { lists: {}, extensions: asked(last), pos: second.pos })
    expect(third.extensions.to_device?.events).toEqual([])
    await home.toDevice.drained()
    const range = { after: 0, upTo: Number.MAX_SAFE_INTEGER, limit: 10 }
    expect(await home.toDevice.pending(alice, deviceOf(alice), range)).toEqual([])
  })

  it('have account data of everything and of rooms, once', async () => {
    const { alice, room } = await twoInRoom()
    await home.accountData.set(alice, 'x.global', { n: 1 })
    await home.accountData.setRoom(alice, room, 'x.room', { n: 1 })
    const extensions = { accountData: all }
    const first = await slide(home, alice, { extensions })
    const types = first.extensions.account_data?.global.map(({ type }) => type)
    expect(types).toEqual(expect.arrayContaining(['x.global', 'm.push_rules']))
    expect(first.extensions.account_data?.rooms).toEqual({
      [room]: [{ type: 'x.room', content: { n: 1 } }],
    })
    // Out of the window it is not sent, and when the room is back it is.
    await home.accountData.setRoom(alice, room, 'x.room', { n: 2 })
    const dms = { all: { filters: { isDm: true } } }
    const second = await slide(home, alice, { extensions, pos: first.pos, lists: dms })
    expect(second.extensions.account_data).toEqual({ global: [], rooms: {} })
    const third = await slide(home, alice, { extensions, pos: second.pos })
    expect(third.extensions.account_data?.rooms).toEqual({
      [room]: [{ type: 'x.room', content: { n: 2 } }],
    })
    const fourth = await slide(home, alice, { extensions, pos: third.pos })
    expect(fourth.extensions.account_data).toEqual({ global: [], rooms: {} })
  })

  it('have receipts on what is shown, and those that move', async () => {
    const { alice, bob, room } = await twoInRoom()
    const old = await say(home, room, alice, 'old')
    await home.receipts.mark(requester(bob), room, 'm.read', old.pdu.eventId)
    await say(home, room, alice, 'shown')
    const extensions = { receipts: all }
    const lists = { all: { timelineLimit: 1 } }
    const first = await slide(home, alice, { extensions, lists })
    expect(first.extensions.receipts).toEqual({ rooms: {} })
    const wider = { all: { timelineLimit: 5 } }
    const second = await slide(home, alice, { extensions, lists: wider, pos: first.pos })
    expect(JSON.stringify(second.extensions.receipts?.rooms[room])).toContain(bob)
    const event = await say(home, room, alice, 'new')
    const third = await slide(home, alice, { extensions, lists: wider, pos: second.pos })
    await home.receipts.mark(requester(bob), room, 'm.read', event.pdu.eventId)
    const fourth = await slide(home, alice, { extensions, lists: wider, pos: third.pos })
    expect(fourth.extensions.receipts?.rooms[room]).toMatchObject({
      type: 'm.receipt',
      content: { [event.pdu.eventId]: { 'm.read': { [bob]: {} } } },
    })
    expect(fourth.rooms).toEqual({})
  })

  it('have who is typing', async () => {
    const { alice, bob, room } = await twoInRoom()
    const extensions = { typing: all }
    const { pos } = await slide(home, alice, { extensions })
    const waiting = slide(home, alice, { extensions, pos, timeoutMs: 20_000 })
    await home.typing.setTyping(requester(bob), room, true)
    const answer = await waiting
    expect(answer.extensions.typing?.rooms[room]?.content).toEqual({ user_ids: [bob] })
    await home.typing.setTyping(requester(bob), room, false)
    const next = await slide(home, alice, { extensions, pos: answer.pos })
    expect(next.extensions.typing?.rooms[room]?.content).toEqual({ user_ids: [] })
  })
})

describe('thread subscriptions', () => {
  it('are told once, the newest of them, and where the others are', async () => {
    const { alice, room } = await twoInRoom()
    const roots = []
    for (let n = 0; n < 3; n++) roots.push((await say(home, room, alice, 'root')).pdu.eventId)
    const [first = roots[0], second, third] = roots
    if (first === undefined || second === undefined || third === undefined) throw new Error()
    const extensions = { threadSubscriptions: { limit: 2 } }
    const name = 'io.element.msc4308.thread_subscriptions'
    const none = await slide(home, alice, { lists: {}, extensions })
    expect(none.extensions).toEqual({})
    for (const root of roots) {
      await home.threadSubscriptions.subscribe(requester(alice), room, root)
    }
    const answer = await slide(home, alice, { lists: {}, extensions, pos: none.pos })
    expect(answer.extensions[name]).toMatchObject({
      subscribed: { [room]: { [second]: { automatic: false }, [third]: { automatic: false } } },
      prev_batch: expect.stringMatching(/^h/),
    })
    const waiting = slide(home, alice, {
      ...{ lists: {}, extensions, pos: answer.pos, timeoutMs: 20_000 },
    })
    await home.threadSubscriptions.unsubscribe(requester(alice), room, third)
    expect((await waiting).extensions[name]).toEqual({
      unsubscribed: { [room]: { [third]: { bump_stamp: expect.any(Number) } } },
    })
  })
})

describe('what the proposal came to', () => {
  it('says the membership and the lists, and writes stripped state', async () => {
    const { alice, room } = await twoInRoom()
    const bob = somebody('bob')
    const dialect = 'final'
    const answer = await slide(home, alice, { dialect })
    expect(answer.rooms[room]).toMatchObject({ membership: 'join', lists: ['all'] })
    expect(answer.rooms[room]).not.toHaveProperty('notification_count')
    expect(answer.lists).toEqual({ all: { count: 1 } })
    await member(room, bob, 'invite', alice)
    const invited = await slide(home, bob, { dialect })
    expect(invited.rooms[room]).toMatchObject({ membership: 'invite', initial: true })
    expect(invited.rooms[room]?.stripped_state).toBeDefined()
  })

  it('tells of a name that is gone', async () => {
    const { alice, room } = await twoInRoom()
    await setState(home, room, alice, 'm.room.name', '', { name: 'x' })
    const first = await slide(home, alice, { dialect: 'final' })
    await setState(home, room, alice, 'm.room.name', '', {})
    const second = await slide(home, alice, { dialect: 'final', pos: first.pos })
    expect(second.rooms[room]).toMatchObject({ name: null, heroes: [{}] })
  })
})
