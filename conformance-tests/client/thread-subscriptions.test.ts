import { describe, expect, it } from 'vitest'
import { type Client, register } from '../harness/client.ts'
import { joinedRoom, server } from '../harness/fixtures.ts'
import { path } from '../harness/http.ts'

/** The proposals MSC4306 and MSC4308, which clients use under these names. */
const threads = '/_matrix/client/unstable/io.element.msc4306/rooms'
const allChanges = '/_matrix/client/unstable/io.element.msc4308/thread_subscriptions'

const place = (room: string, root: string) => path(threads, room, 'thread', root, 'subscription')

function subscriptionsOf(user: Client) {
  return {
    get: (room: string, root: string) => user.ask('GET', place(room, root)),
    put: (room: string, root: string, automatic?: string) =>
      user.ask('PUT', place(room, root), { body: automatic === undefined ? {} : { automatic } }),
    remove: (room: string, root: string) => user.ask('DELETE', place(room, root)),
    changes: (query: Record<string, string | number> = {}) =>
      user.ask('GET', allChanges, { query: { dir: 'b', ...query } }),
  }
}

async function threadOf(user: Client) {
  const room = await user.createRoom()
  const root = await user.sendText(room, 'what do you think?')
  return { room, root, reply: (body: string) => replyIn(user, room, root, body) }
}

const replyIn = (user: Client, room: string, root: string, body: string) =>
  user.sendEvent(room, 'm.room.message', {
    msgtype: 'm.text',
    body,
    'm.relates_to': { rel_type: 'm.thread', event_id: root },
  })

describe('thread subscriptions', () => {
  it('are made, shown and taken back, also when there is none', async () => {
    const alice = await register(server)
    const { room, root } = await threadOf(alice)
    const { get, put, remove } = subscriptionsOf(alice)
    expect(await get(room, root)).toMatchObject({ status: 404, body: { errcode: 'M_NOT_FOUND' } })
    expect((await remove(room, root)).status).toBe(200)
    expect((await put(room, root)).status).toBe(200)
    expect(await get(room, root)).toMatchObject({ status: 200, body: { automatic: false } })
    expect((await remove(room, root)).status).toBe(200)
    expect(await get(room, root)).toMatchObject({ status: 404, body: { errcode: 'M_NOT_FOUND' } })
  })

  it('made by a client by itself give way to those made by hand', async () => {
    const alice = await register(server)
    const { room, root, reply } = await threadOf(alice)
    const { get, put } = subscriptionsOf(alice)
    const cause = await reply('a reply')
    expect((await put(room, root, cause)).status).toBe(200)
    expect((await get(room, root)).body).toEqual({ automatic: true })
    expect((await put(room, root)).status).toBe(200)
    expect((await get(room, root)).body).toEqual({ automatic: false })
    expect((await put(room, root, cause)).status).toBe(200)
    expect((await get(room, root)).body).toEqual({ automatic: false })
  })

  it('need a cause inside of the thread', async () => {
    const alice = await register(server)
    const { room, root } = await threadOf(alice)
    const { put } = subscriptionsOf(alice)
    const otherRoot = await alice.sendText(room, 'another root')
    const elsewhere = await replyIn(alice, room, otherRoot, 'in the other thread')
    const refused = { status: 400, body: { errcode: 'IO.ELEMENT.MSC4306.M_NOT_IN_THREAD' } }
    expect(await put(room, root, root)).toMatchObject(refused)
    expect(await put(room, root, elsewhere)).toMatchObject(refused)
    expect(await put(room, root, '$nothing:example.org')).toMatchObject({ status: 404 })
  })

  it('are not there for threads that do not exist or cannot be seen', async () => {
    const [alice, bob] = await Promise.all([register(server), register(server)])
    const { room, root } = await threadOf(alice)
    const mine = subscriptionsOf(alice)
    const missing = '$notathread:example.org'
    expect((await mine.get(room, missing)).status).toBe(404)
    expect((await mine.put(room, missing)).status).toBe(404)
    expect((await mine.remove(room, missing)).status).toBe(404)
    expect((await subscriptionsOf(bob).put(room, root)).status).toBe(404)
  })

  it('do not come back by an event that was there when the user unsubscribed', async () => {
    const alice = await register(server)
    const { room, root, reply } = await threadOf(alice)
    const { get, put, remove } = subscriptionsOf(alice)
    const first = await reply('first')
    await put(room, root, first)
    const second = await reply('second')
    await remove(room, root)
    const third = await reply('third')
    const refused = {
      status: 409,
      body: { errcode: 'IO.ELEMENT.MSC4306.M_CONFLICTING_UNSUBSCRIPTION' },
    }
    expect(await put(room, root, first)).toMatchObject(refused)
    expect(await put(room, root, second)).toMatchObject(refused)
    expect((await get(room, root)).status).toBe(404)
    expect((await put(room, root, third)).status).toBe(200)
    expect((await get(room, root)).body).toEqual({ automatic: true })
  })

  it('are listed by their last change, newest first, page by page', async () => {
    const alice = await register(server)
    const one = await threadOf(alice)
    const two = await threadOf(alice)
    const three = await threadOf(alice)
    const { put, remove, changes } = subscriptionsOf(alice)
    for (const { room, root } of [one, two, three]) await put(room, root)
    await remove(two.room, two.root)
    const first = await changes({ limit: 2 })
    expect(first.body).toEqual({
      subscribed: {
        [three.room]: { [three.root]: { automatic: false, bump_stamp: expect.any(Number) } },
      },
      unsubscribed: { [two.room]: { [two.root]: { bump_stamp: expect.any(Number) } } },
      end: expect.any(String),
    })
    const second = await changes({ limit: 2, from: String(first.body['end']) })
    expect(second.body).toEqual({
      subscribed: {
        [one.room]: { [one.root]: { automatic: false, bump_stamp: expect.any(Number) } },
      },
    })
  })

  it('are listed backwards only, and never in pages of nothing', async () => {
    const { changes } = subscriptionsOf(await register(server))
    expect((await changes({ dir: 'f' })).status).toBe(400)
    expect((await changes({ limit: 0 })).status).toBe(400)
    expect((await changes({ from: 'no token' })).status).toBe(400)
    expect((await changes()).body).toEqual({})
  })

  it('decide what is told of threads when the rules about them are on', async () => {
    const { alice, bob, room } = await joinedRoom()
    for (const which of ['subscribed', 'unsubscribed']) {
      const rule = `postcontent/.io.element.msc4306.rule.${which}_thread`
      const where = `/_matrix/client/v3/pushrules/global/${rule}/enabled`
      expect((await bob.ask('PUT', where, { body: { enabled: true } })).status).toBe(200)
    }
    const counted = async () => {
      const joined = Object((await bob.sync()).rooms.join[room])
      return Object(joined['unread_notifications'])['notification_count'] ?? 0
    }
    const root = await alice.sendText(room, 'root')
    await replyIn(alice, room, root, 'not told')
    await expect.poll(counted, { timeout: 10_000 }).toBe(1)
    expect((await subscriptionsOf(bob).put(room, root)).status).toBe(200)
    await replyIn(alice, room, root, 'told')
    await expect.poll(counted, { timeout: 10_000 }).toBe(2)
  })

  it('have no rules that a user makes', async () => {
    const alice = await register(server)
    const where = '/_matrix/client/v3/pushrules/global/postcontent/mine'
    const body = { actions: ['notify'], conditions: [] }
    expect(await alice.ask('PUT', where, { body })).toMatchObject({
      ...{ status: 400, body: { errcode: 'M_INVALID_PARAM' } },
    })
  })
})
