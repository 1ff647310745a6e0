import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { type Client, eventually } from '../harness/client.ts'
import { itSynapseBreaks } from '../harness/exceptions.ts'
import { joinedRoom } from '../harness/fixtures.ts'
import { type Body, path } from '../harness/http.ts'

const byThread = { room: { timeline: { unread_thread_notifications: true } } }

const pairShape = z.looseObject({
  notification_count: z.number().default(0),
  highlight_count: z.number().default(0),
})
const roomShape = z.looseObject({
  unread_notifications: pairShape.default({ notification_count: 0, highlight_count: 0 }),
  unread_thread_notifications: z.record(z.string(), pairShape).default({}),
})

/** A user's counts of a room, as [notifications, highlights]; with the threads apart when asked for. */
async function unread(client: Client, room: string, filter: Body = {}) {
  const { rooms } = await client.sync({ filter, fullState: true })
  const { unread_notifications: all, unread_thread_notifications: threads } = roomShape.parse(
    rooms.join[room] ?? {},
  )
  const pair = (counts: z.output<typeof pairShape>) => [
    counts.notification_count,
    counts.highlight_count,
  ]
  const apart = Object.entries(threads).map(([root, counts]) => [root, pair(counts)])
  return { all: pair(all), threads: Object.fromEntries(apart) }
}

/** Waits until the counts are these. */
const becomes = (client: Client, room: string, wanted: readonly number[], filter?: Body) =>
  eventually(
    () => unread(client, room, filter),
    ({ all }) => JSON.stringify(all) === JSON.stringify(wanted),
  )
const say = (client: Client, room: string, more: Body = {}) =>
  client.sendEvent(room, 'm.room.message', { msgtype: 'm.text', body: 'hello', ...more })
const mention = ({ userId }: Client) => ({ 'm.mentions': { user_ids: [userId] } })
const inThread = (root: string) => ({ 'm.relates_to': { rel_type: 'm.thread', event_id: root } })
const read = (client: Client, room: string, event: string, type = 'm.read', body: Body = {}) =>
  client.call('POST', client.room(room, 'receipt', type, event), { body })

/** Where the rules about subscriptions are on (MSC4306), nobody hears of a thread without one. */
const subscribe = (client: Client, room: string, root: string) =>
  client.call(
    'PUT',
    path('/_matrix/client/unstable/io.element.msc4306/rooms', room, 'thread', root, 'subscription'),
    { body: {} },
  )

describe('what is unread', () => {
  it('is counted for each thread, and read thread by thread', async () => {
    const { alice, bob, room } = await joinedRoom()
    const root = await say(alice, room)
    await subscribe(bob, room, root)
    await say(alice, room, { ...inThread(root), ...mention(bob) })
    const last = await say(alice, room, inThread(root))
    await becomes(bob, room, [3, 1])
    const apart = await becomes(bob, room, [1, 0], byThread)
    expect(apart.threads).toEqual({ [root]: [2, 1] })

    await read(bob, room, last, 'm.read', { thread_id: root })
    expect((await becomes(bob, room, [1, 0])).all).toEqual([1, 0])
    await read(bob, room, root, 'm.read', { thread_id: 'main' })
    await becomes(bob, room, [0, 0])
    await say(alice, room, inThread(root))
    await becomes(bob, room, [1, 0])
    expect((await becomes(bob, room, [0, 0], byThread)).threads).toEqual({ [root]: [1, 0] })
  })

  it('is read in all threads by a receipt without one', async () => {
    const { alice, bob, room } = await joinedRoom()
    const root = await say(alice, room)
    await subscribe(bob, room, root)
    const last = await say(alice, room, inThread(root))
    await becomes(bob, room, [2, 0])
    await read(bob, room, last)
    await becomes(bob, room, [0, 0])
  })

  it('is read privately as well, and the receipt that is further counts', async () => {
    const { alice, bob, room } = await joinedRoom()
    const first = await say(alice, room)
    const second = await say(alice, room)
    await say(alice, room)
    await becomes(bob, room, [3, 0])
    await read(bob, room, second, 'm.read.private')
    await becomes(bob, room, [1, 0])
    await read(bob, room, first)
    expect((await unread(bob, room)).all).toEqual([1, 0])
  })

  it('is no more what was redacted', async () => {
    const { alice, bob, room } = await joinedRoom()
    await say(alice, room)
    const loud = await say(alice, room, mention(bob))
    await becomes(bob, room, [2, 1])
    await alice.redact(room, loud)
    await becomes(bob, room, [1, 0])
  })

  it('does not grow with edits, but for those whom an edit mentions', async () => {
    const { alice, bob, room } = await joinedRoom()
    const event = await say(alice, room)
    const edit = (more: Body) =>
      say(alice, room, {
        body: '* hi',
        'm.new_content': { msgtype: 'm.text', body: 'hi' },
        'm.relates_to': { rel_type: 'm.replace', event_id: event },
        ...more,
      })
    await edit({})
    await becomes(bob, room, [1, 0])
    await edit(mention(bob))
    await becomes(bob, room, [2, 1])
  })

  itSynapseBreaks(
    'When the user updates their read receipt (either by using the API or by sending an event)',
  )('is what came after the user’s own last message', async () => {
    const { alice, bob, room } = await joinedRoom()
    await say(alice, room)
    await becomes(bob, room, [1, 0])
    await say(bob, room)
    await becomes(bob, room, [0, 0])
    await say(alice, room)
    await becomes(bob, room, [1, 0])
  })

  it('is not what an ignored user says', async () => {
    const { alice, bob, room } = await joinedRoom()
    await say(alice, room)
    await becomes(bob, room, [1, 0])
    await bob.call('PUT', bob.dataPath('m.ignored_user_list'), {
      body: { ignored_users: { [alice.userId]: {} } },
    })
    await say(alice, room, mention(bob))
    expect((await unread(bob, room)).all).toEqual([1, 0])
    await bob.call('PUT', bob.dataPath('m.ignored_user_list'), { body: { ignored_users: {} } })
    await say(alice, room)
    await becomes(bob, room, [2, 0])
  })
})
