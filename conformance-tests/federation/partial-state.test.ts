/**
 * Rooms that are joined without their members, as Folkmoot does with FASTER_JOINS=true. The peer keeps the state back
 * until a test lets it go; a server that does not ask for less has nothing to show here.
 * {@link https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_joinroomideventid}
 */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  type Client,
  eventually,
  inSection,
  inTimeline,
  register,
  unique,
} from '../harness/client.ts'
import { createDeviceKeys } from '../harness/device-keys.ts'
import { launchBeside, server as shared } from '../harness/fixtures.ts'
import { type Body, isBody } from '../harness/http.ts'
import { eventId, type Pdu } from '../harness/pdu.ts'
import { createPeer, type Peer } from '../harness/peer.ts'
import type { PeerRoom } from '../harness/room-builder.ts'
import type { Homeserver, LaunchedServer } from '../harness/server.ts'
import { urlUnderTest } from '../harness/settings.ts'

const lazy = JSON.stringify({
  room: { state: { lazy_load_members: true }, timeline: { lazy_load_members: true } },
})
const members = (roomId: string) => `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/members`

let isFaster = false
let server: Homeserver = shared
let launched: LaunchedServer | undefined

/** A peer that leaves members out where it is asked to, and answers for the state only when it is let. */
async function createKeeper() {
  const peer = await createPeer()
  let open = () => {}
  const gate = new Promise<void>((resolve) => {
    open = resolve
  })
  let omitted = false
  peer.on('PUT', /^\/_matrix\/federation\/v2\/send_join\/([^/]+)\/([^/]+)$/, (request, match) => {
    const room = peer.rooms.get(match[1] ?? '')
    if (room === undefined) return undefined
    omitted = request.query.get('omit_members') === 'true'
    const before = [...room.state]
    room.add({ id: eventId(request.body, room.version), json: request.body })
    const kept = before.filter(([key]) => !(omitted && key.startsWith('m.room.member')))
    const state = kept.map(([, id]) => id)
    return {
      origin: peer.name,
      event: request.body,
      members_omitted: omitted,
      servers_in_room: [peer.name],
      state: room.jsonOf(state),
      auth_chain: room.jsonOf(room.authChain([...state, eventId(request.body, room.version)])),
    }
  })
  peer.on('GET', /^\/_matrix\/federation\/v1\/state_ids\/([^/]+)$/, async ({ query }, match) => {
    await gate
    const room = peer.rooms.get(match[1] ?? '')
    const state = room?.before.get(query.get('event_id') ?? '')
    return (
      room &&
      state && { pdu_ids: [...state.values()], auth_chain_ids: room.authChain(state.values()) }
    )
  })
  return {
    peer,
    omitted: () => omitted,
    /** Lets the state go. */
    release: () => open(),
    async [Symbol.asyncDispose]() {
      open()
      await peer[Symbol.asyncDispose]()
    },
  }
}

/** A room of the peer with its creator and derek in it. */
function roomWithDerek(peer: Peer, powers: Body = {}): PeerRoom {
  const room = peer.createRoom('11')
  const creator = peer.user('creator')
  if (Object.keys(powers).length > 0)
    room.append({
      ...{ type: 'm.room.power_levels', stateKey: '', sender: creator },
      content: { users: { [creator]: 100, ...powers } },
    })
  change(room, peer.user('derek'), 'join')
  return room
}

function change(room: PeerRoom, user: string, membership: string): Pdu {
  const draft = { type: 'm.room.member', sender: user, stateKey: user, content: { membership } }
  if (membership === 'join') return room.append(draft)
  // Whoever leaves is not authorised by the join rules.
  const own = room.lookUp('m.room.member', user) ?? ''
  const [create, levels] = ['m.room.create', 'm.room.power_levels'].map((type) => room.lookUp(type))
  return room.append({ ...draft, auth: [create ?? '', levels ?? '', own] })
}

/** A room of the peer that alice has joined. */
async function joinOf(peer: Peer): Promise<{ room: PeerRoom; alice: Client }> {
  const room = roomWithDerek(peer)
  const alice = await register(server, 'alice')
  await alice.join(room.roomId, [peer.name])
  return { room, alice }
}

function says(room: PeerRoom, sender: string, body = 'hello'): Pdu {
  return room.append({ type: 'm.room.message', sender, content: { msgtype: 'm.text', body } })
}

