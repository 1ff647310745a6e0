/** What the state of a room of version 12 comes to when servers do not agree about it. */
import { describe, expect, it } from 'vitest'
import { type Client, eventually, inTimeline, register } from '../harness/client.ts'
import { server } from '../harness/fixtures.ts'
import type { Body } from '../harness/http.ts'
import { eventId, type Pdu } from '../harness/pdu.ts'
import { createPeer, type Peer } from '../harness/peer.ts'
import type { PeerRoom } from '../harness/room-builder.ts'

const version = '12'
const joinRulesKey = 'm.room.join_rules\0'
const powerLevelsKey = 'm.room.power_levels\0'

/** Waits until the peer has heard of an event, and takes it into its room. */
async function hears(peer: Peer, room: PeerRoom, id: string): Promise<Pdu> {
  const json = await peer.receivesPdu((pdu) => eventId(pdu, version) === id)
  return room.add({ id, json })
}

/** Changes a member's display name a few times. */
function rename(room: PeerRoom, user: string, times: number): Pdu[] {
  return Array.from({ length: times }, (_, i) =>
    room.append({
      type: 'm.room.member',
      sender: user,
      stateKey: user,
      content: { membership: 'join', displayname: `Name ${i}` },
    }),
  )
}

/**
 * Shows the server only the last of these events and the one before it, so that it has to ask for the state; that which
 * it is told has an outdated event in one place.
 */
async function sendWithOldState(
  peer: Peer,
  room: PeerRoom,
  events: readonly Pdu[],
  outdated: readonly [string, string],
): Promise<Pdu> {
  const [beforeLast, last] = events.slice(-2)
  if (beforeLast === undefined || last === undefined) throw new Error('there are too few events')
  const stateBefore = (query: URLSearchParams) =>
    new Map(room.before.get(query.get('event_id') ?? '')).set(...outdated).values()
  peer.on('POST', /get_missing_events/, () => ({ events: [beforeLast.json] }))
  peer.on('GET', /\/state_ids\//, ({ query }): Body => {
    const ids = [...stateBefore(query)]
    return { pdu_ids: ids, auth_chain_ids: room.authChain(ids) }
  })
  peer.on('GET', /\/state\//, ({ query }): Body => {
    const ids = [...stateBefore(query)]
    return { pdus: room.jsonOf(ids), auth_chain: room.jsonOf(room.authChain(ids)) }
  })
  await peer.transact(server, [last])
  await peer.receives(({ path }) => /\/state(_ids)?\//.test(path))
  return last
}

async function sees(client: Client, roomId: string, { id }: Pdu): Promise<void> {
  await client.syncUntil(inTimeline(roomId, ({ event_id }) => event_id === id))
}

describe('the state of a forked room', () => {
  it('has the admin’s join rule after that of the creator, however high the admin’s level', async () => {
    await using peer = await createPeer()
    const alice = await register(server, 'alice')
    const bob = peer.user('bob')
    const roomId = await alice.createRoom({ preset: 'public_chat', room_version: version })
    const room = await peer.join(server, roomId, bob)
    const content = { users: { [bob]: 9_493_420 } }
    const levels = await alice.setState(roomId, 'm.room.power_levels', '', content)
    await hears(peer, room, levels)
    await alice.setState(roomId, 'm.room.join_rules', '', { join_rule: 'invite' })
    const knock = room.append({
      type: 'm.room.join_rules',
      stateKey: '',
      sender: bob,
      content: { join_rule: 'knock' },
      // Were they of equal power, the earlier one would give way.
      more: { origin_server_ts: Date.now() - 60_000 },
    })
    await peer.transact(server, [knock])
    await sees(alice, roomId, knock)
    await eventually(
      () => alice.getState(roomId, 'm.room.join_rules'),
      ({ join_rule: rule }) => rule === 'knock',
    )
  })

  it('keeps the join rules whose setter has left, where a server names older ones', async () => {
    await using peer = await createPeer()
    const [alice, bob] = [await register(server, 'alice'), await register(server, 'bob')]
    const charlie = peer.user('charlie')
    const roomId = await alice.createRoom({ preset: 'public_chat', room_version: version })
    await bob.join(roomId)
    const room = await peer.join(server, roomId, charlie)
    const old = room.lookUp('m.room.join_rules') ?? ''
    const rules = { join_rule: 'invite' }
    await hears(peer, room, await alice.setState(roomId, 'm.room.join_rules', '', rules))
    await alice.leave(roomId)
    const left = await peer.receivesPdu(
      ({ state_key, content }) =>
        state_key === alice.userId && Object(content)['membership'] === 'leave',
    )
    room.add({ id: eventId(left, version), json: left })
    const events = rename(room, charlie, 4)
    const last = await sendWithOldState(peer, room, events, [joinRulesKey, old])
    await sees(bob, roomId, last)
    expect(await bob.getState(roomId, 'm.room.join_rules')).toEqual(rules)
  })

  it('keeps power levels that build on each other, where a server names the first of them', async () => {
    await using peer = await createPeer()
    const [creator, alice, bob] = [
      await register(server, 'creator'),
      await register(server, 'alice'),
      await register(server, 'bob'),
    ]
    const [charlie, eve] = [peer.user('charlie'), peer.user('eve')]
    const roomId = await creator.createRoom({ preset: 'public_chat', room_version: version })
    const levels = (by: Client, users: Body) =>
      by.setState(roomId, 'm.room.power_levels', '', { users })
    await levels(creator, { [alice.userId]: 100 })
    await alice.join(roomId)
    await bob.join(roomId)
    const room = await peer.join(server, roomId, charlie)
    const old = room.lookUp('m.room.power_levels') ?? ''
    const second = { [alice.userId]: 100, [bob.userId]: 50 }
    await hears(peer, room, await levels(alice, second))
    const third = { ...second, [charlie]: 50 }
    await hears(peer, room, await levels(bob, third))
    const joined = room.append({
      type: 'm.room.member',
      sender: eve,
      stateKey: eve,
      content: { membership: 'join' },
    })
    await peer.transact(server, [joined])
    await sees(alice, roomId, joined)
    const events = rename(room, eve, 4)
    const last = await sendWithOldState(peer, room, events, [powerLevelsKey, old])
    await sees(alice, roomId, last)
    expect(await alice.getState(roomId, 'm.room.power_levels')).toEqual({ users: third })
  })
})
