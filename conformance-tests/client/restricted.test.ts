import { describe, expect, it } from 'vitest'
import { inSection, register } from '../harness/client.ts'
import { server } from '../harness/fixtures.ts'
import { path } from '../harness/http.ts'

const v3 = '/_matrix/client/v3'

async function restricted(rule: 'restricted' | 'knock_restricted', version: string) {
  const [alice, bob] = await Promise.all([register(server), register(server)])
  const lobby = await alice.createRoom({ preset: 'public_chat', room_version: version })
  const room = await alice.createRoom({
    preset: 'public_chat',
    room_version: version,
    initial_state: [
      {
        type: 'm.room.join_rules',
        content: { join_rule: rule, allow: [{ type: 'm.room_membership', room_id: lobby }] },
      },
    ],
  })
  return { alice, bob, lobby, room }
}

describe.each([
  ['restricted', '10'],
  ['restricted', '11'],
  ['restricted', '12'],
  ['knock_restricted', '10'],
] as const)('a %s room of version %s', (rule, version) => {
  it('lets in the members of the room it names', async () => {
    const { alice, bob, lobby, room } = await restricted(rule, version)
    await expect(bob.join(room)).rejects.toMatchObject({ status: 403 })
    await bob.join(lobby)
    await bob.join(room)
    expect(await alice.getState(room, 'm.room.member', bob.userId)).toMatchObject({
      membership: 'join',
      join_authorised_via_users_server: alice.userId,
    })
  })

  it('keeps out those who left the room it names', async () => {
    const { bob, lobby, room } = await restricted(rule, version)
    await bob.join(lobby)
    await bob.leave(lobby)
    await expect(bob.join(room)).rejects.toMatchObject({ status: 403 })
  })

  it('lets in the invited', async () => {
    const { alice, bob, room } = await restricted(rule, version)
    await alice.invite(room, bob.userId)
    await bob.join(room)
  })
})

describe('knocking', () => {
  async function knockable(version: string) {
    const [alice, bob] = await Promise.all([register(server), register(server)])
    const room = await alice.createRoom({
      preset: 'private_chat',
      room_version: version,
      name: 'Knock here',
      initial_state: [{ type: 'm.room.join_rules', content: { join_rule: 'knock' } }],
    })
    return { alice, bob, room }
  }

  it.each(['10', '11', '12'])(
    'shows in sync and can be answered with an invite, in version %s',
    async (version) => {
      const { alice, bob, room } = await knockable(version)
      const answer = await bob.call('POST', path(`${v3}/knock`, room), {
        body: { reason: 'let me in' },
      })
      expect(answer).toMatchObject({ room_id: room })
      const seen = await bob.syncUntil(inSection('knock', room))
      expect(seen.rooms.knock[room]?.knock_state.events).toContainEqual(
        expect.objectContaining({ type: 'm.room.name', content: { name: 'Knock here' } }),
      )
      expect(await alice.getState(room, 'm.room.member', bob.userId)).toMatchObject({
        membership: 'knock',
        reason: 'let me in',
      })
      await alice.invite(room, bob.userId)
      await bob.join(room)
    },
  )

  it('is refused where the join rule does not allow it', async () => {
    const [alice, bob] = await Promise.all([register(server), register(server)])
    const room = await alice.createRoom({ preset: 'private_chat' })
    expect(await bob.ask('POST', path(`${v3}/knock`, room), { body: {} })).toMatchObject({
      status: 403,
      body: { errcode: 'M_FORBIDDEN' },
    })
  })

  it('can be taken back, and refused', async () => {
    const { alice, bob, room } = await knockable('11')
    await bob.call('POST', path(`${v3}/knock`, room), { body: {} })
    await bob.leave(room)
    await bob.call('POST', path(`${v3}/knock`, room), { body: {} })
    await alice.kick(room, bob.userId)
    expect(await alice.getState(room, 'm.room.member', bob.userId)).toMatchObject({
      membership: 'leave',
    })
  })

  it('is refused to members and to the banned', async () => {
    const { alice, bob, room } = await knockable('11')
    expect((await alice.ask('POST', path(`${v3}/knock`, room), { body: {} })).status).toBe(403)
    await alice.ban(room, bob.userId)
    expect((await bob.ask('POST', path(`${v3}/knock`, room), { body: {} })).status).toBe(403)
  })
})
