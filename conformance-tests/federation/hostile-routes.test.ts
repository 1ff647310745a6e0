/** Every way by which another server's event comes in, with every fault that an event can have. */
import { beforeAll, describe, expect, it } from 'vitest'
import { type Client, eventually, inSection, register, unique } from '../harness/client.ts'
import { server } from '../harness/fixtures.ts'
import { isBody } from '../harness/http.ts'
import { createPeer, type Peer } from '../harness/peer.ts'
import { type Fault, faults, wasAddedTo } from '../harness/peer-faults.ts'
import { createPeerRoom, type Draft, type PeerRoom } from '../harness/room-builder.ts'
import { underTestIsSynapse } from '../harness/settings.ts'

const version = '11'
let peer: Peer
let alice: Client
let creator: string
let foreign: PeerRoom

beforeAll(async () => {
  peer = await createPeer()
  alice = await register(server, 'alice')
  creator = peer.user('creator')
  foreign = await hosted()
  return () => peer[Symbol.asyncDispose]()
})

/** Limits that Synapse does not hold invites to, nor state that it is given. */
const limits = /^(more than|a greater|a negative|a fraction)/
const isMissed = (fault: Fault) => underTestIsSynapse && limits.test(fault.name)

const text = (body: string): Draft => ({
  type: 'm.room.message',
  sender: creator,
  content: { msgtype: 'm.text', body },
})
const state = (type: string): Draft => ({ type, stateKey: '', sender: creator, content: { type } })
const scene = (room: PeerRoom) => ({ peer, room, foreign, victim: alice.userId })
const federation = (rest: string, ...parts: readonly string[]) =>
  `/_matrix/federation/${rest}/${parts.map(encodeURIComponent).join('/')}`

/** A room of the peer that alice has joined. */
async function hosted(): Promise<PeerRoom> {
  const room = peer.createRoom(version)
  await alice.join(room.roomId, [peer.name])
  return room
}

/** The peer answers a question about the room in this way. */
function answers(method: string, question: string, room: PeerRoom, answer: () => object): void {
  const id = room.roomId.replaceAll(/[^A-Za-z0-9!:]/g, '.')
  peer.on(method, new RegExp(`/${question}/${id}`), () => ({ ...answer() }))
}

async function shown({ roomId }: PeerRoom, id: string): Promise<void> {
  await eventually(
    async () => (await alice.messages(roomId, { limit: 30 })).chunk,
    (chunk) => chunk.some(({ event_id }) => event_id === id),
  )
}

/** An honest event gets through, so that what came before it has been dealt with. */
async function mark(room: PeerRoom, draft: Partial<Draft> = {}): Promise<void> {
  const event = room.build({ ...text(unique('mark')), ...draft })
  await peer.transact(server, [event])
  await shown(room, event.id)
}

async function expectEvent(fault: Fault, room: PeerRoom, id: string): Promise<void> {
  for (const roomId of [room.roomId, foreign.roomId]) {
    const { status, body } = await alice.ask('GET', alice.room(roomId, 'event', id))
    expect(wasAddedTo(body['content'])).toBe(false)
    if (fault.outcome === 'refused') expect(status).toBe(404)
    else if (roomId === room.roomId) expect(status).toBe(200)
  }
}

async function expectState(fault: Fault, room: PeerRoom, type: string): Promise<void> {
  const { status, body } = await alice.ask('GET', alice.room(room.roomId, 'state', type, ''))
  if (fault.outcome === 'refused') expect(status).toBe(404)
  else expect(body).toEqual(fault.outcome === 'redacted' ? {} : { type })
}

