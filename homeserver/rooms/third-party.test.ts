import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { signingKeyFromSeed } from '../../spec/crypto/ed25519.ts'
import { signJson } from '../../spec/crypto/sign-json.ts'
import { MatrixError } from '../../spec/errors.ts'
import { parseServerName, type RoomId, type UserId } from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import type { Identity } from '../ports.ts'
import type { Requester } from './rooms.ts'
import { openTestRooms, type TestRooms } from './test-rooms.ts'

const identityName = parseServerName('id.test')
const key = signingKeyFromSeed('ed25519:1', new Uint8Array(32).fill(3))
const validityUrl = 'https://id.test/_matrix/identity/v2/pubkey/isvalid'

/** An identity server: who has bound which address, and which invites wait. */
const bound = new Map<string, UserId>()
let stored: JsonObject[] = []
let isValid = true
const identity: Identity = {
  async lookUp(server, { address }) {
    if (server.accessToken !== 'secret') throw new MatrixError('M_FORBIDDEN', 'wrong token')
    return bound.get(address)
  },
  async storeInvite(_, invite) {
    stored.push(invite)
    const keys = [{ publicKey: key.publicKey, validityUrl }]
    return { token: `token${stored.length}`, displayName: 'b...@e...', keys }
  },
  bind: () => Promise.reject(new Error('not asked here')),
  unbind: async () => false,
  isKeyValid: async (url, publicKey) =>
    isValid && url === validityUrl && publicKey === key.publicKey,
}

let here: TestRooms
let there: TestRooms
let alice: Requester
let bob: Requester
beforeAll(async () => {
  const network = new Map()
  here = await openTestRooms('here.test', network, { identity })
  there = await openTestRooms('there.test', network, { identity })
  alice = here.user('alice')
  bob = there.user('bob')
}, 60_000)
afterAll(async () => {
  await here[Symbol.asyncDispose]()
  await there[Symbol.asyncDispose]()
})
beforeEach(() => {
  bound.clear()
  stored = []
  isValid = true
})

const invite = (room: RoomId, address: string, accessToken = 'secret') =>
  here.rooms.inviteThirdParty(alice, room, {
    server: { name: identityName, accessToken },
    ...{ medium: 'email', address },
  })
const is = async (server: TestRooms, user: UserId, room: RoomId) =>
  (await server.memberships.ofUser(user)).get(room)?.membership
/** What the identity server tells when the address is bound to a user. */
const proof = (user: UserId, token = 'token1') => signJson({ mxid: user, token }, identityName, key)

describe('an invite to an address', () => {
  it('is an ordinary one when somebody has bound the address', async () => {
    const carol = here.user('carol').user
    bound.set('carol@example.org', carol)
    const room = await here.rooms.create(alice, {})
    await invite(room, 'carol@example.org')
    expect(await is(here, carol, room)).toBe('invite')
    expect(stored).toEqual([])
  })

  it('waits in the room’s state otherwise, without the address', async () => {
    const room = await here.rooms.create(alice, { name: 'Kitchen' })
    await invite(room, 'bob@example.org')
    expect(stored).toEqual([
      expect.objectContaining({
        ...{ medium: 'email', address: 'bob@example.org', room_id: room, sender: alice.user },
        ...{ room_name: 'Kitchen', room_join_rules: 'invite' },
      }),
    ])
    const event = await here.events.currentEntry(room, 'm.room.third_party_invite', 'token1')
    expect(event?.pdu.content).toEqual({
      display_name: 'b...@e...',
      key_validity_url: validityUrl,
      public_key: key.publicKey,
      public_keys: [{ public_key: key.publicKey, key_validity_url: validityUrl }],
    })
  })

  it('is refused as the identity server refuses, and to those outside', async () => {
    const room = await here.rooms.create(alice, {})
    await expect(invite(room, 'x@example.org', 'wrong')).rejects.toMatchObject({
      errcode: 'M_FORBIDDEN',
    })
    const foreign = await there.rooms.create(bob, {})
    await expect(invite(foreign, 'x@example.org')).rejects.toMatchObject({ errcode: 'M_FORBIDDEN' })
  })
})

describe('a user who binds the address', () => {
  it('of this server is invited when the identity server says so', async () => {
    const carol = here.user('carol').user
    const room = await here.rooms.create(alice, {})
    await invite(room, 'carol@example.org')
    const one = { room, sender: alice.user, user: carol, signed: proof(carol) }
    await here.rooms.boundInvites([one])
    expect(await is(here, carol, room)).toBe('invite')
    const event = await here.events.currentEntry(room, 'm.room.member', carol)
    expect(event?.pdu.content).toMatchObject({
      third_party_invite: { display_name: 'b...@e...', signed: proof(carol) },
    })
    await here.rooms.join({ ...here.user('carol') }, room, { via: [] })
  })

  it('of another server is invited by way of the inviter’s, and comes in', async () => {
    const room = await here.rooms.create(alice, {})
    await invite(room, 'bob@example.org')
    const one = { room, sender: alice.user, user: bob.user, signed: proof(bob.user) }
    await there.rooms.boundInvites([one])
    expect(await is(here, bob.user, room)).toBe('invite')
    expect(await is(there, bob.user, room)).toBe('invite')
    await there.rooms.join(bob, room, { via: [here.name] })
    expect(await is(here, bob.user, room)).toBe('join')
  })

  it('comes in with the proof in their own hands', async () => {
    const room = await here.rooms.create(alice, {})
    await invite(room, 'bob@example.org')
    const claim = { sender: alice.user, signed: proof(bob.user) }
    await there.rooms.claimInvite(bob, room, claim)
    await there.rooms.join(bob, room, { via: [here.name] })
    expect(await is(here, bob.user, room)).toBe('join')
    const carol = there.user('carol')
    await there.rooms.claimInvite(carol, room, claim)
    expect(await is(here, carol.user, room)).toBeUndefined()
  })

  it('is not invited by a signature of somebody else, by a key that has ended, or without an invite', async () => {
    const room = await here.rooms.create(alice, {})
    await invite(room, 'bob@example.org')
    const exchange = (signed: JsonObject, sender = alice.user) =>
      here.rooms.exchangeInvite({ room, sender, user: bob.user, signed })
    const other = signingKeyFromSeed('ed25519:1', new Uint8Array(32).fill(4))
    const wrong = [
      signJson({ mxid: bob.user, token: 'token1' }, identityName, other),
      proof(bob.user, 'token2'),
    ]
    for (const signed of wrong) {
      await expect(exchange(signed)).rejects.toMatchObject({ errcode: 'M_FORBIDDEN' })
    }
    await expect(exchange(proof(alice.user))).rejects.toMatchObject({ errcode: 'M_BAD_JSON' })
    await expect(exchange(proof(bob.user), bob.user)).rejects.toMatchObject({
      errcode: 'M_FORBIDDEN',
    })
    isValid = false
    await expect(exchange(proof(bob.user))).rejects.toMatchObject({ errcode: 'M_FORBIDDEN' })
    expect(await is(here, bob.user, room)).toBeUndefined()
  })
})
