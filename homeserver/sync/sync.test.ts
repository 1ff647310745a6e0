import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseUserId, type RoomId, type UserId } from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import { type TestDatabase, testDatabase } from '../database/test-database.ts'
import { say, setState, testRoom } from '../events/test-events.ts'
import {
  ask,
  deviceOf,
  requester,
  type TestAnswer,
  type TestProcess,
  testProcess,
} from './test-sync.ts'

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

const timelineOf = (answer: TestAnswer, room: RoomId) => answer.rooms?.join?.[room]?.timeline
const bodies = (answer: TestAnswer, room: RoomId) =>
  (timelineOf(answer, room)?.events ?? []).flatMap(({ content }) => bodyOf(content))
const bodyOf = (content: unknown) =>
  typeof content === 'object' && content !== null && 'body' in content ? [content.body] : []
const stateOf = (answer: TestAnswer, room: RoomId) =>
  (answer.rooms?.join?.[room]?.state?.events ?? []).map(keyOf)
const keyOf = ({ type, state_key }: JsonObject) => `${type}|${state_key}`

describe('an initial sync', () => {
  it('has the whole room once: state before the timeline, and the timeline', async () => {
    const { alice, bob, room } = await twoInRoom()
    await say(home, room, bob, 'hello')
    const answer = await ask(home, alice)
    const entry = answer.rooms?.join?.[room]
    const ids = [...(entry?.state?.events ?? []), ...(entry?.timeline?.events ?? [])].map(
      (event) => event['event_id'],
    )
    expect(new Set(ids).size).toBe(ids.length)
    expect(ids).toHaveLength(7)
    expect(entry?.timeline?.limited).toBe(false)
    expect(entry?.summary).toMatchObject({ 'm.heroes': [bob], 'm.joined_member_count': 2 })
    expect(answer.account_data?.events).toContainEqual(
      expect.objectContaining({ type: 'm.push_rules' }),
    )
    expect(answer.device_one_time_keys_count).toEqual({ signed_curve25519: 0 })
  })

  it('cuts a long timeline and gives the state before it', async () => {
    const { alice, room } = await twoInRoom()
    for (let n = 0; n < 8; n++) await say(home, room, alice, `${n}`)
    const answer = await ask(home, alice, { filter: { room: { timeline: { limit: 3 } } } })
    expect(bodies(answer, room)).toEqual(['5', '6', '7'])
    expect(timelineOf(answer, room)).toMatchObject({ limited: true, prev_batch: /^t/ })
    expect(stateOf(answer, room)).toContain('m.room.create|')
  })
})

