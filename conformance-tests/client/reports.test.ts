/** What users report, and how administrators read it, by the requests that Synapse documents. */
import { describe, expect, it } from 'vitest'
import { administrator, makesAdministrators } from '../harness/administrator.ts'
import { register, unique } from '../harness/client.ts'
import { joinedRoom, server } from '../harness/fixtures.ts'
import { type Body, path } from '../harness/http.ts'

const v3 = '/_matrix/client/v3'
const admin1 = '/_synapse/admin/v1'
const body = { reason: 'this makes me sad' }
const gone = { status: 404, body: { errcode: 'M_NOT_FOUND' } }
const done = { status: 200, body: {} }

const records = (list: unknown): Body[] => (Array.isArray(list) ? list.map(Object) : [])

describe('an event', () => {
  it('is reported by who is in the room', async () => {
    const { alice, bob, room } = await joinedRoom()
    const event = await alice.sendText(room, 'bad')
    const report = (more: Body) => bob.ask('POST', bob.room(room, 'report', event), { body: more })
    expect(await report({ ...body, score: -100 })).toMatchObject(done)
    expect(await report({})).toMatchObject(done)
    expect(await report({ reason: 7 })).toMatchObject({
      status: 400,
      body: { errcode: 'M_BAD_JSON' },
    })
    expect(await report({ score: '1' })).toMatchObject({
      status: 400,
      body: { errcode: 'M_BAD_JSON' },
    })
  })

  it('is not there for others, and no more than one that does not exist', async () => {
    const [alice, carol] = await Promise.all([register(server), register(server)])
    const room = await alice.createRoom({ preset: 'private_chat' })
    const event = await alice.sendText(room, 'for us')
    const where = carol.room(room, 'report', event)
    expect(await carol.ask('POST', where, { body })).toMatchObject(gone)
    const unknown = alice.room(room, 'report', '$unknown')
    expect(await alice.ask('POST', unknown, { body })).toMatchObject(gone)
  })

  it('of another room is not there', async () => {
    const { alice, room } = await joinedRoom()
    const other = await alice.createRoom({})
    const event = await alice.sendText(other, 'elsewhere')
    const where = alice.room(room, 'report', event)
    expect(await alice.ask('POST', where, { body })).toMatchObject(gone)
  })
})

describe('a room', () => {
  it('is reported by whoever knows it', async () => {
    const [alice, bob] = await Promise.all([register(server), register(server)])
    const room = await alice.createRoom({ preset: 'private_chat' })
    expect(await bob.ask('POST', bob.room(room, 'report'), { body })).toMatchObject(done)
    const unknown = bob.room(`!${unique('none')}:${server.name}`, 'report')
    expect(await bob.ask('POST', unknown, { body })).toMatchObject(gone)
  })

  it('is reported with a reason', async () => {
    const alice = await register(server)
    const room = await alice.createRoom({})
    const answer = await alice.ask('POST', alice.room(room, 'report'), { body: {} })
    expect(answer.status).toBe(400)
    expect(
      (await alice.ask('POST', alice.room(room, 'report'), { body: { reason: '' } })).status,
    ).toBe(200)
  })
})

describe('a user', () => {
  it('is reported, and nobody learns by that whether there is one', async () => {
    const [alice, bob] = await Promise.all([register(server), register(server)])
    for (const user of [alice.userId, `@${unique('nobody')}:${server.name}`]) {
      const where = path(`${v3}/users`, user, 'report')
      expect(await bob.ask('POST', where, { body })).toMatchObject(done)
    }
  })
})

describe.skipIf(!makesAdministrators)('an administrator', () => {
  it('reads what was reported, and deletes it', async () => {
    const [admin, { alice, bob, room }] = await Promise.all([
      administrator(),
      joinedRoom({ name: 'The room' }),
    ])
    const event = await alice.sendText(room, 'bad')
    for (const reason of ['first', 'second']) {
      const where = bob.room(room, 'report', event)
      await bob.call('POST', where, { body: { reason, score: -50 } })
    }
    const where = `${admin1}/event_reports`
    const list = await admin.call('GET', `${where}?${new URLSearchParams({ room_id: room })}`)
    expect(list).toMatchObject({ total: 2 })
    const [newest, oldest] = records(list['event_reports'])
    expect(newest).toEqual({
      id: expect.any(Number),
      received_ts: expect.any(Number),
      room_id: room,
      event_id: event,
      user_id: bob.userId,
      sender: alice.userId,
      reason: 'second',
      score: -50,
      name: 'The room',
      canonical_alias: null,
    })
    expect(oldest).toMatchObject({ reason: 'first' })
    const query = { user_id: bob.userId, dir: 'f', limit: '1' }
    const page = await admin.call('GET', `${where}?${new URLSearchParams(query)}`)
    expect(page).toMatchObject({ total: 2, next_token: 1, event_reports: [{ reason: 'first' }] })

    const one = path(where, String(newest?.['id']))
    expect(await admin.call('GET', one)).toMatchObject({
      ...{ reason: 'second', sender: alice.userId },
      event_json: { type: 'm.room.message', sender: alice.userId },
    })
    expect(await admin.ask('DELETE', one)).toMatchObject(done)
    expect(await admin.ask('GET', one)).toMatchObject(gone)
    expect(await admin.ask('DELETE', one)).toMatchObject(gone)
  })

  it('reads which users were reported', async () => {
    const [admin, alice, bob] = await Promise.all([
      administrator(),
      register(server),
      register(server),
    ])
    await bob.call('POST', path(`${v3}/users`, alice.userId, 'report'), { body })
    const query = new URLSearchParams({ target_user_id: alice.userId })
    const list = await admin.call('GET', `${admin1}/user_reports?${query}`)
    expect(list).toMatchObject({
      total: 1,
      user_reports: [{ target_user_id: alice.userId, user_id: bob.userId, ...body }],
    })
  })

  it('is the only one who reads them', async () => {
    const alice = await register(server)
    for (const where of ['event_reports', 'event_reports/1', 'user_reports']) {
      expect(await alice.ask('GET', `${admin1}/${where}`)).toMatchObject({
        status: 403,
        body: { errcode: 'M_FORBIDDEN' },
      })
    }
  })
})
