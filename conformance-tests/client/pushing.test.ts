import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { type Client, eventually, register } from '../harness/client.ts'
import { joinedRoom, server } from '../harness/fixtures.ts'
import { type Body, path } from '../harness/http.ts'
import {
  addPusher,
  pusherAppId as appId,
  openPushGateway,
  type PushGateway,
} from '../harness/push-gateway.ts'

const pushersPath = '/_matrix/client/v3/pushers'
let gateway: PushGateway
beforeAll(async () => {
  gateway = await openPushGateway()
})
afterAll(async () => {
  await gateway[Symbol.asyncDispose]()
})

const setPusher = (client: Client, data?: Body) => addPusher(client, gateway, data)
const text = (body: string, more: Body = {}): Body => ({ msgtype: 'm.text', body, ...more })
const say = (client: Client, room: string, body: string, more: Body = {}) =>
  client.sendEvent(room, 'm.room.message', text(body, more))
const read = (client: Client, room: string, event: string) =>
  client.call('POST', client.room(room, 'receipt', 'm.read', event), { body: {} })
const isOf = (event: string) => (one: { event_id?: string | null | undefined }) =>
  one.event_id === event

describe('a push gateway', () => {
  it('is told of a message with everything that an app shows', async () => {
    const { alice, bob, room } = await joinedRoom({ name: 'The Hall' })
    const key = await setPusher(bob, { colour: 'green' })
    const event = await say(alice, room, 'hello')
    const told = await gateway.until(key, isOf(event))
    expect(told).toMatchObject({
      event_id: event,
      room_id: room,
      type: 'm.room.message',
      sender: alice.userId,
      room_name: 'The Hall',
      content: text('hello'),
      // It rings, because two are in the room.
      prio: 'high',
      counts: { unread: 1 },
      devices: [
        {
          app_id: appId,
          pushkey: key,
          data: { colour: 'green' },
          tweaks: { sound: 'default' },
        },
      ],
    })
    expect(told.devices[0]?.data).not.toHaveProperty('url')
    expect(typeof told.devices[0]?.['pushkey_ts']).toBe('number')
    expect(typeof told['sender_display_name']).toBe('string')
  })

  it('is told ids only, when the pusher asks for them', async () => {
    const { alice, bob, room } = await joinedRoom({ name: 'The Hall' })
    const key = await setPusher(bob, { format: 'event_id_only' })
    const event = await say(alice, room, 'secret')
    const told = await gateway.until(key, isOf(event))
    expect(told).toMatchObject({ event_id: event, room_id: room, counts: { unread: 1 } })
    expect(told.devices).toMatchObject([
      { app_id: appId, pushkey: key, data: { format: 'event_id_only' } },
    ])
    expect(JSON.stringify(told)).not.toMatch(/secret|Hall|m\.room\.message/)
  })

  it('hears of several messages in order, each once', async () => {
    const { alice, bob, room } = await joinedRoom()
    const key = await setPusher(bob)
    const events: string[] = []
    for (let n = 0; n < 5; n++) events.push(await say(alice, room, `number ${n}`))
    await gateway.until(key, isOf(events[4] ?? ''))
    const ids = gateway.taken(key).flatMap(({ event_id: id }) => id || [])
    expect(ids).toEqual(events)
  })

  it('hears nothing of what the user said, or the rules leave out', async () => {
    const { alice, bob, room } = await joinedRoom()
    const key = await setPusher(bob)
    await bob.call('PUT', path('/_matrix/client/v3/pushrules/global/content', 'quiet'), {
      body: { pattern: 'quiet', actions: [] },
    })
    await say(bob, room, 'mine')
    await say(alice, room, 'be quiet')
    await alice.sendEvent(room, 'm.room.message', { msgtype: 'm.notice', body: 'a notice' })
    await alice.setState(room, 'm.room.topic', '', { topic: 'a topic' })
    const last = await say(alice, room, 'loud')
    await gateway.until(key, isOf(last))
    const ids = gateway.taken(key).flatMap(({ event_id: id }) => id || [])
    expect(ids).toEqual([last])
  })

  it('is told what to do by the rule that matched', async () => {
    const { alice, bob, room } = await joinedRoom()
    const carol = await register(server)
    await carol.join(room)
    const key = await setPusher(bob)
    const plain = await say(alice, room, 'hello all')
    const mention = await say(alice, room, 'bob!', { 'm.mentions': { user_ids: [bob.userId] } })
    const first = await gateway.until(key, isOf(plain))
    expect(first).toMatchObject({ prio: 'low', devices: [{ tweaks: {} }] })
    expect(await gateway.until(key, isOf(mention))).toMatchObject({
      prio: 'high',
      devices: [{ tweaks: { sound: 'default', highlight: true } }],
    })
  })

  it('hears of invites', async () => {
    const [alice, bob] = [await register(server), await register(server)]
    const key = await setPusher(bob)
    const room = await alice.createRoom({ name: 'The Hall' })
    await alice.invite(room, bob.userId)
    const told = await gateway.until(key, ({ room_id: id }) => id === room)
    expect(told).toMatchObject({
      type: 'm.room.member',
      sender: alice.userId,
      user_is_target: true,
      prio: 'high',
      counts: { unread: 1 },
    })
  })

  it('hears of encrypted messages at once', async () => {
    const { alice, bob, room } = await joinedRoom()
    const key = await setPusher(bob)
    const event = await alice.sendEvent(room, 'm.room.encrypted', {
      algorithm: 'm.megolm.v1.aes-sha2',
      ciphertext: 'abc',
    })
    expect(await gateway.until(key, isOf(event))).toMatchObject({
      type: 'm.room.encrypted',
      prio: 'high',
    })
  })

  it('is told how many rooms have something unread, also when they are read', async () => {
    const { alice, bob, room } = await joinedRoom()
    const other = await alice.createRoom({ preset: 'public_chat' })
    await bob.join(other)
    const key = await setPusher(bob)
    await gateway.until(key, isOf(await say(alice, room, 'one')))
    const second = await say(alice, room, 'two')
    expect((await gateway.until(key, isOf(second))).counts).toEqual({ unread: 1 })
    const third = await say(alice, other, 'three')
    expect((await gateway.until(key, isOf(third))).counts).toEqual({ unread: 2 })
    await read(bob, room, second)
    const badge = await gateway.until(
      key,
      ({ counts, event_id: id }) => !id && counts?.unread === 1,
    )
    expect(badge.devices).toMatchObject([{ app_id: appId, pushkey: key }])
    await read(bob, other, third)
    await gateway.until(key, ({ counts, event_id: id }) => !id && counts?.unread === 0)
  })

  it('is tried again until it takes the message', async () => {
    const { alice, bob, room } = await joinedRoom()
    const key = await setPusher(bob)
    gateway.refuse(key, 502)
    const first = await say(alice, room, 'one')
    await eventually(
      async () => gateway.refused(key),
      (count) => count > 1,
    )
    const second = await say(alice, room, 'two')
    gateway.refuse(key, undefined)
    await gateway.until(key, isOf(second))
    const ids = gateway.taken(key).flatMap(({ event_id: id }) => id || [])
    expect(ids).toEqual([first, second])
  })

  it('that rejects a key hears of it no more, and the pusher is gone', async () => {
    const { alice, bob, room } = await joinedRoom()
    const key = await setPusher(bob)
    gateway.reject(key)
    await gateway.until(key, isOf(await say(alice, room, 'one')))
    await eventually(
      () => bob.call('GET', pushersPath),
      (answer) => JSON.stringify(answer) === '{"pushers":[]}',
    )
    const other = await setPusher(bob)
    await gateway.until(other, isOf(await say(alice, room, 'two')))
    expect(gateway.taken(key)).toHaveLength(1)
  })

  it('hears nothing of a session that has ended', async () => {
    const { alice, bob, room } = await joinedRoom()
    const carol = await register(server)
    await carol.join(room)
    const [gone, kept] = [await setPusher(bob), await setPusher(carol)]
    await bob.call('POST', '/_matrix/client/v3/logout', { body: {} })
    await gateway.until(kept, isOf(await say(alice, room, 'one')))
    await gateway.until(kept, isOf(await say(alice, room, 'two')))
    expect(gateway.taken(gone)).toEqual([])
  })

  it('hears nothing of ignored users', async () => {
    const { alice, bob, room } = await joinedRoom()
    const carol = await register(server)
    await carol.join(room)
    const key = await setPusher(bob)
    await bob.call('PUT', bob.dataPath('m.ignored_user_list'), {
      body: { ignored_users: { [alice.userId]: {} } },
    })
    await say(alice, room, 'unheard')
    const heard = await say(carol, room, 'heard')
    await gateway.until(key, isOf(heard))
    const ids = gateway.taken(key).flatMap(({ event_id: id }) => id || [])
    expect(ids).toEqual([heard])
  })

  it('hears nothing while the pusher is switched off', async () => {
    const { alice, bob, room } = await joinedRoom()
    const key = await setPusher(bob)
    const [pusher] = z
      .object({ pushers: z.array(z.looseObject({})) })
      .parse(await bob.call('GET', pushersPath)).pushers
    const turn = (enabled: boolean) =>
      bob.call('POST', `${pushersPath}/set`, {
        body: { ...pusher, 'org.matrix.msc3881.enabled': enabled },
      })
    await turn(false)
    await say(alice, room, 'unheard')
    await turn(true)
    const heard = await say(alice, room, 'heard')
    await gateway.until(key, isOf(heard))
    const ids = gateway.taken(key).flatMap(({ event_id: id }) => id || [])
    expect(ids).toEqual([heard])
  })
})