describe.each(faults.map((fault) => [fault.name, fault] as const))(
  'an event with %s',
  (_, fault) => {
    it('comes in a transaction', async () => {
      const room = await hosted()
      const pdu = fault.make(scene(room), text('wrong'))
      const { status } = await peer.transact(server, [pdu])
      expect(status).toBe(200)
      await mark(room)
      await expectEvent(fault, room, pdu.id)
    })

    it('comes as history that was asked for', async () => {
      const room = peer.createRoom(version)
      const pdu = room.add(fault.make(scene(room), text('wrong')))
      const after = room.append(text('after it'))
      await alice.join(room.roomId, [peer.name])
      // Synapse leaves out what follows something that cannot be had.
      if (!underTestIsSynapse) await shown(room, after.id)
      const { chunk } = await alice.messages(room.roomId, { limit: 30 })
      const found = chunk.find(({ event_id }) => event_id === pdu.id)
      expect(wasAddedTo(found?.content)).toBe(false)
      if (fault.outcome === 'refused') expect(found).toBeUndefined()
    })

    it('comes among missing events', async () => {
      const room = await hosted()
      const prev = [...room.tips]
      const pdu = room.add(fault.make(scene(room), text('wrong')))
      // What follows something that cannot be had may be left out with it.
      await peer.transact(server, [room.append(text('after it'))])
      await mark(room, { prev })
      await expectEvent(fault, room, pdu.id)
    })

    // Synapse leaves out what follows a state with events of another room in it.
    const isLost = underTestIsSynapse && fault.name.startsWith('auth events of')
    it.skipIf(isMissed(fault) || isLost).each([
      ['is fetched alone, as part of a state', 0],
      ['comes with a whole state', 60],
    ])('%s', async (_, others) => {
      const room = await hosted()
      const type = 'org.example.wrong'
      room.add(fault.make(scene(room), state(type)))
      for (let n = 0; n < others; n++) room.append(state(`org.example.other${n}`))
      room.append(state('org.example.sound'))
      const last = room.append(text('last'))
      const after = room.append(text('after it'))
      // Of all that is missing only this, so that the state before it has to be asked for.
      answers('POST', 'get_missing_events', room, () => ({ events: [last.json] }))
      await peer.transact(server, [after])
      await shown(room, after.id)
      await expectState(fault, room, type)
      expect(await alice.getState(room.roomId, 'org.example.sound')).toMatchObject({})
    })

    it.each(['with an auth chain', 'alone, as an auth event'])('comes %s', async (way) => {
      const room = await hosted()
      const [levels, create, member] = [
        room.lookUp('m.room.power_levels') ?? '',
        room.lookUp('m.room.create') ?? '',
        room.lookUp('m.room.member', creator) ?? '',
      ]
      const prev = [...room.tips]
      if (way.startsWith('alone')) answers('GET', 'event_auth', room, () => ({ auth_chain: [] }))
      const content = { users: { [creator]: 100 } }
      const draft = { type: 'm.room.power_levels', stateKey: '', sender: creator, content }
      const pdu = room.add(fault.make(scene(room), draft))
      const child = room.add(room.build({ ...text('by it'), prev, auth: [create, pdu.id, member] }))
      await peer.transact(server, [child])
      await mark(room, { prev, auth: [create, levels, member] })
      const { status } = await alice.ask('GET', alice.room(room.roomId, 'event', child.id))
      if (fault.outcome === 'refused' && !isMissed(fault)) expect(status).toBe(404)
      // Synapse asks for no auth event alone.
      else if (!underTestIsSynapse) expect(status).toBe(200)
    })

    it.skipIf(isMissed(fault))('comes with the state of a room that is joined', async () => {
      const room = peer.createRoom(version)
      const type = 'org.example.wrong'
      room.add(fault.make(scene(room), state(type)))
      room.append(state('org.example.sound'))
      await alice.join(room.roomId, [peer.name])
      await alice.syncUntil(inSection('join', room.roomId))
      await expectState(fault, room, type)
      expect(await alice.getState(room.roomId, 'org.example.sound')).toMatchObject({})
    })

    it.each(['join', 'leave', 'knock'])('comes as a %s', async (kind) => {
      const rule = kind === 'knock' ? 'knock' : 'public'
      const roomId = await alice.createRoom({
        room_version: version,
        initial_state: [{ type: 'm.room.join_rules', state_key: '', content: { join_rule: rule } }],
      })
      const user = peer.user(unique('member'))
      if (kind === 'leave') await peer.join(server, roomId, user)
      const before = await membershipOf(roomId, user)
      const { room, draft } = await template(kind, roomId, user)
      const pdu = fault.make(scene(room), draft)
      const uri = federation(kind === 'knock' ? 'v1/send_knock' : `v2/send_${kind}`, roomId, pdu.id)
      const { status } = await peer.ask(server, 'PUT', uri, pdu.json)
      const after = await membershipOf(roomId, user)
      expect(wasAddedTo(after)).toBe(false)
      if (fault.outcome === 'refused') {
        expect(status).toBeGreaterThanOrEqual(400)
        expect(status).toBeLessThan(500)
        expect(after).toEqual(before)
      } else {
        expect(status).toBe(200)
        expect(after).toMatchObject({ membership: kind })
      }
    })

    it.skipIf(fault.needsRoom || isMissed(fault))('comes as an invite', async () => {
      const room = peer.createRoom(version, { joinRule: { join_rule: 'invite' } })
      const content = { membership: 'invite' }
      const draft = { type: 'm.room.member', sender: creator, stateKey: alice.userId, content }
      const pdu = fault.make(scene(room), draft)
      const { status, body } = await peer.ask(
        server,
        'PUT',
        federation('v2/invite', room.roomId, pdu.id),
        {
          room_version: version,
          event: pdu.json,
          invite_room_state: room.jsonOf([room.lookUp('m.room.create') ?? '']),
        },
      )
      const { rooms } = await alice.sync()
      if (fault.outcome === 'refused') {
        expect(status).toBeGreaterThanOrEqual(400)
        expect(status).toBeLessThan(500)
        expect(JSON.stringify(body)).not.toContain('signatures')
        expect(rooms.invite[room.roomId]).toBeUndefined()
      } else {
        // One whose content was changed may be refused as well: there is little left of it.
        expect([200, ...(fault.outcome === 'redacted' ? [400] : [])]).toContain(status)
        expect(JSON.stringify(rooms.invite[room.roomId] ?? {})).not.toContain('added_later')
      }
    })
  },
)