describe('an incremental sync', () => {
  it('has what happened since, once, and then nothing', async () => {
    const { alice, bob, room } = await twoInRoom()
    const first = await ask(home, alice)
    await say(home, room, bob, 'news')
    const second = await ask(home, alice, { since: first.next_batch })
    expect(bodies(second, room)).toEqual(['news'])
    expect(stateOf(second, room)).toEqual([])
    expect(timelineOf(second, room)?.limited).toBe(false)
    const third = await ask(home, alice, { since: second.next_batch })
    expect(third.rooms).toBeUndefined()
  })

  it('that is up to date asks the database nothing', async () => {
    const { alice } = await twoInRoom()
    const first = await ask(home, alice)
    let since = (await ask(home, alice, { since: first.next_batch })).next_batch
    const before = home.statements()
    for (let n = 0; n < 5; n++) since = (await ask(home, alice, { since })).next_batch
    expect(home.statements()).toBe(before)
  })

  it('waits, and is woken by what concerns the user alone', async () => {
    const { alice, bob, room } = await twoInRoom()
    const other = await twoInRoom()
    const { next_batch: since } = await ask(home, alice)
    const waiting = ask(home, alice, { since, timeoutMs: 20_000 })
    await say(home, other.room, other.alice, 'elsewhere')
    await say(home, room, bob, 'wake up')
    expect(bodies(await waiting, room)).toEqual(['wake up'])
  })

  it('that waits is answered when it is aborted, with a token to go on from', async () => {
    const { alice } = await twoInRoom()
    const { next_batch: since } = await ask(home, alice)
    const abort = new AbortController()
    const waiting = ask(home, alice, { since, timeoutMs: 60_000, signal: abort.signal })
    abort.abort()
    expect((await waiting).rooms).toBeUndefined()
  })

  it('shows the state that changed within a gap', async () => {
    const { alice, bob, room } = await twoInRoom()
    const { next_batch: since } = await ask(home, alice)
    await setState(home, room, alice, 'm.room.name', '', { name: 'first' })
    await setState(home, room, alice, 'm.room.topic', '', { topic: 'gap' })
    for (let n = 0; n < 4; n++) await say(home, room, bob, `${n}`)
    await setState(home, room, alice, 'm.room.name', '', { name: 'second' })
    const filter = { room: { timeline: { limit: 2 } } }
    const answer = await ask(home, alice, { since, filter })
    expect(stateOf(answer, room).sort()).toEqual(['m.room.name|', 'm.room.topic|'])
    expect(answer.rooms?.join?.[room]?.state?.events).toContainEqual(
      expect.objectContaining({ content: { name: 'first' } }),
    )
    const after = await ask(home, alice, { since, filter, useStateAfter: true })
    expect(after.rooms?.join?.[room]?.state).toBeUndefined()
    expect(after.rooms?.join?.[room]?.state_after?.events).toContainEqual(
      expect.objectContaining({ content: { name: 'second' } }),
    )
  })

  it('gives state that a filter keeps out of the timeline as state', async () => {
    const { alice, room } = await twoInRoom()
    const { next_batch: since } = await ask(home, alice)
    await setState(home, room, alice, 'm.room.topic', '', { topic: 'x' })
    const filter = { room: { timeline: { types: ['m.room.message'] } } }
    const answer = await ask(home, alice, { since, filter })
    expect(timelineOf(answer, room)?.events).toEqual([])
    expect(stateOf(answer, room)).toEqual(['m.room.topic|'])
  })

  it('brings a room that was joined whole', async () => {
    const alice = somebody('alice')
    const bob = somebody('bob')
    const room = await testRoom(home, alice)
    const { next_batch: since } = await ask(home, bob)
    await member(room, bob, 'join')
    const answer = await ask(home, bob, { since })
    const entry = answer.rooms?.join?.[room]
    const all = [...(entry?.state?.events ?? []), ...(entry?.timeline?.events ?? [])]
    expect(all.map(keyOf)).toContain('m.room.create|')
    expect(all.map(keyOf)).toContain(`m.room.member|${alice}`)
  })

  it('shows a room once that was left, with why, and nothing after', async () => {
    const { alice, bob, room } = await twoInRoom()
    const { next_batch: since } = await ask(home, bob)
    await say(home, room, alice, 'still for bob')
    await member(room, bob, 'leave', alice)
    await say(home, room, alice, 'not for bob')
    const answer = await ask(home, bob, { since })
    const text = JSON.stringify(answer.rooms?.leave?.[room])
    expect(text).toContain('still for bob')
    expect(text).toContain('"membership":"leave"')
    expect(text).not.toContain('not for bob')
    expect(answer.rooms?.join).toBeUndefined()
    expect((await ask(home, bob, { since: answer.next_batch })).rooms).toBeUndefined()
    const all = await ask(home, bob, { filter: { room: { include_leave: true } } })
    expect(all.rooms?.leave?.[room]).toBeDefined()
    expect((await ask(home, bob)).rooms).toBeUndefined()
  })

  it('sees a leave and a join in one answer as a join without a second whole state', async () => {
    const { alice, bob, room } = await twoInRoom()
    const { next_batch: since } = await ask(home, bob)
    await member(room, bob, 'leave')
    await member(room, bob, 'join')
    const answer = await ask(home, bob, { since })
    expect(answer.rooms?.leave).toBeUndefined()
    expect(timelineOf(answer, room)?.events).toHaveLength(2)
    expect(stateOf(answer, room)).not.toContain(`m.room.member|${alice}`)
  })

  it.each([
    ['reads back in the log', false],
    ['asks the tables when the log is gone', true],
  ])('from a process that has just started %s', async (_, isForgetful) => {
    const { alice, bob, room } = await twoInRoom()
    const quiet = await testRoom(home, alice)
    const left = await testRoom(home, alice)
    const { next_batch: since } = await ask(home, alice)
    await setState(home, room, alice, 'm.room.topic', '', { topic: 'x' })
    for (let n = 0; n < 3; n++) await say(home, room, bob, `${n}`)
    const last = await say(home, room, bob, 'last')
    await home.receipts.mark(requester(bob), room, 'm.read', last.pdu.eventId)
    await home.accountData.set(alice, 'x.y', { a: 1 })
    await member(left, alice, 'leave')
    await using fresh = await testProcess(database, { isForgetful })
    const filter = { room: { timeline: { limit: 2 } } }
    const answer = await ask(fresh, alice, { since, filter })
    expect(bodies(answer, room)).toEqual(['2', 'last'])
    expect(stateOf(answer, room)).toEqual(['m.room.topic|'])
    expect(answer.rooms?.join?.[quiet]).toBeUndefined()
    expect(answer.rooms?.leave?.[left]?.timeline?.events).toHaveLength(1)
    expect(answer.account_data?.events.map(({ type }) => type)).toEqual(['x.y'])
    expect(JSON.stringify(answer.rooms?.join?.[room]?.ephemeral)).toContain('m.read')
    const next = await ask(fresh, alice, { since: answer.next_batch })
    expect(next.rooms).toBeUndefined()
    expect(next.account_data).toBeUndefined()
  })

  it('with full_state has the whole state again', async () => {
    const { alice, room } = await twoInRoom()
    const { next_batch: since } = await ask(home, alice)
    const answer = await ask(home, alice, { since, fullState: true, timeoutMs: 10_000 })
    expect(stateOf(answer, room)).toContain('m.room.create|')
    expect(timelineOf(answer, room)?.events).toEqual([])
  })
})

