import { describe, expect, it } from 'vitest'
import { type Client, register } from '../harness/client.ts'
import { joinedRoom, server } from '../harness/fixtures.ts'
import { type Body, path } from '../harness/http.ts'

const reply = (user: Client, room: string, root: string) =>
  user.sendEvent(room, 'm.room.message', {
    ...{ msgtype: 'm.text', body: 'reply' },
    'm.relates_to': { rel_type: 'm.thread', event_id: root },
  })

const list = (user: Client, room: string, query: Record<string, string | number> = {}) =>
  user.ask('GET', path('/_matrix/client/v1/rooms', room, 'threads'), { query })

const eventsIn = (body: Body): Body[] => Object(body)['chunk'] ?? []
const rootsIn = (body: Body) => eventsIn(body).map((event) => event['event_id'])

/** Root and latest event of each thread. */
const threadsIn = (body: Body) =>
  eventsIn(body).map(({ event_id, unsigned }) => {
    const { latest_event } = Object(Object(unsigned)['m.relations'])['m.thread']
    return [event_id, latest_event.event_id]
  })

describe('the list of threads', () => {
  it('goes by the latest event of each', async () => {
    const alice = await register(server)
    const room = await alice.createRoom()
    const [one, two] = [await alice.sendText(room, 'one'), await alice.sendText(room, 'two')]
    await alice.sendText(room, 'no thread')
    const first = await reply(alice, room, one)
    const second = await reply(alice, room, two)
    expect(threadsIn((await list(alice, room)).body)).toEqual([
      [two, second],
      [one, first],
    ])
    const third = await reply(alice, room, one)
    expect(threadsIn((await list(alice, room)).body)).toEqual([
      [one, third],
      [two, second],
    ])
  })

  it('comes page by page', async () => {
    const alice = await register(server)
    const room = await alice.createRoom()
    const roots: string[] = []
    for (let at = 0; at < 5; at++) roots.push(await alice.sendText(room, `${at}`))
    for (const root of roots) await reply(alice, room, root)
    const order = roots.toReversed()
    const first = await list(alice, room, { limit: 2 })
    expect(rootsIn(first.body)).toEqual(order.slice(0, 2))
    const second = await list(alice, room, { limit: 2, from: String(first.body['next_batch']) })
    expect(rootsIn(second.body)).toEqual(order.slice(2, 4))
    const third = await list(alice, room, { limit: 2, from: String(second.body['next_batch']) })
    expect(rootsIn(third.body)).toEqual(order.slice(4))
    expect(third.body).not.toHaveProperty('next_batch')
  })

  it('has only those of the user when that is asked for', async () => {
    const { alice, bob, room } = await joinedRoom()
    const [one, two] = [await alice.sendText(room, 'one'), await alice.sendText(room, 'two')]
    const mine = await bob.sendText(room, 'mine')
    for (const root of [one, two, mine]) await reply(alice, room, root)
    await reply(bob, room, one)
    const all = await list(bob, room, { include: 'all' })
    expect(rootsIn(all.body)).toEqual([one, mine, two])
    const participated = await list(bob, room, { include: 'participated' })
    expect(rootsIn(participated.body)).toEqual([one, mine])
    expect((await list(bob, room, { include: 'some' })).status).toBe(400)
  })

  it('has no thread whose events are all redacted', async () => {
    const alice = await register(server)
    const room = await alice.createRoom()
    const [one, two] = [await alice.sendText(room, 'one'), await alice.sendText(room, 'two')]
    const kept = await reply(alice, room, one)
    const gone = await reply(alice, room, two)
    const latest = await reply(alice, room, one)
    await alice.redact(room, gone)
    await alice.redact(room, latest)
    await expect
      .poll(async () => threadsIn((await list(alice, room)).body), { timeout: 10_000 })
      .toEqual([[one, kept]])
  })

  it('is not for outsiders', async () => {
    const [alice, bob] = await Promise.all([register(server), register(server)])
    const room = await alice.createRoom()
    await reply(alice, room, await alice.sendText(room, 'root'))
    expect(await list(bob, room)).toMatchObject({ status: 403, body: { errcode: 'M_FORBIDDEN' } })
  })
})
