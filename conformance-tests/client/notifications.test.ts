import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { type Client, register } from '../harness/client.ts'
import { joinedRoom, server } from '../harness/fixtures.ts'
import { type Body, path } from '../harness/http.ts'

const notificationsPath = '/_matrix/client/v3/notifications'
const answerShape = z.object({
  next_token: z.string().nullish(),
  notifications: z.array(
    z.looseObject({
      actions: z.array(z.unknown()),
      event: z.looseObject({ event_id: z.string(), type: z.string(), sender: z.string() }),
      read: z.boolean(),
      room_id: z.string(),
      ts: z.number(),
    }),
  ),
})

const list = async (client: Client, query: Record<string, string | number> = {}) =>
  answerShape.parse(await client.call('GET', notificationsPath, { query }))
const ids = ({ notifications }: z.output<typeof answerShape>) =>
  notifications.map(({ event }) => event.event_id)
const read = (client: Client, room: string, event: string, more: Body = {}) =>
  client.call('POST', client.room(room, 'receipt', 'm.read', event), { body: more })
const mention = (client: Client, room: string, users: readonly Client[]) =>
  client.sendEvent(room, 'm.room.message', {
    msgtype: 'm.text',
    body: 'hey',
    'm.mentions': { user_ids: users.map(({ userId }) => userId) },
  })

describe('the list of notifications', () => {
  it('has what the user was notified of, the newest first, with the event and what to do', async () => {
    const { alice, bob, room } = await joinedRoom()
    expect((await list(bob)).notifications).toEqual([])
    const first = await alice.sendText(room, 'one')
    await bob.sendText(room, 'mine')
    const second = await mention(alice, room, [bob])
    const { notifications } = await list(bob)
    expect(notifications).toMatchObject([
      {
        room_id: room,
        read: false,
        event: { event_id: second, type: 'm.room.message', sender: alice.userId },
        actions: expect.arrayContaining(['notify', { set_tweak: 'highlight' }]),
      },
      { room_id: room, event: { event_id: first, content: { body: 'one' } } },
    ])
    expect((await list(alice)).notifications).toMatchObject([{ event: { sender: bob.userId } }])
  })

  it('says what is read', async () => {
    const { alice, bob, room } = await joinedRoom()
    const [first, second, third] = [
      await alice.sendText(room, 'one'),
      await alice.sendText(room, 'two'),
      await alice.sendText(room, 'three'),
    ]
    await read(bob, room, second)
    const states = (await list(bob)).notifications.map((one) => [one.event.event_id, one.read])
    expect(states).toEqual([
      [third, false],
      [second, true],
      [first, true],
    ])
    await read(bob, room, third)
    expect((await list(bob)).notifications.every((one) => one.read)).toBe(true)
  })

  it('comes in pages, over all rooms', async () => {
    const { alice, bob, room } = await joinedRoom()
    const other = await alice.createRoom({ preset: 'public_chat' })
    await bob.join(other)
    const sent: string[] = []
    for (let n = 0; n < 7; n++) sent.unshift(await alice.sendText(n % 2 ? room : other, `${n}`))
    const seen: string[] = []
    let from: string | undefined
    for (let page = 0; page < 10; page++) {
      const answer = await list(bob, { limit: 3, ...(from !== undefined && { from }) })
      expect(answer.notifications.length).toBeLessThanOrEqual(3)
      seen.push(...ids(answer))
      from = answer.next_token ?? undefined
      if (from === undefined) break
    }
    expect(seen).toEqual(sent)
    expect((await bob.ask('GET', notificationsPath, { query: { from: 'x' } })).status).toBe(400)
  })

  it('has highlights only, when it is asked for them', async () => {
    const { alice, bob, room } = await joinedRoom()
    await alice.sendText(room, 'one')
    const loud = await mention(alice, room, [bob])
    await alice.sendText(room, 'two')
    expect(ids(await list(bob, { only: 'highlight' }))).toEqual([loud])
  })

  it('has invites, and nothing of what was redacted or is muted', async () => {
    const { alice, bob, room } = await joinedRoom()
    const gone = await alice.sendText(room, 'gone')
    const kept = await alice.sendText(room, 'kept')
    await alice.redact(room, gone)
    const muted = await alice.createRoom({ preset: 'public_chat' })
    await bob.join(muted)
    await bob.call('PUT', path('/_matrix/client/v3/pushrules/global/room', muted), {
      body: { actions: [] },
    })
    await alice.sendText(muted, 'nobody hears')
    const invited = await alice.createRoom({ invite: [bob.userId] })
    const { notifications } = await list(bob)
    expect(notifications.map((one) => [one.room_id, one.event.type])).toEqual([
      [invited, 'm.room.member'],
      [room, 'm.room.message'],
    ])
    expect(notifications[1]?.event.event_id).toBe(kept)
  })

  it('begins when the user comes into the room', async () => {
    const alice = await register(server)
    const bob = await register(server)
    const room = await alice.createRoom({ preset: 'public_chat' })
    await alice.sendText(room, 'before')
    await bob.join(room)
    const after = await alice.sendText(room, 'after')
    expect(ids(await list(bob))).toEqual([after])
  })
})