describe('invites', () => {
  it('show what helps to recognise the room', async () => {
    const alice = somebody('alice')
    const bob = somebody('bob')
    const room = await testRoom(home, alice)
    await setState(home, room, alice, 'm.room.name', '', { name: 'come in' })
    const { next_batch: since } = await ask(home, bob)
    await member(room, bob, 'invite', alice)
    const answer = await ask(home, bob, { since })
    const shown = answer.rooms?.invite?.[room]?.invite_state?.events ?? []
    expect(shown.map(keyOf)).toEqual(
      expect.arrayContaining(['m.room.create|', 'm.room.name|', `m.room.member|${bob}`]),
    )
    for (const event of shown) {
      expect(Object.keys(event).sort()).toEqual(['content', 'sender', 'state_key', 'type'])
    }
    expect((await ask(home, bob, { since: answer.next_batch })).rooms).toBeUndefined()
  })

  it('of ignored users are hidden, and so are their messages', async () => {
    const { alice, bob, room } = await twoInRoom()
    await home.accountData.set(alice, 'm.ignored_user_list', { ignored_users: { [bob]: {} } })
    const { next_batch: since } = await ask(home, alice)
    await say(home, room, bob, 'nobody hears me')
    const theirs = await testRoom(home, bob)
    await member(theirs, alice, 'invite', bob)
    await say(home, room, alice, 'mark')
    const answer = await ask(home, alice, { since })
    expect(bodies(answer, room)).toEqual(['mark'])
    expect(answer.rooms?.invite).toBeUndefined()
  })

  it('who are ignored leave no receipts and do not type', async () => {
    const { alice, bob, room } = await twoInRoom()
    const event = await say(home, room, alice, 'read me')
    await home.accountData.set(alice, 'm.ignored_user_list', { ignored_users: { [bob]: {} } })
    const { next_batch: since } = await ask(home, alice)
    await home.receipts.mark(requester(bob), room, 'm.read', event.pdu.eventId)
    await home.typing.setTyping(requester(bob), room, true)
    await say(home, room, alice, 'mark')
    await using fresh = await testProcess(database, { isForgetful: true })
    for (const process of [home, fresh]) {
      expect(JSON.stringify(await ask(process, alice, { since }))).not.toContain(bob)
      expect(JSON.stringify((await ask(process, alice)).rooms)).not.toContain('m.receipt')
    }
  })
})

