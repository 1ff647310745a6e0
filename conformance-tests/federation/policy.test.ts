/** Rooms whose events a policy server signs; the scripted peer is the policy server. */
import { describe, expect, it } from 'vitest'
import { inTimeline, register } from '../harness/client.ts'
import { server } from '../harness/fixtures.ts'
import type { Body } from '../harness/http.ts'
import { eventId, sign } from '../harness/pdu.ts'
import { createPeer, type Peer } from '../harness/peer.ts'
import { createSigningKey } from '../harness/signing.ts'

const keyId = 'ed25519:policy_server'
const refusal = { errcode: 'M_FORBIDDEN', error: 'It looks like spam', 'org.example.score': 9 }

/** The signature of the policy server alone, as it answers. */
function signatureOf(peer: Peer, version: string, key: ReturnType<typeof createSigningKey>) {
  return (event: Body): Body => {
    const signed = sign({ ...event, signatures: {} }, version, peer.name, key)
    return { [peer.name]: Object(Object(signed['signatures'])[peer.name]) }
  }
}

const bodyOf = (event: Body) => String(Object(event['content'])['body'] ?? '')

describe.each(['10', '11', '12'])('a room with a policy server, version %s,', (version) => {
  async function guarded() {
    const peer = await createPeer()
    const key = createSigningKey(keyId)
    const answer = signatureOf(peer, version, key)
    const alice = await register(server, 'alice')
    const room = await alice.createRoom({ preset: 'public_chat', room_version: version })
    const there = await peer.join(server, room, peer.user('moderator'))
    peer.on('POST', /^\/_matrix\/policy\/v1\/sign$/, ({ body }) =>
      bodyOf(body).includes('spam') ? { status: 400, body: refusal } : answer(body),
    )
    await alice.setState(room, 'm.room.policy', '', {
      via: peer.name,
      public_keys: { ed25519: key.publicKey },
    })
    const asked = () => peer.received.filter(({ path }) => path === '/_matrix/policy/v1/sign')
    return { peer, key, answer, alice, room, there, asked }
  }

  it('has its signature on what is sent', async () => {
    const { peer, alice, room } = await guarded()
    await using _ = peer
    await alice.sendText(room, 'good morning')
    const sent = await peer.receivesPdu((event) => bodyOf(event) === 'good morning')
    expect(Object(Object(sent['signatures'])[peer.name])).toHaveProperty([keyId])
    await alice.setState(room, 'm.room.topic', '', { topic: 'news' })
    const topic = await peer.receivesPdu(({ type }) => type === 'm.room.topic')
    expect(Object(Object(topic['signatures'])[peer.name])).toHaveProperty([keyId])
    expect(peer.complaints).toEqual([])
  })

  it('has its refusal handed to the client, and nothing is sent', async () => {
    const { peer, alice, room } = await guarded()
    await using _ = peer
    const where = alice.room(room, 'send', 'm.room.message', 'spam-1')
    const body = { msgtype: 'm.text', body: 'buy my spam' }
    const answer = await alice.ask('PUT', where, { body })
    expect(answer).toMatchObject({ status: 400, body: { errcode: 'M_FORBIDDEN' } })
    expect(answer.body['error']).toContain('It looks like spam')
    await alice.sendText(room, 'the next message')
    await peer.receivesPdu((event) => bodyOf(event) === 'the next message')
    expect(peer.pdus().map(bodyOf)).not.toContain('buy my spam')
    const { chunk } = await alice.messages(room)
    expect(chunk.map(({ content }) => content['body'])).not.toContain('buy my spam')
  })

  it('does not decide on its own removal', async () => {
    const { peer, alice, room, asked } = await guarded()
    await using _ = peer
    peer.on('POST', /^\/_matrix\/policy\/v1\/sign$/, () => ({ status: 400, body: refusal }))
    await alice.setState(room, 'm.room.policy', '', {})
    const before = asked().length
    await alice.sendText(room, 'free spam')
    expect(asked().length).toBe(before)
  })

  it('is not asked when it is not in the room', async () => {
    const { peer, alice, room, asked } = await guarded()
    await using _ = peer
    await alice.kick(room, peer.user('moderator'))
    const before = asked().length
    await alice.sendText(room, 'nobody sees this spam')
    expect(asked().length).toBe(before)
  })

  it('is asked about unsigned events from elsewhere; what it refuses is not shown', async () => {
    const { peer, answer, alice, room, there, asked } = await guarded()
    await using _ = peer
    const { next_batch: since } = await alice.sync()
    const sender = peer.user('moderator')
    const say = (body: string) =>
      there.append({ type: 'm.room.message', sender, content: { msgtype: 'm.text', body } })
    await peer.receivesPdu(({ type }) => type === 'm.room.policy')
    const policy = peer.pdus().find(({ type }) => type === 'm.room.policy') ?? {}
    there.add({ id: eventId(policy, version), json: policy })
    const bad = say('spam from elsewhere')
    await peer.transact(server, [bad])
    const fine = say('ham from elsewhere')
    await peer.transact(server, [fine])
    const before = asked().length
    const draft = say('signed before')
    const signatures = Object(draft.json['signatures'])
    const both = { ...Object(signatures[peer.name]), ...Object(answer(draft.json)[peer.name]) }
    const signed = { ...draft.json, signatures: { ...signatures, [peer.name]: both } }
    await peer.transact(server, [{ id: draft.id, json: signed }])
    const seen = await alice.syncUntil(
      inTimeline(room, ({ event_id }) => event_id === draft.id),
      { since },
    )
    expect(asked().length).toBe(before)
    const { chunk } = await alice.messages(room)
    const shown = chunk.map(({ event_id }) => event_id)
    expect(shown).toContain(fine.id)
    expect(shown).not.toContain(bad.id)
    expect(JSON.stringify(seen)).not.toContain('spam from elsewhere')
  })
})
