/** Gaps, forks and refused events in the graph of a room, and the purge of what is old in it. */
import { describe, expect, it } from 'vitest'
import { type Client, eventually, inTimeline, register, unique } from '../harness/client.ts'
import { server } from '../harness/fixtures.ts'
import type { Body } from '../harness/http.ts'
import { eventId, type Pdu } from '../harness/pdu.ts'
import { createPeer, type Peer } from '../harness/peer.ts'
import type { PeerRoom } from '../harness/room-builder.ts'

/** Alice has a room here; bob of the peer is in it. */
async function sharedRoom(version = '11', options: Body = {}) {
  const peer = await createPeer()
  const alice = await register(server, 'alice')
  const roomId = await alice.createRoom({
    preset: 'public_chat',
    room_version: version,
    ...options,
  })
  const bob = peer.user('bob')
  const room = await peer.join(server, roomId, bob)
  await alice.syncUntil(inTimeline(roomId, ({ state_key }) => state_key === bob))
  return { peer, alice, roomId, room, bob }
}

const text = (sender: string, body: string) => ({
  type: 'm.room.message',
  sender,
  content: { msgtype: 'm.text', body },
})

const idsHere = async (client: Client, roomId: string) =>
  (await client.messages(roomId, { limit: 100 })).chunk.map(({ event_id }) => event_id)

/** A good message on top of what is in the room now. */
const markOf = (room: PeerRoom, bob: string) =>
  room.build({ ...text(bob, unique('mark')), prev: [...room.tips] })

/** Sends a mark and waits for it: what was sent before has been dealt with. */
async function settle(peer: Peer, alice: Client, roomId: string, mark: Pdu) {
  await peer.transact(server, [mark])
  await eventually(
    () => idsHere(alice, roomId),
    (ids) => ids.includes(mark.id),
  )
}

describe('an event whose predecessor nobody gives', () => {
  it('is left out, and taken when its predecessor has come', async () => {
    const { peer, alice, roomId, room, bob } = await sharedRoom()
    await using _ = peer
    peer.on('POST', /get_missing_events/, () => ({ events: [] }))
    const mark = markOf(room, bob)
    const first = room.append(text(bob, 'withheld'))
    const second = room.append(text(bob, 'sent too early'))
    await peer.transact(server, [second])
    await settle(peer, alice, roomId, mark)
    expect(await idsHere(alice, roomId)).not.toContain(second.id)
    const { next_batch: since } = await alice.sync()
    await peer.transact(server, [first])
    await peer.transact(server, [second])
    const answer = await alice.syncUntil(
      inTimeline(roomId, ({ event_id }) => event_id === second.id),
      { since },
    )
    const ids = answer.rooms.join[roomId]?.timeline.events.map(({ event_id }) => event_id)
    expect(ids?.at(-1)).toBe(second.id)
    const [older, newer] = [first, second].map(({ id }) => ids?.indexOf(id) ?? -1)
    expect(older).toBe((newer ?? 0) - 1)
  })

  it('brings no state that its server may name for it', async () => {
    const { peer, alice, roomId, room, bob } = await sharedRoom()
    await using _ = peer
    peer.on('POST', /get_missing_events/, () => ({ events: [] }))
    const mark = markOf(room, bob)
    room.append(text(bob, 'withheld'))
    const pushed = room.append(text(bob, 'pushed'))
    await peer.transact(server, [pushed])
    await settle(peer, alice, roomId, mark)
    expect(peer.received.some(({ path }) => path.includes('/state'))).toBe(false)
  })
})