const isOf = (roomId: string) => (answer: unknown) =>
  Object(Object(Object(answer)['rooms'])['join'])[roomId] !== undefined

const seen = (alice: Client, roomId: string, id: string, since?: string) =>
  alice.syncUntil(
    inTimeline(roomId, ({ event_id }) => event_id === id),
    { filter: lazy, ...(since !== undefined && { since }) },
  )

const event = (alice: Client, roomId: string, id: string) =>
  alice.ask(
    'GET',
    `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/event/${encodeURIComponent(id)}`,
  )

beforeAll(async () => {
  if (urlUnderTest === undefined) {
    launched = await launchBeside({ FASTER_JOINS: 'true' })
    server = launched
  }
  await using keeper = await createKeeper()
  const room = roomWithDerek(keeper.peer)
  const alice = await register(server, 'alice')
  keeper.release()
  await alice.join(room.roomId, [keeper.peer.name])
  isFaster = keeper.omitted()
})
afterAll(() => launched?.stop())

describe('a room that was joined without its members', () => {
  beforeEach(({ skip }) => {
    if (!isFaster) skip('the server joins with all members')
  })

  it('is in lazy syncs at once, and in others when its members are here', async () => {
    await using keeper = await createKeeper()
    const { room, alice } = await joinOf(keeper.peer)
    await alice.syncUntil(inSection('join', room.roomId), { filter: lazy })
    const eager = await alice.sync()
    expect(isOf(room.roomId)(eager)).toBe(false)
    const sent = await alice.sendText(room.roomId, 'from here')
    await keeper.peer.receivesPdu((pdu) => Object(pdu['content'])['body'] === 'from here')
    await seen(alice, room.roomId, sent)
    expect(isOf(room.roomId)(await alice.sync({ since: eager.next_batch }))).toBe(false)
    const waiting = alice.syncUntil(inSection('join', room.roomId), { since: eager.next_batch })
    keeper.release()
    const { rooms } = await waiting
    const { state, timeline } = Object(Object(rooms)['join'])[room.roomId]
    const users = [...state.events, ...timeline.events]
      .filter(({ type }: Body) => type === 'm.room.member')
      .map(({ state_key }: Body) => state_key)
    expect(new Set(users)).toEqual(
      new Set([keeper.peer.user('creator'), keeper.peer.user('derek'), alice.userId]),
    )
    expect(keeper.peer.complaints).toEqual([])
  })

  it('keeps those waiting who ask for its members', async () => {
    await using keeper = await createKeeper()
    const { room, alice } = await joinOf(keeper.peer)
    await keeper.peer.receives(({ path }) => path.includes('/state_ids/'))
    let isAnswered = false
    const all = alice.ask('GET', members(room.roomId)).finally(() => {
      isAnswered = true
    })
    const joined = alice.ask('GET', members(room.roomId).replace('/members', '/joined_members'))
    await seen(alice, room.roomId, await alice.sendText(room.roomId, 'meanwhile'))
    expect(isAnswered).toBe(false)
    keeper.release()
    const list: unknown = (await all).body['chunk']
    expect((Array.isArray(list) ? list : []).map(({ state_key }) => state_key).sort()).toEqual(
      [keeper.peer.user('creator'), keeper.peer.user('derek'), alice.userId].sort(),
    )
    expect(Object.keys(Object((await joined).body['joined']))).toContain(keeper.peer.user('derek'))
  })

  it('takes events, shows who sent them, and says nothing of its state until it is whole', async () => {
    await using keeper = await createKeeper()
    const { peer } = keeper
    const { room, alice } = await joinOf(peer)
    const { next_batch: since } = await alice.syncUntil(inSection('join', room.roomId), {
      filter: lazy,
    })
    const message = says(room, peer.user('derek'))
    await peer.transact(server, [message])
    const { rooms } = await seen(alice, room.roomId, message.id, since)
    const { state } = Object(Object(rooms)['join'])[room.roomId]
    expect(state.events.map(({ state_key }: Body) => state_key)).toContain(peer.user('derek'))
    const place = `${encodeURIComponent(room.roomId)}?event_id=${encodeURIComponent(message.id)}`
    const asked = peer.ask(server, 'GET', `/_matrix/federation/v1/state_ids/${place}`)
    keeper.release()
    const { status, body } = await asked
    // It may wait, or refuse; what it answers is whole.
    if (status === 200)
      expect(new Set(Object(body)['pdu_ids'])).toEqual(
        new Set(room.before.get(message.id)?.values()),
      )
    else expect(status).toBe(403)
  })

  it('lets nobody in who comes from elsewhere', async () => {
    await using keeper = await createKeeper()
    await using other = await createPeer()
    const { room } = await joinOf(keeper.peer)
    const daniel = other.user('daniel')
    const where = `${encodeURIComponent(room.roomId)}/${encodeURIComponent(daniel)}?ver=11`
    const refused = { status: 404, body: { errcode: 'M_NOT_FOUND' } }
    for (const action of ['make_join', 'make_knock'])
      expect(
        await other.ask(server, 'GET', `/_matrix/federation/v1/${action}/${where}`),
      ).toMatchObject(refused)
    for (const [version, action, membership] of [
      ['2', 'send_join', 'join'],
      ['1', 'send_knock', 'knock'],
    ]) {
      const content = { membership }
      const draft = { type: 'm.room.member', sender: daniel, stateKey: daniel, content }
      const json = other.signEvent(room.template(draft), '11')
      const place = `${encodeURIComponent(room.roomId)}/${encodeURIComponent(eventId(json, '11'))}`
      const uri = `/_matrix/federation/v${version}/${action}/${place}`
      expect(await other.ask(server, 'PUT', uri, json)).toMatchObject(refused)
    }
  })

  it('takes back what its members show to be wrong', async () => {
    await using keeper = await createKeeper()
    const { peer } = keeper
    const derek = peer.user('derek')
    const room = roomWithDerek(peer, { [derek]: 50 })
    const join = room.lookUp('m.room.member', derek) ?? ''
    change(room, derek, 'leave')
    const alice = await register(server, 'alice')
    await alice.join(room.roomId, [peer.name])
    const auth = ['m.room.create', 'm.room.power_levels'].map((type) => room.lookUp(type) ?? '')
    const draft = { type: 'org.example.test', stateKey: '', sender: derek, content: { bad: true } }
    const bad = room.build({ ...draft, auth: [...auth, join] })
    await peer.transact(server, [bad])
    await seen(alice, room.roomId, bad.id)
    const good = says(room, peer.user('creator'), unique('good'))
    await peer.transact(server, [good])
    await seen(alice, room.roomId, good.id)
    keeper.release()
    await alice.syncUntil(inSection('join', room.roomId))
    expect(await event(alice, room.roomId, bad.id)).toMatchObject({ status: 404 })
    expect(await event(alice, room.roomId, good.id)).toMatchObject({ status: 200 })
    const where = `/_matrix/client/v3/rooms/${encodeURIComponent(room.roomId)}/state/org.example.test`
    expect((await alice.ask('GET', where)).status).toBe(404)
  })

  it('takes in what it wrongly refused', async () => {
    await using keeper = await createKeeper()
    const { peer } = keeper
    const [derek, elsie] = [peer.user('derek'), peer.user('elsie')]
    const room = roomWithDerek(peer, { [derek]: 100, [elsie]: 50 })
    const derekJoin = room.lookUp('m.room.member', derek) ?? ''
    change(room, derek, 'leave')
    const elsieJoin = change(room, elsie, 'join').id
    const alice = await register(server, 'alice')
    await alice.join(room.roomId, [peer.name])
    const auth = ['m.room.create', 'm.room.power_levels'].map((type) => room.lookUp(type) ?? '')
    const kick = room.build({
      ...{ type: 'm.room.member', stateKey: elsie, sender: derek },
      content: { membership: 'leave' },
      auth: [...auth, derekJoin, elsieJoin],
    })
    const state = room.append({
      ...{ type: 'org.example.test', stateKey: '', sender: elsie, content: { good: true } },
      prev: [kick.id],
      auth: [...auth, elsieJoin],
    })
    await peer.transact(server, [kick, state])
    await seen(alice, room.roomId, kick.id)
    expect(await event(alice, room.roomId, state.id)).toMatchObject({ status: 404 })
    keeper.release()
    await alice.syncUntil(inSection('join', room.roomId))
    expect(await event(alice, room.roomId, state.id)).toMatchObject({ status: 200 })
    expect(await event(alice, room.roomId, kick.id)).toMatchObject({ status: 404 })
    expect(await alice.getState(room.roomId, 'org.example.test')).toEqual({ good: true })
  })

  it('hears who types and what is read', async () => {
    await using keeper = await createKeeper()
    const { peer } = keeper
    const { room, alice } = await joinOf(peer)
    const derek = peer.user('derek')
    const typing = { room_id: room.roomId, user_id: derek, typing: true }
    const read = { 'm.read': { [derek]: { data: { ts: 1 }, event_ids: ['$test'] } } }
    await peer.transact(
      server,
      [],
      [
        { edu_type: 'm.typing', content: typing },
        { edu_type: 'm.receipt', content: { [room.roomId]: read } },
      ],
    )
    const types = async () => {
      const answer = await alice.sync({ filter: lazy })
      const { ephemeral } = Object(Object(Object(answer)['rooms'])['join'])[room.roomId] ?? {}
      const events: Body[] = (ephemeral?.events ?? []).filter(isBody)
      return events.map(({ type }) => type).sort()
    }
    await eventually(types, (found) => found.join() === 'm.receipt,m.typing')
  })

  it('has the events that came with a gap before them', async () => {
    await using keeper = await createKeeper()
    const { peer } = keeper
    const { room, alice } = await joinOf(peer)
    const derek = peer.user('derek')
    const join = room.lookUp('m.room.member', alice.userId) ?? ''
    const first = says(room, derek, 'not sent')
    const draft = { type: 'm.room.message', sender: derek, content: { body: 'x' } }
    const last = room.append({ ...draft, prev: [first.id, join] })
    await peer.transact(server, [last])
    await seen(alice, room.roomId, last.id)
    keeper.release()
    await alice.syncUntil(inSection('join', room.roomId))
    expect(await event(alice, room.roomId, first.id)).toMatchObject({ status: 200 })
  })

  it('tells its servers of the devices of its members here, and these of devices there', async () => {
    await using keeper = await createKeeper()
    const { peer } = keeper
    const { room, alice } = await joinOf(peer)
    const { next_batch: since } = await alice.syncUntil(inSection('join', room.roomId), {
      filter: lazy,
    })
    const isUpdate = ({ edu_type }: Body) => edu_type === 'm.device_list_update'
    const before = peer.edus().filter(isUpdate).length
    await alice.call('POST', '/_matrix/client/v3/keys/upload', {
      body: { device_keys: createDeviceKeys(alice).deviceKeys },
    })
    await eventually(
      async () => peer.edus().filter(isUpdate).length,
      (count) => count > before,
    )
    const content = { user_id: peer.user('derek'), device_id: 'ONE', stream_id: 1 }
    await peer.transact(server, [], [{ edu_type: 'm.device_list_update', content }])
    keeper.release()
    const hasChanged = (answer: object) =>
      JSON.stringify(Object(answer)['device_lists']?.changed ?? []).includes(peer.user('derek'))
    await alice.syncUntil(hasChanged, { filter: lazy, since })
  })

  it('can be left', async () => {
    await using keeper = await createKeeper()
    const { peer } = keeper
    const { room, alice } = await joinOf(peer)
    await alice.leave(room.roomId)
    await peer.receivesPdu(
      ({ state_key, content }) =>
        state_key === alice.userId && Object(content)['membership'] === 'leave',
    )
    expect(isOf(room.roomId)(await alice.sync({ filter: lazy }))).toBe(false)
  })

  it('is completed though its server fails at first', async () => {
    await using keeper = await createKeeper()
    const room = roomWithDerek(keeper.peer)
    let asked = 0
    keeper.peer.on('GET', /^\/_matrix\/federation\/v1\/state_ids\//, ({ query }) => {
      const state = room.before.get(query.get('event_id') ?? '')
      if (asked++ === 0 || state === undefined) return {}
      return { pdu_ids: [...state.values()], auth_chain_ids: room.authChain(state.values()) }
    })
    const alice = await register(server, 'alice')
    await alice.join(room.roomId, [keeper.peer.name])
    await alice.syncUntil(inSection('join', room.roomId))
    expect(asked).toBeGreaterThan(1)
  })
})
