import { describe, expect, it } from 'vitest'
import type { Client } from '../harness/client.ts'
import { joinedRoom } from '../harness/fixtures.ts'
import type { Body } from '../harness/http.ts'

const byThread = { room: { timeline: { unread_thread_notifications: true } } }

describe('receipts of threads', () => {
  /** What bob has not read, as one number and by thread. */
  async function unread(bob: Client, room: string) {
    const whole = Object((await bob.sync()).rooms.join[room])
    const parted = Object((await bob.sync({ filter: byThread })).rooms.join[room])
    const count = (one: unknown) => Object(one)['notification_count'] ?? 0
    const threads: Body = Object(parted['unread_thread_notifications'])
    return {
      all: count(whole['unread_notifications']),
      main: count(parted['unread_notifications']),
      threads: Object.values(threads)
        .map(count)
        .filter((n) => n > 0),
    }
  }

  /** Threads that nobody subscribed to count too, but where the rules of MSC4306 are in force. */
  async function countAllThreads(user: Client) {
    for (const which of ['subscribed', 'unsubscribed']) {
      const rule = `postcontent/.io.element.msc4306.rule.${which}_thread`
      const where = `/_matrix/client/v3/pushrules/global/${rule}/enabled`
      await user.ask('PUT', where, { body: { enabled: false } })
    }
  }

  it('lower the counts of their thread, and those of the room all counts before them', async () => {
    const { alice, bob, room } = await joinedRoom()
    await countAllThreads(bob)
    const first = await alice.sendText(room, 'main one')
    const inThread = (body: string) =>
      alice.sendEvent(room, 'm.room.message', {
        msgtype: 'm.text',
        body,
        'm.relates_to': { rel_type: 'm.thread', event_id: first },
      })
    const reply = await inThread('thread one')
    await inThread('thread two')
    const second = await alice.sendText(room, 'main two')
    const last = await inThread('thread three')
    const read = (event: string, thread_id?: string) =>
      bob.call('POST', bob.room(room, 'receipt', 'm.read', event), {
        body: thread_id === undefined ? {} : { thread_id },
      })
    const shows = (all: number, main: number, threads: number[]) =>
      expect.poll(() => unread(bob, room), { timeout: 5_000 }).toEqual({ all, main, threads })

    await shows(5, 2, [3])
    await read(first, 'main')
    await shows(4, 1, [3])
    await read(reply, first)
    await shows(3, 1, [2])
    await read(second)
    await shows(1, 0, [1])
    await read(last, first)
    await shows(0, 0, [])
  })

  it('go with what relates to events of the thread', async () => {
    const { alice, bob, room } = await joinedRoom()
    await countAllThreads(bob)
    const relate = (rel_type: string, event_id: string, more: Body = {}) =>
      alice.sendEvent(room, 'm.room.message', {
        ...{ msgtype: 'm.text', body: 'related', 'm.relates_to': { rel_type, event_id } },
        ...more,
      })
    const root = await alice.sendText(room, 'root')
    const reply = await relate('m.thread', root)
    const edit = await relate('m.replace', reply, {
      'm.new_content': { msgtype: 'm.text', body: 'better' },
      'm.mentions': { user_ids: [bob.userId] },
    })
    await expect
      .poll(() => unread(bob, room), { timeout: 10_000 })
      .toEqual({ all: 3, main: 1, threads: [2] })
    await bob.call('POST', bob.room(room, 'receipt', 'm.read', edit), {
      body: { thread_id: root },
    })
    await expect
      .poll(() => unread(bob, room), { timeout: 10_000 })
      .toEqual({ all: 1, main: 1, threads: [] })
  })

  it('are refused on events that have nothing to do with the thread', async () => {
    const { alice, bob, room } = await joinedRoom()
    const root = await alice.sendText(room, 'root')
    const message = { msgtype: 'm.text', body: 'x' }
    const content = { ...message, 'm.relates_to': { rel_type: 'm.thread', event_id: root } }
    const reply = await alice.sendEvent(room, 'm.room.message', content)
    const other = await alice.sendText(room, 'other')
    const read = async (event: string, thread_id: unknown) =>
      (await bob.ask('POST', bob.room(room, 'receipt', 'm.read', event), { body: { thread_id } }))
        .status
    expect(await read(other, root)).toBe(400)
    expect(await read(reply, 'main')).toBe(400)
    expect(await read(reply, '')).toBe(400)
    expect(await read(root, root)).toBe(200)
    expect(await read(reply, root)).toBe(200)
    expect(await read(other, 'main')).toBe(200)
  })
})
