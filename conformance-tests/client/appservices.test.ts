/** Application services: what they are told, what they are asked, and what they alone may do. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Appservice, startAppservice } from '../harness/appservice.ts'
import { type Client, clientOf, eventually, register, unique } from '../harness/client.ts'
import { itSynapseBreaks } from '../harness/exceptions.ts'
import { ask, type Body, path, send } from '../harness/http.ts'
import { type Federation, startFederation } from '../harness/pair.ts'
import type { LaunchedServer } from '../harness/server.ts'
import { launcherUnderTest, urlUnderTest } from '../harness/settings.ts'

const v3 = '/_matrix/client/v3'
let federation: Federation | undefined
let dir = ''
let service: Appservice
let home: LaunchedServer

beforeAll(async () => {
  if (urlUnderTest !== undefined) return
  dir = mkdtempSync(join(tmpdir(), 'conformance-'))
  service = await startAppservice(dir, {
    id: 'bridge',
    sender_localpart: 'bridged_bot',
    rate_limited: false,
    receive_ephemeral: true,
    'de.sorunome.msc2409.push_ephemeral': true,
    'org.matrix.msc3202': true,
    protocols: ['net'],
    namespaces: {
      users: [{ exclusive: true, regex: '@bridged_.*' }],
      aliases: [{ exclusive: true, regex: '#bridged_.*' }],
      rooms: [],
    },
  })
  federation = await startFederation([
    { launcher: launcherUnderTest, env: { HS_APPSERVICES: service.file } },
  ])
  const [first] = federation.servers
  if (!first) throw new Error('one server')
  home = first
})
afterAll(async () => {
  await federation?.[Symbol.asyncDispose]()
  await service?.[Symbol.asyncDispose]()
  if (dir !== '') rmSync(dir, { recursive: true, force: true })
})

/** A user of the service. */
async function ghost(): Promise<string> {
  const username = unique('bridged_ghost')
  const body = { type: 'm.login.application_service', username, inhibit_login: true }
  await send(home.clientUrl, 'POST', `${v3}/register`, { token: service.asToken, body })
  return `@${username}:${home.name}`
}

const as = (user: string, method: string, where: string, body: Body = {}) =>
  send(home.clientUrl, method, where, { token: service.asToken, query: { user_id: user }, body })

async function bridged(): Promise<{ alice: Client; user: string; room: string }> {
  const [alice, user] = await Promise.all([register(home, 'alice'), ghost()])
  const room = await alice.createRoom({ preset: 'public_chat' })
  await as(user, 'POST', path(`${v3}/join`, room))
  return { alice, user, room }
}

const told = () => service.taken.flatMap(({ events }) => events)
const heard = () => service.taken.flatMap(({ ephemeral }) => ephemeral)

/** Waits until the service has been told of an event. */
const toldOf = (id: string) =>
  eventually(
    async () => told().map(({ event_id }) => event_id),
    (ids) => ids.includes(id),
  )

