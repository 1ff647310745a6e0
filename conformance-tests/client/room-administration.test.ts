/** What an administrator does with rooms, by the requests that Synapse documents and operators' tools send. */
import { describe, expect, it } from 'vitest'
import { administrator, makesAdministrators } from '../harness/administrator.ts'
import { type Client, eventually, register } from '../harness/client.ts'
import { server } from '../harness/fixtures.ts'
import { path } from '../harness/http.ts'

const admin1 = '/_synapse/admin/v1'
const admin2 = '/_synapse/admin/v2'

const idsHere = async (client: Client, roomId: string) =>
  (await client.messages(roomId, { limit: 100 })).chunk.map(({ event_id }) => event_id)

describe.skipIf(!makesAdministrators)('an administrator', () => {
  it('purges the history of a room up to an event', async () => {
    const [admin, alice] = await Promise.all([administrator(), register(server)])
    const room = await alice.createRoom({ preset: 'public_chat', name: 'kept' })
    const old: string[] = []
    for (let i = 0; i < 5; i++) old.push(await alice.sendText(room, `old ${i}`))
    const bound = await alice.sendText(room, 'bound')
    const last = await alice.sendText(room, 'last')
    const where = path(`${admin1}/purge_history`, room, bound)
    const { purge_id: id } = await admin.call('POST', where, {
      body: { delete_local_events: true },
    })
    await eventually(
      () => admin.call('GET', path(`${admin1}/purge_history_status`, String(id))),
      ({ status }) => status === 'complete',
    )
    const ids = await idsHere(alice, room)
    expect(ids.slice(0, 2)).toEqual([last, bound])
    for (const one of old) expect(ids).not.toContain(one)
    expect(await alice.getState(room, 'm.room.name')).toEqual({ name: 'kept' })
    expect((await alice.ask('GET', alice.room(room, 'event', old[0] ?? ''))).status).toBe(404)
    const after = await alice.sendText(room, 'and on')
    expect((await idsHere(alice, room))[0]).toBe(after)
  })

  it('deletes a room: its users leave, and nothing is left', async () => {
    const [admin, alice, bob] = await Promise.all([
      administrator(),
      register(server),
      register(server),
    ])
    const room = await alice.createRoom({ preset: 'public_chat' })
    await bob.join(room)
    const { next_batch: since } = await alice.sync()
    const { delete_id: id } = await admin.call('DELETE', path(`${admin2}/rooms`, room), {
      body: { block: true, purge: true },
    })
    const done = await eventually(
      () => admin.call('GET', path(`${admin2}/rooms/delete_status`, String(id))),
      ({ status }) => status === 'complete',
    )
    expect(Object(done['shutdown_room'])['kicked_users'].toSorted()).toEqual(
      [alice.userId, bob.userId].toSorted(),
    )
    const { results } = await admin.call('GET', path(`${admin2}/rooms`, room, 'delete_status'))
    expect(results).toMatchObject([{ delete_id: id, status: 'complete' }])
    expect((await alice.ask('GET', alice.room(room, 'state'))).status).toBe(403)
    const { rooms } = await alice.sync({ since })
    expect(rooms.join[room]).toBeUndefined()
    expect((await alice.sync()).rooms.join[room]).toBeUndefined()
    // It is blocked, so that nobody enters it again.
    expect(await bob.ask('POST', bob.room(room, 'join'), { body: {} })).toMatchObject({
      status: 403,
    })
  })

  it('alone may do so', async () => {
    const alice = await register(server)
    const room = await alice.createRoom()
    const id = await alice.sendText(room, 'x')
    const answers = [
      await alice.ask('POST', path(`${admin1}/purge_history`, room, id), { body: {} }),
      await alice.ask('DELETE', path(`${admin2}/rooms`, room), { body: {} }),
      await alice.ask('PUT', path(`${admin1}/rooms`, room, 'block'), { body: { block: true } }),
    ]
    expect(answers.map(({ status }) => status)).toEqual([403, 403, 403])
    await alice.sendText(room, 'still here')
  })
})
