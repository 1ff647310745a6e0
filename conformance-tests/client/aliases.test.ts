import { describe, expect, it } from 'vitest'
import { register, unique } from '../harness/client.ts'
import { joinedRoom, server } from '../harness/fixtures.ts'
import { path } from '../harness/http.ts'

const v3 = '/_matrix/client/v3'
const newAlias = () => `#${unique('alias')}:${server.name}`
const directory = (alias: string) => path(`${v3}/directory/room`, alias)

describe('an alias', () => {
  it('is made, resolved and listed', async () => {
    const { alice, bob, room } = await joinedRoom()
    const alias = newAlias()
    await alice.call('PUT', directory(alias), { body: { room_id: room } })
    expect(await bob.call('GET', directory(alias))).toMatchObject({
      room_id: room,
      servers: [server.name],
    })
    expect(await alice.call('GET', alice.room(room, 'aliases'))).toEqual({ aliases: [alias] })
  })

  it('may have characters outside ASCII', async () => {
    const { alice, room } = await joinedRoom()
    const alias = `#${unique('老虎Â£я🤨')}:${server.name}`
    await alice.call('PUT', directory(alias), { body: { room_id: room } })
    expect(await alice.call('GET', directory(alias))).toMatchObject({ room_id: room })
  })

  it('that is taken is refused', async () => {
    const { alice, room } = await joinedRoom()
    const alias = newAlias()
    await alice.call('PUT', directory(alias), { body: { room_id: room } })
    expect(await alice.ask('PUT', directory(alias), { body: { room_id: room } })).toMatchObject({
      status: 409,
    })
  })

  it('that nobody made is not found', async () => {
    const alice = await register(server)
    expect(await alice.ask('GET', directory(newAlias()))).toMatchObject({
      status: 404,
      body: { errcode: 'M_NOT_FOUND' },
    })
  })

  it('of another server or another form is refused', async () => {
    const { alice, room } = await joinedRoom()
    for (const alias of ['#a:elsewhere.example', 'nohash', '#noserver']) {
      const answer = await alice.ask('PUT', directory(alias), { body: { room_id: room } })
      expect(answer.status).toBeGreaterThanOrEqual(400)
      expect(answer.status).toBeLessThan(404)
    }
  })

  it('is deleted by who made it', async () => {
    const { alice, room } = await joinedRoom()
    const alias = newAlias()
    await alice.call('PUT', directory(alias), { body: { room_id: room } })
    await alice.call('DELETE', directory(alias))
    expect((await alice.ask('GET', directory(alias))).status).toBe(404)
    expect((await alice.ask('DELETE', directory(alias))).status).toBe(404)
  })

  it('is not deleted by another user, but by one who has the power', async () => {
    const { alice, bob, room } = await joinedRoom()
    const [one, two] = [newAlias(), newAlias()]
    await alice.call('PUT', directory(one), { body: { room_id: room } })
    await bob.call('PUT', directory(two), { body: { room_id: room } })
    expect(await bob.ask('DELETE', directory(one))).toMatchObject({
      status: 403,
      body: { errcode: 'M_FORBIDDEN' },
    })
    await alice.call('DELETE', directory(two))
  })

  it('list is for members, unless anybody may read the room', async () => {
    const { alice, room } = await joinedRoom()
    const stranger = await register(server)
    expect((await stranger.ask('GET', stranger.room(room, 'aliases'))).status).toBe(403)
    await alice.setState(room, 'm.room.history_visibility', '', {
      history_visibility: 'world_readable',
    })
    expect(await stranger.call('GET', stranger.room(room, 'aliases'))).toEqual({ aliases: [] })
  })
})

describe('a canonical alias', () => {
  it('must point to the room', async () => {
    const { alice, room } = await joinedRoom()
    const [mine, other] = [newAlias(), newAlias()]
    await alice.call('PUT', directory(mine), { body: { room_id: room } })
    await alice.call('PUT', directory(other), { body: { room_id: await alice.createRoom() } })
    await alice.setState(room, 'm.room.canonical_alias', '', { alias: mine, alt_aliases: [mine] })
    const set = (content: object) =>
      alice.ask('PUT', alice.room(room, 'state', 'm.room.canonical_alias', ''), { body: content })
    expect(await set({ alias: other })).toMatchObject({
      status: 400,
      body: { errcode: 'M_BAD_ALIAS' },
    })
    expect(await set({ alias: newAlias() })).toMatchObject({
      status: 400,
      body: { errcode: 'M_BAD_ALIAS' },
    })
    expect(await set({ alias: mine, alt_aliases: [other] })).toMatchObject({
      status: 400,
      body: { errcode: 'M_BAD_ALIAS' },
    })
    expect(await set({ alias: '%nonsense' })).toMatchObject({
      status: 400,
      body: { errcode: 'M_INVALID_PARAM' },
    })
    expect(await set({ alias: mine, alt_aliases: ['%nonsense'] })).toMatchObject({
      status: 400,
      body: { errcode: 'M_INVALID_PARAM' },
    })
  })

  it('that is gone already does not hinder other changes', async () => {
    const { alice, room } = await joinedRoom()
    const alias = newAlias()
    await alice.call('PUT', directory(alias), { body: { room_id: room } })
    await alice.setState(room, 'm.room.canonical_alias', '', { alias })
    await alice.call('DELETE', directory(alias))
    await alice.setState(room, 'm.room.canonical_alias', '', {})
  })
})