describe.skipIf(urlUnderTest !== undefined)('an application service', () => {
  it('is told of the events of rooms with its users, in order and once', async () => {
    const { alice, room } = await bridged()
    const sent: string[] = []
    for (const text of ['one', 'two', 'three']) sent.push(await alice.sendText(room, text))
    await toldOf(sent[2] ?? '')
    const ids = told().map(({ event_id }) => event_id)
    expect(ids.filter((id) => sent.includes(id))).toEqual(sent)
    const [event] = told().filter(({ event_id }) => event_id === sent[0])
    expect(event).toMatchObject({
      ...{ room_id: room, sender: alice.userId, type: 'm.room.message' },
      content: { body: 'one' },
    })
    expect(service.strangers).toEqual([])
  })

  it('is told of an invite of one of its users', async () => {
    const [alice, user] = await Promise.all([register(home, 'alice'), ghost()])
    const room = await alice.createRoom({ invite: [user] })
    await eventually(
      async () => told(),
      (events) =>
        events.some(
          ({ type, room_id, state_key, content }) =>
            type === 'm.room.member' &&
            room_id === room &&
            state_key === user &&
            content['membership'] === 'invite',
        ),
    )
  })

  it('is told nothing of other rooms', async () => {
    const alice = await register(home, 'alice')
    const other = await alice.createRoom({})
    const quiet = await alice.sendText(other, 'psst')
    const { alice: bob, room } = await bridged()
    await toldOf(await bob.sendText(room, 'hello'))
    expect(told().map(({ event_id }) => event_id)).not.toContain(quiet)
  })

  it('is told again, the same, until it has understood', async () => {
    const { alice, room } = await bridged()
    await toldOf(await alice.sendText(room, 'before'))
    const refused: string[] = []
    service.answer = (_, where) => {
      if (!where.includes('/transactions/')) return { status: 200 }
      if (refused.length >= 2) return { status: 200 }
      refused.push(where)
      return { status: 500 }
    }
    const event = await alice.sendText(room, 'during')
    await toldOf(event)
    service.answer = () => ({ status: 200 })
    // Servers may fall back to an older path after a refusal.
    expect(new Set(refused.map((where) => where.split('/').at(-1))).size).toBe(1)
    const times = told().filter(({ event_id }) => event_id === event)
    expect(times).toHaveLength(1)
  })

  it('is told after a restart of what happened before', async () => {
    const { alice, room } = await bridged()
    await toldOf(await alice.sendText(room, 'before'))
    service.answer = () => ({ status: 503 })
    const sent = [await alice.sendText(room, 'missed'), await alice.sendText(room, 'too')]
    await home.stop()
    service.answer = () => ({ status: 200 })
    await home.start()
    sent.push(await alice.sendText(room, 'after'))
    await toldOf(sent[2] ?? '')
    const ids = told().map(({ event_id }) => event_id)
    expect(ids.filter((id) => sent.includes(id))).toEqual(sent)
  })

  it('hears who types and who has read', async () => {
    const { alice, room } = await bridged()
    const event = await alice.sendText(room, 'read this')
    await toldOf(event)
    await alice.call('PUT', path(alice.room(room, 'typing'), alice.userId), {
      body: { typing: true, timeout: 20_000 },
    })
    await alice.call('POST', alice.room(room, 'receipt', 'm.read', event), { body: {} })
    await eventually(
      async () => heard().filter(({ room_id }) => room_id === room),
      (mine) =>
        mine.some(
          ({ type, ...rest }) => type === 'm.typing' && JSON.stringify(rest).includes(alice.userId),
        ) &&
        mine.some(
          ({ type, ...rest }) => type === 'm.receipt' && JSON.stringify(rest).includes(event),
        ),
    )
  })

  it('is asked for an alias of its own that is not there', async () => {
    const alice = await register(home, 'alice')
    const alias = `#${unique('bridged_room')}:${home.name}`
    let room = ''
    service.answer = async (method, where) => {
      if (method !== 'GET' || !where.endsWith(`/rooms/${alias}`)) return { status: 200 }
      const options = { room_alias_name: alias.slice(1).split(':')[0], preset: 'public_chat' }
      const made = await send(home.clientUrl, 'POST', `${v3}/createRoom`, {
        token: service.asToken,
        body: options,
      })
      room = String(made['room_id'])
      return { status: 200 }
    }
    expect(await alice.join(alias)).toBe(room)
    service.answer = () => ({ status: 200 })
  })

  it('answers a ping that it asked for', async () => {
    const where = '/_matrix/client/v1/appservice/bridge/ping'
    const options = { token: service.asToken, body: { transaction_id: 'meow' } }
    const good = await ask(home.clientUrl, 'POST', where, options)
    expect(good).toMatchObject({ status: 200, body: { duration_ms: expect.any(Number) } })
    service.answer = () => ({ status: 403, body: { errcode: 'M_FORBIDDEN' } })
    const bad = await ask(home.clientUrl, 'POST', where, options)
    service.answer = () => ({ status: 200 })
    expect(bad).toMatchObject({ status: 502, body: { errcode: 'M_BAD_STATUS', status: 403 } })
    const alice = await register(home, 'alice')
    expect((await alice.ask('POST', where, { body: {} })).status).toBe(403)
  })

  it('speaks for a network', async () => {
    const alice = await register(home, 'alice')
    const about = { user_fields: ['nick'], location_fields: ['channel'], icon: '', instances: [] }
    const ghostly = `@bridged_nick:${home.name}`
    const found = {
      '/protocol/net': { ...about, field_types: {} },
      '/user/net': [{ userid: ghostly, protocol: 'net', fields: { nick: 'nick' } }],
    }
    service.answer = (_, where) => {
      const key = where.split('/thirdparty')[1] ?? ''
      for (const [path, body] of Object.entries(found))
        if (path === key) return { status: 200, body }
      return { status: 200 }
    }
    const base = `${v3}/thirdparty`
    const all = await alice.call('GET', `${base}/protocols`)
    const users = await alice.ask('GET', `${base}/user/net`, { query: { nick: 'nick' } })
    const none = await alice.ask('GET', `${base}/protocol/other`)
    service.answer = () => ({ status: 200 })
    expect(all).toMatchObject({ net: about })
    expect(JSON.parse(users.text)).toMatchObject(found['/user/net'])
    expect(none.status).toBe(404)
  })

  itSynapseBreaks('Retrieve an array of third-party network locations from a Matrix room alias.')(
    'tells what an alias stands for in its network',
    async () => {
      const alice = await register(home, 'alice')
      const alias = `#bridged_room:${home.name}`
      const found = [{ alias, protocol: 'net', fields: { channel: '#room' } }]
      service.answer = (_, where) =>
        where.endsWith('/thirdparty/location') ? { status: 200, body: found } : { status: 200 }
      const answer = await alice.ask('GET', `${v3}/thirdparty/location`, { query: { alias } })
      service.answer = () => ({ status: 200 })
      expect(JSON.parse(answer.text)).toMatchObject(found)
    },
  )

  it('lists rooms of its networks, apart from those of the server', async () => {
    const alice = await register(home, 'alice')
    const room = await alice.createRoom({ preset: 'public_chat' })
    const where = path(`${v3}/directory/list/appservice/net`, room)
    const body = { visibility: 'public' }
    expect((await alice.ask('PUT', where, { body })).status).toBe(403)
    await send(home.clientUrl, 'PUT', where, { token: service.asToken, body })
    const listed = async (more: Body) => {
      const answer = await alice.call('POST', `${v3}/publicRooms`, { body: more })
      const chunk = Array.isArray(answer['chunk']) ? answer['chunk'] : []
      return chunk.some((one) => Object(one)['room_id'] === room)
    }
    const ofNetwork = { third_party_instance_id: 'bridge|net' }
    expect(await listed({})).toBe(false)
    expect(await listed(ofNetwork)).toBe(true)
    expect(await listed({ third_party_instance_id: 'bridge|other' })).toBe(false)
    expect(await listed({ include_all_networks: true })).toBe(true)
    const hidden = { token: service.asToken, body: { visibility: 'private' } }
    await send(home.clientUrl, 'PUT', where, hidden)
    expect(await listed(ofNetwork)).toBe(false)
  })

  it('has its users to itself', async () => {
    const username = unique('bridged_thief')
    const auth = { type: 'm.login.dummy' }
    const answer = await ask(home.clientUrl, 'POST', `${v3}/register`, {
      body: { username, password: 'a fairly long password', auth },
    })
    expect(answer).toMatchObject({ status: 400, body: { errcode: 'M_EXCLUSIVE' } })
  })

  it('may say when something was said', async () => {
    const { user, room, alice } = await bridged()
    const where = path(`${v3}/rooms`, room, 'send', 'm.room.message', unique('t'))
    const sent = await send(home.clientUrl, 'PUT', where, {
      token: service.asToken,
      query: { user_id: user, ts: 1_500_000_000_000 },
      body: { msgtype: 'm.text', body: 'long ago' },
    })
    const event = await alice.event(room, String(sent['event_id']))
    expect(event).toMatchObject({ sender: user, origin_server_ts: 1_500_000_000_000 })
  })

  it('is told of messages to the devices of its users', async () => {
    const [alice, user] = await Promise.all([register(home, 'alice'), ghost()])
    const device = clientOf(home, {
      ...{ user_id: user, device_id: 'GHOST' },
      access_token: String(
        (
          await send(home.clientUrl, 'POST', `${v3}/login`, {
            token: service.asToken,
            body: {
              type: 'm.login.application_service',
              identifier: { type: 'm.id.user', user },
              device_id: 'GHOST',
            },
          })
        )['access_token'],
      ),
    })
    await alice.call('PUT', path(`${v3}/sendToDevice`, 'com.example.secret', unique('t')), {
      body: { messages: { [device.userId]: { GHOST: { note: 'for the ghost' } } } },
    })
    await eventually(
      async () => service.taken.flatMap((taken) => taken['de.sorunome.msc2409.to_device']),
      (all) =>
        all.some(
          ({ type, ...rest }) =>
            type === 'com.example.secret' &&
            rest['to_user_id'] === user &&
            rest['to_device_id'] === 'GHOST',
        ),
    )
  })
})