async function membershipOf(roomId: string, user: string): Promise<unknown> {
  const { status, body } = await alice.ask(
    'GET',
    alice.room(roomId, 'state', 'm.room.member', user),
  )
  return status === 200 ? body : undefined
}

/** What the server offers to sign, as a draft of the peer. */
async function template(kind: string, roomId: string, user: string) {
  const uri = `${federation(`v1/make_${kind}`, roomId, user)}?ver=${version}`
  const { body } = await peer.ask(server, 'GET', uri)
  const event = isBody(body['event']) ? body['event'] : {}
  const room = createPeerRoom({ version, server: peer.name, key: peer.key, roomId })
  const draft: Draft = {
    type: 'm.room.member',
    sender: user,
    stateKey: user,
    content: { membership: kind },
    prev: room.idsOf(event['prev_events']),
    auth: room.idsOf(event['auth_events']),
    depth: Number(event['depth']),
  }
  return { room, draft }
}

describe('events with all faults together', () => {
  const others = 1_100
  const timeout = 120_000

  it.skipIf(underTestIsSynapse)(
    'come with a large state, of which only the sound ones are kept',
    { timeout },
    async () => {
      const room = peer.createRoom(version)
      for (let n = 0; n < others; n++) room.append(state(`org.example.other${n}`))
      const typed = faults.map((fault, n) => ({ fault, type: `org.example.wrong${n}` }))
      for (const { fault, type } of typed) {
        // What cannot be the state of this room stands in it all the same.
        room.add(fault.make(scene(room), state(type)))
      }
      await alice.join(room.roomId, [peer.name])
      await alice.syncUntil(inSection('join', room.roomId))
      const types = new Set((await alice.allState(room.roomId)).map((event) => event.type))
      expect([...types].filter((type) => type.startsWith('org.example.other'))).toHaveLength(others)
      for (const { fault, type } of typed) await expectState(fault, room, type)
    },
  )
})

describe('events that refer to each other in a circle', () => {
  it.each(['prev_events', 'auth_events'])('by their %s stop no others', async (by) => {
    const room = peer.createRoom('1')
    await alice.join(room.roomId, [peer.name])
    const prev = [...room.tips]
    const ids = [1, 2, 3].map(() => `$${unique('circle')}:${peer.name}`)
    const circle = ids.map((id, at) => {
      const next = [[ids[(at + 1) % ids.length] ?? '', { sha256: 'x' }]]
      return room.build({ ...text('round and round'), prev, more: { event_id: id, [by]: next } })
    })
    for (const event of circle) room.add(event)
    const { status } = await peer.transact(server, circle.slice(0, 1))
    expect(status).toBe(200)
    await mark(room, { prev })
    if (by === 'auth_events') {
      for (const id of ids) {
        expect((await alice.ask('GET', alice.room(room.roomId, 'event', id))).status).toBe(404)
      }
    }
  })
})

describe('an event that names a member twice', () => {
  it.each(['first', 'last'])('is never read in two ways: the hashed one %s', async (place) => {
    const room = await hosted()
    const { id, json } = room.build(text('hashed'))
    const honest = JSON.stringify(json['content'])
    const other = JSON.stringify({ msgtype: 'm.text', body: 'smuggled' })
    const [first, last] = place === 'first' ? [honest, other] : [other, honest]
    const pdu = JSON.stringify(json).replace(
      `"content":${honest}`,
      `"content":${first},"content":${last}`,
    )
    const uri = federation('v1/send', unique('txn'))
    await peer.askText(
      server,
      'PUT',
      uri,
      `{"origin":"${peer.name}","origin_server_ts":1,"pdus":[${pdu}]}`,
    )
    await mark(room)
    const { status, body } = await alice.ask('GET', alice.room(room.roomId, 'event', id))
    expect(JSON.stringify(body)).not.toContain('smuggled')
    if (status === 200 && place === 'last') expect(body['content']).toEqual(json['content'])
  })
})