describe('the state before a gap', () => {
  it('has nothing that rests on an event which its server does not give', async () => {
    // So much state is known that what is missing is fetched event by event.
    const { peer, alice, roomId, room, bob } = await sharedRoom('10', {
      initial_state: Array.from({ length: 90 }, (_, i) => ({
        ...{ type: 'org.example.ballast', state_key: `${i}`, content: { i } },
      })),
    })
    await using _ = peer
    const mark = markOf(room, bob)
    const renames = ['A', 'B', 'C', 'D', 'E'].map((displayname) =>
      room.append({
        type: 'm.room.member',
        sender: bob,
        stateKey: bob,
        content: { membership: 'join', displayname },
      }),
    )
    const lost = renames[1]?.id ?? ''
    room.append(text(bob, 'at the gap'))
    const given = room.append(text(bob, 'given'))
    const sent = room.append(text(bob, 'sent'))
    peer.on('POST', /get_missing_events/, () => ({ events: [given.json] }))
    peer.on('GET', /\/event_auth\//, () => undefined)
    peer.on('GET', /\/event\/(.+)$/, (_request, [, id = '']) => {
      const json = id === lost ? undefined : room.events.get(id)
      return json && { origin: peer.name, origin_server_ts: Date.now(), pdus: [json] }
    })
    await peer.transact(server, [sent])
    await peer.receives(({ path }) => path.includes(`/event/${lost}`))
    await settle(peer, alice, roomId, mark)
    // Who knows only A may take it or leave it.
    const { displayname = 'A' } = await alice.getState(roomId, 'm.room.member', bob)
    expect(displayname).toBe('A')
  })
})

describe('a gap that stays', () => {
  it('cuts the timeline of a sync, and is filled by paging back from there', async () => {
    const { peer, alice, roomId, room, bob } = await sharedRoom()
    await using _ = peer
    const { next_batch: since } = await alice.sync()
    const before = await alice.sendText(roomId, 'before the gap')
    const missing = Array.from({ length: 30 }, (_, i) => room.append(text(bob, `missing ${i}`)))
    const last = room.append(text(bob, 'end'))
    const given = missing.slice(-10)
    peer.on('POST', /get_missing_events/, () => ({ events: given.map(({ json }) => json) }))
    await peer.transact(server, [last])
    await eventually(
      () => idsHere(alice, roomId),
      (ids) => ids.includes(last.id),
    )
    const filter = { room: { timeline: { limit: 20 } } }
    const { timeline } = (await alice.sync({ since, filter })).rooms.join[roomId] ?? {}
    expect(timeline?.limited).toBe(true)
    const shown = timeline?.events.map(({ event_id }) => event_id)
    expect(shown).toEqual([...given, last].map(({ id }) => id))
    expect(shown).not.toContain(before)
    const from = timeline?.prev_batch
    const { chunk } = await alice.messages(roomId, { from, limit: 40 })
    const found = chunk.map(({ event_id }) => event_id)
    const older = missing.slice(0, 20).map(({ id }) => id)
    expect(found.filter((id) => older.includes(id))).toEqual(older.toReversed())
    expect(found).toContain(before)
  })
})

describe('a redaction', () => {
  it('that comes before what it redacts empties it', async () => {
    const { peer, alice, roomId, room, bob } = await sharedRoom()
    await using _ = peer
    const prev = [...room.tips]
    const target = room.build({ ...text(bob, 'never to be read'), prev })
    const redaction = room.build({
      ...{ type: 'm.room.redaction', sender: bob, content: { redacts: target.id } },
      prev,
    })
    await peer.transact(server, [redaction])
    await peer.transact(server, [target])
    const event = await eventually(
      () => alice.event(roomId, target.id),
      ({ event_id }) => event_id === target.id,
    )
    expect(event.content).toEqual({})
  })
})

describe('a redaction of an event that is not here', () => {
  it('is sent all the same', async () => {
    await using peer = await createPeer()
    const room = peer.createRoom('11')
    const levels = { users: { [peer.user('creator')]: 100 }, redact: 0 }
    room.append({
      ...{ type: 'm.room.power_levels', stateKey: '', sender: peer.user('creator') },
      content: levels,
    })
    const alice = await register(server, 'alice')
    await alice.join(room.roomId, [peer.name])
    const unknown = room.build(text(peer.user('creator'), 'never sent'))
    for (const target of [unknown.id, `${unknown.id}:${peer.name}`]) {
      const id = await alice.redact(room.roomId, target)
      await peer.receivesPdu((pdu) => eventId(pdu, '11') === id)
    }
  })
})

describe('a state key of few characters and many bytes', () => {
  it('keeps nothing out that follows it, in the rooms that count characters', async () => {
    const { peer, alice, roomId, room, bob } = await sharedRoom('10', {
      power_level_content_override: { state_default: 0 },
    })
    await using _ = peer
    const stateKey = '\u{1f4a5}'.repeat(70)
    const long = room.append({ type: 'org.example.long', sender: bob, stateKey, content: {} })
    const shown = room.append(text(bob, 'after it'))
    await peer.transact(server, [shown])
    await eventually(
      () => idsHere(alice, roomId),
      (ids) => ids.includes(shown.id),
    )
    expect(await idsHere(alice, roomId)).not.toContain(long.id)
  })
})

describe('many branches', () => {
  it('are named by no event all at once', async () => {
    const { peer, alice, roomId, room, bob } = await sharedRoom()
    await using _ = peer
    const prev = [...room.tips]
    const branches = Array.from({ length: 25 }, (_, i) =>
      room.build({ ...text(bob, `branch ${i}`), prev }),
    )
    await peer.transact(server, branches)
    await eventually(
      () => idsHere(alice, roomId),
      (ids) => branches.every(({ id }) => ids.includes(id)),
    )
    await alice.sendText(roomId, 'after the branches')
    const sent = await peer.receivesPdu(
      ({ content }) => Object(content)['body'] === 'after the branches',
    )
    expect(room.idsOf(sent['prev_events']).length).toBeLessThanOrEqual(20)
  })
})

describe.each(['world_readable', 'shared', 'invited', 'joined'])(
  'missing events of a room of visibility %s',
  (visibility) => {
    it('are given in order, with what the asking server may see of them', async () => {
      await using peer = await createPeer()
      const alice = await register(server, 'alice')
      const roomId = await alice.createRoom({ preset: 'public_chat', room_version: '11' })
      await alice.setState(roomId, 'm.room.history_visibility', '', {
        history_visibility: visibility,
      })
      await alice.sendText(roomId, 'said before the join')
      const room = await peer.join(server, roomId, peer.user('bob'))
      const uri = `/_matrix/federation/v1/get_missing_events/${encodeURIComponent(roomId)}`
      const { status, body } = await peer.ask(server, 'POST', uri, {
        earliest_events: [room.lookUp('m.room.create')],
        latest_events: [room.lookUp('m.room.member', peer.user('bob'))],
        limit: 10,
        min_depth: 1,
      })
      expect(status).toBe(200)
      const events: Body[] = Array.isArray(body['events']) ? body['events'] : []
      const again = visibility === 'shared' ? [] : ['m.room.history_visibility']
      expect(events.map(({ type }) => type)).toEqual([
        ...['m.room.member', 'm.room.power_levels', 'm.room.join_rules'],
        ...['m.room.history_visibility', ...again, 'm.room.message'],
      ])
      const isOpen = visibility === 'shared' || visibility === 'world_readable'
      expect(events.at(-1)?.['content']).toEqual(
        isOpen ? { msgtype: 'm.text', body: 'said before the join' } : {},
      )
    })
  },
)
