/** Syncs of a room whose graph forks, or has events that are only half known here. */
import { describe, expect, it } from 'vitest'
import { eventually, inTimeline, register } from '../harness/client.ts'
import { server } from '../harness/fixtures.ts'
import { createPeer } from '../harness/peer.ts'

/** Alice has a room here; bob of the peer is in it. */
async function sharedRoom() {
  const peer = await createPeer()
  const alice = await register(server, 'alice')
  const roomId = await alice.createRoom({
    preset: 'public_chat',
    room_version: '10',
    power_level_content_override: { events: { 'org.example.state': 0 } },
  })
  const bob = peer.user('bob')
  const room = await peer.join(server, roomId, bob)
  await alice.syncUntil(inTimeline(roomId, ({ state_key }) => state_key === bob))
  return { peer, alice, roomId, room, bob }
}

describe('a token that stands at a redaction of an event that nobody knows', () => {
  it('is gone on from', async () => {
    const { peer, alice, roomId, room, bob } = await sharedRoom()
    await using _ = peer
    const { next_batch: before } = await alice.sync()
    const unknown = `$${'a'.repeat(43)}`
    const redaction = room.append({
      ...{ type: 'm.room.redaction', sender: bob, content: { reason: 'never seen' } },
      more: { redacts: unknown },
    })
    const mark = room.append({ type: 'm.room.message', sender: bob, content: { body: 'mark' } })
    await peer.transact(server, [redaction])
    const { next_batch: since } = await alice.sync({ since: before })
    await peer.transact(server, [mark])
    const filter = { room: { timeline: { limit: 1 } } }
    for (const from of [before, since]) {
      const answer = await alice.syncUntil(
        inTimeline(roomId, ({ event_id }) => event_id === mark.id),
        { since: from, filter },
      )
      expect(answer.rooms.join[roomId]?.timeline.prev_batch).toBeDefined()
    }
  })
})

describe('state of another branch of the graph', () => {
  it('is given when a filter leaves the event out that joins the branches', async () => {
    const { peer, alice, roomId, room, bob } = await sharedRoom()
    await using _ = peer
    const { next_batch: since } = await alice.sync()
    const fork = [...room.tips]
    const first = await alice.sendText(roomId, 'one branch')
    const state = room.build({
      ...{ type: 'org.example.state', stateKey: '', sender: bob },
      ...{ content: { body: 'other branch' }, prev: fork },
    })
    await peer.transact(server, [state])
    await eventually(
      () => alice.messages(roomId, { limit: 20 }),
      ({ chunk }) => chunk.some(({ event_id }) => event_id === state.id),
    )
    const second = await alice.sendText(roomId, 'after both')
    const joining = await alice.sendEvent(roomId, 'org.example.filtered', {})
    const timeline = { limit: 1, not_types: ['org.example.filtered'] }
    const answer = await alice.sync({ since, filter: { room: { timeline } } })
    const entry = answer.rooms.join[roomId]
    const shown = entry?.timeline.events.map(({ event_id }) => event_id)
    expect(shown).toEqual([second])
    expect(shown).not.toContain(joining)
    expect(shown).not.toContain(first)
    expect(entry?.state.events.map(({ event_id }) => event_id)).toContain(state.id)
  })
})
