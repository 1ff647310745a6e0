/** Invites to addresses, once the address turns out to be somebody's; the test is the identity server. */
import { describe, expect, it } from 'vitest'
import { inSection, inTimeline, register, unique } from '../harness/client.ts'
import { itSynapseBreaks } from '../harness/exceptions.ts'
import { server } from '../harness/fixtures.ts'
import type { Body } from '../harness/http.ts'
import { createPeer } from '../harness/peer.ts'
import { createSigningKey, signObject } from '../harness/signing.ts'

const api = '/_matrix/federation/v1'
const identityServer = 'identity.example'

describe.each(['10', '11', '12'])('a third-party invite, version %s,', (version) => {
  async function invited() {
    const peer = await createPeer()
    const alice = await register(server, 'alice')
    const room = await alice.createRoom({ preset: 'private_chat', room_version: version })
    const key = createSigningKey('ed25519:0')
    const token = unique('token')
    await alice.setState(room, 'm.room.third_party_invite', token, {
      display_name: 'b...@e...',
      public_key: key.publicKey,
      public_keys: [{ public_key: key.publicKey }],
    })
    const proof = (mxid: string, signer = key): Body =>
      signObject({ mxid, token }, identityServer, signer)
    const exchange = (user: string, signed: Body) =>
      peer.ask(server, 'PUT', `${api}/exchange_third_party_invite/${encodeURIComponent(room)}`, {
        type: 'm.room.member',
        room_id: room,
        sender: alice.userId,
        state_key: user,
        content: {
          membership: 'invite',
          third_party_invite: { display_name: 'b...@e...', signed },
        },
      })
    return { peer, alice, room, proof, exchange }
  }

  it('becomes one of the user whom the identity server names', async () => {
    const { peer, alice, room, proof, exchange } = await invited()
    await using _ = peer
    const bob = peer.user('bob')
    expect((await exchange(bob, proof(bob))).status).toBe(200)
    const { body } = await peer.receives(({ path }) => path.includes('/v2/invite/'))
    expect(body['event']).toMatchObject({
      sender: alice.userId,
      state_key: bob,
      content: { membership: 'invite', third_party_invite: { signed: proof(bob) } },
    })
    await alice.syncUntil(
      inTimeline(
        room,
        ({ state_key, content }) => state_key === bob && content['membership'] === 'invite',
      ),
    )
    await peer.join(server, room, bob)
  })

  it('is not exchanged for a signature by another key, or for another user', async () => {
    const { peer, alice, room, proof, exchange } = await invited()
    await using _ = peer
    const bob = peer.user('bob')
    const other = createSigningKey('ed25519:0')
    expect((await exchange(bob, proof(bob, other))).status).toBeGreaterThanOrEqual(400)
    expect((await exchange(bob, proof(peer.user('carol')))).status).toBeGreaterThanOrEqual(400)
    await expect(alice.getState(room, 'm.room.member', bob)).rejects.toMatchObject({ status: 404 })
  })
})

itSynapseBreaks('PUT /_matrix/federation/v1/3pid/onbind')(
  'a binding that an identity server tells of is exchanged with the inviter’s server',
  async () => {
    await using peer = await createPeer()
    const alice = await register(server, 'alice')
    const room = peer.createRoom('11', { joinRule: { join_rule: 'invite' } })
    const exchanged: Body[] = []
    peer.on('PUT', /exchange_third_party_invite/, ({ body }) => {
      exchanged.push(body)
      return {}
    })
    const mxid = alice.userId
    const signed = signObject({ mxid, token: 'abc' }, identityServer, createSigningKey('ed25519:0'))
    const invite = { mxid, room_id: room.roomId, sender: peer.user('creator'), signed }
    const about = { medium: 'email', address: 'alice@example.org' }
    const answer = await peer.plain(server.name, {
      method: 'PUT',
      uri: `${api}/3pid/onbind`,
      body: { ...about, mxid, invites: [{ ...about, ...invite }] },
    })
    expect(answer.status).toBe(200)
    await peer.receives(({ path }) => path.includes('/exchange_third_party_invite/'))
    expect(exchanged[0]).toMatchObject({
      type: 'm.room.member',
      room_id: room.roomId,
      sender: peer.user('creator'),
      state_key: alice.userId,
      content: { membership: 'invite', third_party_invite: { signed } },
    })
    // The inviter's server then sends the invite.
    const event = room.build({
      type: 'm.room.member',
      sender: peer.user('creator'),
      stateKey: alice.userId,
      content: { membership: 'invite', third_party_invite: { display_name: 'a', signed } },
    })
    const where = `${encodeURIComponent(room.roomId)}/${encodeURIComponent(event.id)}`
    const body = {
      room_version: '11',
      event: event.json,
      invite_room_state: room.jsonOf([room.lookUp('m.room.create') ?? '']),
    }
    const taken = await peer.ask(server, 'PUT', `/_matrix/federation/v2/invite/${where}`, body)
    expect(taken.status).toBe(200)
    await alice.syncUntil(inSection('invite', room.roomId))
  },
)
