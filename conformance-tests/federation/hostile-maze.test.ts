/** A history without an end: whatever is asked for, there is more of it before. */
import { randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { eventually, inTimeline, register, unique } from '../harness/client.ts'
import { server } from '../harness/fixtures.ts'
import { createPeer } from '../harness/peer.ts'
import { unpadded } from '../harness/signing.ts'

const requestsMax = 50

describe('missing events of which there are always more', () => {
  it.each([
    ['in a line', 1],
    ['in a thicket', 5],
  ])('%s are not followed for ever', async (_, width) => {
    await using peer = await createPeer()
    const alice = await register(server, 'alice')
    const roomId = await alice.createRoom({ preset: 'public_chat', room_version: '11' })
    const bob = peer.user('bob')
    const room = await peer.join(server, roomId, bob)
    await alice.syncUntil(inTimeline(roomId, ({ state_key }) => state_key === bob))
    const prev = [...room.tips]
    const nowhere = () => `$${unpadded(randomBytes(32), true)}`
    const lost = () =>
      room.build({
        ...{ type: 'm.room.message', sender: bob, content: { body: 'lost' } },
        ...{ prev: Array.from({ length: width }, nowhere), depth: 1_000_000 },
      })
    peer.on('POST', /get_missing_events/, () => ({
      events: Array.from({ length: 20 }, () => lost().json),
    }))
    for (const question of ['state', 'state_ids', 'event', 'backfill']) {
      peer.on('GET', new RegExp(`/v1/${question}/`), () => ({
        status: 404,
        body: { errcode: 'M_NOT_FOUND', error: 'lost' },
      }))
    }
    const from = peer.received.length
    await peer.transact(server, [lost(), lost()])
    const mark = room.build({
      ...{ type: 'm.room.message', sender: bob, content: { body: unique('mark') } },
      ...{ prev, depth: 1_000_001 },
    })
    await peer.transact(server, [mark])
    await eventually(
      async () => (await alice.messages(roomId)).chunk,
      (chunk) => chunk.some(({ event_id }) => event_id === mark.id),
    )
    const asked = peer.received.slice(from).filter(({ path }) => path.includes('/federation/v1/'))
    expect(asked.length).toBeLessThanOrEqual(requestsMax)
    const { chunk } = await alice.messages(roomId, { limit: 50 })
    expect(JSON.stringify(chunk)).not.toContain('lost')
  })
})
