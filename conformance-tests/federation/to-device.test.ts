import { describe, expect, it } from 'vitest'
import { type Client, inSection, login, register, unique } from '../harness/client.ts'
import { server } from '../harness/fixtures.ts'
import { type Body, isBody, path } from '../harness/http.ts'
import { createPeer } from '../harness/peer.ts'

const type = 'org.example.test'

/** An EDU with one message. */
function edu(sender: string, to: Client, content: Body, more: Body = {}, device = to.deviceId) {
  const messages = { [to.userId]: { [device]: content } }
  const head = { sender, type, message_id: unique('m') }
  return { edu_type: 'm.direct_to_device', content: { ...head, messages, ...more } }
}

/** Everything that came for a device until `last` did. */
async function inbox(client: Client, last: Body): Promise<Body[]> {
  const seen: Body[] = []
  let since: string | undefined
  while (!seen.some(({ content }) => JSON.stringify(content) === JSON.stringify(last))) {
    const answer = await client.syncUntil(
      ({ to_device: found }) => found.events.length > 0,
      since === undefined ? {} : { since },
    )
    seen.push(...answer.to_device.events)
    since = answer.next_batch
  }
  return seen
}

describe('messages to devices, from another server', () => {
  it('arrive, each once, whatever is sent again', async () => {
    await using peer = await createPeer()
    const alice = await register(server, 'alice')
    const bob = peer.user('bob')
    const once = edu(bob, alice, { n: 1 })
    await peer.transact(server, [], [once])
    await peer.transact(server, [], [once, edu(bob, alice, { n: 2 })])
    const found = await inbox(alice, { n: 2 })
    expect(found).toEqual([
      expect.objectContaining({ sender: bob, type, content: { n: 1 } }),
      expect.objectContaining({ sender: bob, type, content: { n: 2 } }),
    ])
  })

  it('arrive at every device with a star', async () => {
    await using peer = await createPeer()
    const alice = await register(server, 'alice')
    const phone = await login(server, alice.userId)
    await peer.transact(server, [], [edu(peer.user('bob'), alice, { all: true }, {}, '*')])
    for (const device of [alice, phone]) await inbox(device, { all: true })
  })

  it('are believed of its own users only', async () => {
    await using peer = await createPeer()
    const [alice, carol] = await Promise.all([register(server, 'alice'), register(server, 'carol')])
    const forged = [carol.userId, '@mallory:elsewhere.example'].map((sender) =>
      edu(sender, alice, { forged: true }),
    )
    await peer.transact(server, [], [...forged, edu(peer.user('bob'), alice, { mark: true })])
    const found = await inbox(alice, { mark: true })
    expect(JSON.stringify(found)).not.toContain('forged')
  })
})

describe('messages to devices, for another server', () => {
  const send = (from: Client, messages: Body, txn = unique('t')) =>
    from.call('PUT', path('/_matrix/client/v3/sendToDevice', type, txn), { body: { messages } })

  it('arrive with an id of their own, once for a transaction id', async () => {
    await using peer = await createPeer()
    const room = peer.createRoom('11')
    const alice = await register(server, 'alice')
    await alice.join(room.roomId, [peer.name])
    await alice.syncUntil(inSection('join', room.roomId))
    const bob = peer.user('creator')
    const txn = unique('t')
    for (let n = 0; n < 2; n++) await send(alice, { [bob]: { PHONE: { n: 0 } } }, txn)
    await send(alice, { [bob]: { PHONE: { n: 1 } } })
    const isMessage = ({ edu_type }: Body) => edu_type === 'm.direct_to_device'
    const has = (n: number) => (one: Body) =>
      isMessage(one) && JSON.stringify(one['content']).includes(`{"n":${n}}`)
    await peer.receivesEdu(has(1))
    const sent = peer.edus().filter(isMessage)
    expect(sent.filter(has(0))).toHaveLength(1)
    const ids = new Set(sent.map(({ content }) => isBody(content) && content['message_id']))
    expect(ids.size).toBe(sent.length)
    expect(sent[0]).toMatchObject({ content: { sender: alice.userId, type } })
  })

  it('wait until it takes them', async () => {
    await using peer = await createPeer()
    const room = peer.createRoom('11')
    const alice = await register(server, 'alice')
    await alice.join(room.roomId, [peer.name])
    await alice.syncUntil(inSection('join', room.roomId))
    let isAway = true
    let refused = 0
    peer.on('PUT', /^\/_matrix\/federation\/v1\/send\//, ({ body }) => {
      if (!isAway) return { pdus: {} }
      if (JSON.stringify(body['edus']).includes('"while away"')) refused++
      return { status: 503, body: { errcode: 'M_UNKNOWN', error: 'away' } }
    })
    await send(alice, { [peer.user('creator')]: { PHONE: { said: 'while away' } } })
    await expect.poll(() => refused, { timeout: 10_000 }).toBeGreaterThan(0)
    isAway = false
    const before = peer.received.length
    // A server that is heard from is sent to.
    await peer.transact(server, [])
    await peer.receives(
      ({ path: where, body }) =>
        where.startsWith('/_matrix/federation/v1/send/') &&
        JSON.stringify(body['edus']).includes('"while away"'),
      before,
    )
  })
})