describe('beside events', () => {
  it('receipts, typing and account data come once', async () => {
    const { alice, bob, room } = await twoInRoom()
    const event = await say(home, room, alice, 'read me')
    let { next_batch: since } = await ask(home, alice)
    const step = async () => {
      const answer = await ask(home, alice, { since, timeoutMs: 2_000 })
      since = answer.next_batch
      return answer.rooms?.join?.[room]
    }
    await home.receipts.mark(requester(bob), room, 'm.read', event.pdu.eventId)
    expect(JSON.stringify((await step())?.ephemeral)).toContain('"m.read"')
    await home.typing.setTyping(requester(bob), room, true)
    expect((await step())?.ephemeral?.events).toEqual([
      { type: 'm.typing', content: { user_ids: [bob] } },
    ])
    await home.accountData.setRoom(alice, room, 'x.y', { a: 1 })
    expect((await step())?.account_data?.events).toEqual([{ type: 'x.y', content: { a: 1 } }])
    expect(await ask(home, alice, { since })).not.toHaveProperty('rooms')
  })

  it('private receipts are their owner’s', async () => {
    const { alice, bob, room } = await twoInRoom()
    const event = await say(home, room, alice, 'read me')
    const { next_batch: since } = await ask(home, alice)
    const theirs = await ask(home, bob)
    await home.receipts.mark(requester(bob), room, 'm.read.private', event.pdu.eventId)
    expect(await ask(home, alice, { since })).not.toHaveProperty('rooms')
    expect(JSON.stringify(await ask(home, bob, { since: theirs.next_batch }))).toContain(
      'm.read.private',
    )
  })

  it('a to-device message is in every answer until it is acknowledged', async () => {
    const { alice, bob } = await twoInRoom()
    const { next_batch: since } = await ask(home, alice)
    await home.toDevice.send(requester(bob), 'x.y', { [alice]: { [deviceOf(alice)]: {} } }, 't')
    const first = await ask(home, alice, { since })
    expect(first.to_device?.events).toEqual([{ sender: bob, type: 'x.y', content: {} }])
    const again = await ask(home, alice, { since })
    expect(again.to_device).toEqual(first.to_device)
    const after = await ask(home, alice, { since: again.next_batch })
    expect(after.to_device).toBeUndefined()
    await home.toDevice.drained()
    expect((await ask(home, alice, { since })).to_device).toBeUndefined()
  })

  it('a full inbox is emptied in several answers', async () => {
    const { alice, bob } = await twoInRoom()
    let { next_batch: since } = await ask(home, alice)
    for (let n = 0; n < 130; n++) {
      await home.toDevice.send(requester(bob), 'x.y', { [alice]: { '*': { n } } }, `t${n}`)
    }
    const sizes: number[] = []
    for (let round = 0; round < 3; round++) {
      const answer = await ask(home, alice, { since })
      sizes.push(answer.to_device?.events.length ?? 0)
      since = answer.next_batch
    }
    expect(sizes).toEqual([100, 30, 0])
  })

  it('device lists tell whom to ask anew', async () => {
    const { alice, bob } = await twoInRoom()
    const { next_batch: since } = await ask(home, alice)
    const waiting = ask(home, alice, { since, timeoutMs: 10_000 })
    const entries = await home.deviceLists.changed(bob, [{ device: deviceOf(bob) }])
    await home.writer.write({ entries })
    expect((await waiting).device_lists).toEqual({ changed: [bob], left: [] })
  })

  it('presence of others comes when it changes', async () => {
    const { alice, bob } = await twoInRoom()
    const { next_batch: since } = await ask(home, alice)
    const waiting = ask(home, alice, { since, timeoutMs: 10_000 })
    await home.presence.set(requester(bob), { presence: 'online', statusMsg: 'here' })
    const answer = await waiting
    expect(answer.presence?.events).toEqual([
      expect.objectContaining({
        sender: bob,
        content: expect.objectContaining({ presence: 'online', status_msg: 'here' }),
      }),
    ])
    expect((await ask(home, alice, { since: answer.next_batch })).presence).toBeUndefined()
  })

  it('push rules wake a sync', async () => {
    const { alice } = await twoInRoom()
    const { next_batch: since } = await ask(home, alice)
    const waiting = ask(home, alice, { since, timeoutMs: 10_000 })
    await home.pushRules.setEnabled(alice, { kind: 'override', ruleId: '.m.rule.master' }, true)
    expect((await waiting).account_data?.events).toEqual([
      expect.objectContaining({ type: 'm.push_rules' }),
    ])
  })
})

