import { describe, expect, it } from 'vitest'
import { inTimeline, register } from '../harness/client.ts'
import { server } from '../harness/fixtures.ts'
import type { Body } from '../harness/http.ts'
import { createPeer, type Peer } from '../harness/peer.ts'

/** Lets the peer refuse transactions while `isAway`; `refused` counts them. */
function goesAway(peer: Peer) {
  const state = { refused: 0, isAway: true }
  peer.on('PUT', /^\/_matrix\/federation\/v1\/send\//, () => {
    if (!state.isAway) return { pdus: {} }
    state.refused++
    return { status: 503, body: { errcode: 'M_UNKNOWN', error: 'away' } }
  })
  return state
}

/** A room of alice's in which the peer has a user. */
async function sharedRoom(peer: Peer) {
  const alice = await register(server, 'alice')
  const roomId = await alice.createRoom({ preset: 'public_chat', room_version: '11' })
  const bob = peer.user('bob')
  const room = await peer.join(server, roomId, bob)
  await alice.syncUntil(inTimeline(roomId, ({ state_key }) => state_key === bob))
  return { alice, roomId, room, bob }
}

/** Bodies of the messages in what the peer was sent from then on. */
const bodiesSince = (peer: Peer, from: number): unknown[] =>
  peer.received
    .slice(from)
    .filter(({ path }) => path.startsWith('/_matrix/federation/v1/send/'))
    .flatMap(({ body }): Body[] => (Array.isArray(body['pdus']) ? body['pdus'] : []))
    .map(({ content }) => Object(content)['body'])

describe('a server that does not take what it is sent', () => {
  it('gets the newest of every room when it is heard from again', async () => {
    await using peer = await createPeer()
    const first = await sharedRoom(peer)
    const second = await sharedRoom(peer)
    const away = goesAway(peer)
    for (const { alice, roomId } of [first, second])
      for (let n = 0; n < 3; n++) await alice.sendText(roomId, `missed ${n} in ${roomId}`)
    await expect.poll(() => away.refused, { timeout: 10_000 }).toBeGreaterThan(0)
    away.isAway = false
    const from = peer.received.length
    await peer.transact(server, [])
    const last = [first, second].map(({ roomId }) => `missed 2 in ${roomId}`)
    await expect
      .poll(() => bodiesSince(peer, from), { timeout: 15_000 })
      .toEqual(expect.arrayContaining(last))
  })

  it('is left alone for a while, and does not hold up the others', async () => {
    await using peer = await createPeer()
    await using other = await createPeer()
    const { alice, roomId } = await sharedRoom(peer)
    await other.join(server, roomId, other.user('carol'))
    await alice.syncUntil(inTimeline(roomId, ({ state_key }) => state_key === other.user('carol')))
    const away = goesAway(peer)
    for (let n = 0; n < 10; n++) await alice.sendText(roomId, `for all ${n}`)
    await expect
      .poll(() => bodiesSince(other, 0), { timeout: 10_000 })
      .toEqual(expect.arrayContaining(Array.from({ length: 10 }, (_, n) => `for all ${n}`)))
    expect(away.refused).toBeLessThan(10)
  })

  it('is waited for with an answer that never ends, and the others are not', async () => {
    await using peer = await createPeer()
    await using other = await createPeer()
    const { alice, roomId } = await sharedRoom(peer)
    await other.join(server, roomId, other.user('carol'))
    await alice.syncUntil(inTimeline(roomId, ({ state_key }) => state_key === other.user('carol')))
    let asked = 0
    peer.on('PUT', /^\/_matrix\/federation\/v1\/send\//, () => {
      asked++
      return new Promise<never>(() => {})
    })
    for (let n = 0; n < 10; n++) await alice.sendText(roomId, `still ${n}`)
    await expect
      .poll(() => bodiesSince(other, 0), { timeout: 10_000 })
      .toEqual(expect.arrayContaining(Array.from({ length: 10 }, (_, n) => `still ${n}`)))
    expect(asked).toBe(1)
  })

  it('has one transaction on its way at a time', async () => {
    await using peer = await createPeer()
    const { alice, roomId } = await sharedRoom(peer)
    let underWay = 0
    let most = 0
    peer.on('PUT', /^\/_matrix\/federation\/v1\/send\//, async () => {
      most = Math.max(most, ++underWay)
      await new Promise((resolve) => setTimeout(resolve, 100))
      underWay--
      return { pdus: {} }
    })
    await Promise.all(Array.from({ length: 60 }, (_, n) => alice.sendText(roomId, `many ${n}`)))
    await expect.poll(() => bodiesSince(peer, 0).length, { timeout: 15_000 }).toBeGreaterThan(59)
    expect(most).toBe(1)
    const sizes = peer.received.map(({ body }) =>
      Array.isArray(body['pdus']) ? body['pdus'].length : 0,
    )
    expect(Math.max(...sizes)).toBeLessThanOrEqual(50)
  })
})