describe('lazy loading of members', () => {
  it('gives those who speak, each once', async () => {
    const { alice, bob, room } = await twoInRoom()
    const carol = somebody('carol')
    await setState(home, room, alice, 'm.room.name', '', { name: 'without heroes' })
    await member(room, carol, 'join')
    for (let n = 0; n < 4; n++) await say(home, room, bob, `${n}`)
    const filter = { room: { state: { lazy_load_members: true }, timeline: { limit: 3 } } }
    const first = await ask(home, alice, { filter })
    const members = (answer: TestAnswer) =>
      stateOf(answer, room).filter((key) => key.startsWith('m.room.member'))
    expect(members(first).sort()).toEqual([`m.room.member|${alice}`, `m.room.member|${bob}`].sort())
    await say(home, room, bob, 'again')
    await say(home, room, carol, 'me too')
    const query = { since: first.next_batch, filter }
    const second = await ask(home, alice, query)
    expect(members(second)).toEqual([`m.room.member|${carol}`])
    // The answer may have been lost on the way.
    expect(members(await ask(home, alice, query))).toEqual([`m.room.member|${carol}`])
    await say(home, room, carol, 'and again')
    expect(members(await ask(home, alice, { ...query, since: second.next_batch }))).toEqual([])
  })
})

describe('what is refused', () => {
  it.each(['nonsense', 's1', 's99999999999999999_0_', 's1_2_'])('the token %j', async (since) => {
    await expect(ask(home, somebody('eve'), { since })).rejects.toMatchObject({
      errcode: 'M_INVALID_PARAM',
    })
  })

  it('a filter of another form', async () => {
    await expect(
      ask(home, somebody('eve'), { filter: { room: { timeline: { limit: 'many' } } } }),
    ).rejects.toMatchObject({ errcode: 'M_BAD_JSON' })
  })
})

it('gives events in the form of servers, and chosen fields, when asked to', async () => {
  const { alice, room } = await twoInRoom()
  const raw = await ask(home, alice, { filter: { event_format: 'federation' } })
  expect(timelineOf(raw, room)?.events[0]).toHaveProperty('auth_events')
  const few = await ask(home, alice, { filter: { event_fields: ['type'] } })
  expect(timelineOf(few, room)?.events[0]).toEqual({ type: 'm.room.create' })
})
