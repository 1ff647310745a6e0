/** Rooms that let in the members of other rooms, across servers. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Client, eventually, inTimeline, register } from '../harness/client.ts'
import { type Federation, startFederation } from '../harness/pair.ts'
import type { Homeserver } from '../harness/server.ts'
import { launcherUnderTest, secondLauncher, urlUnderTest } from '../harness/settings.ts'

let federation: Federation | undefined

beforeAll(async () => {
  if (urlUnderTest !== undefined) return
  federation = await startFederation([
    { launcher: launcherUnderTest },
    { launcher: secondLauncher },
    { launcher: launcherUnderTest },
  ])
})
afterAll(() => federation?.[Symbol.asyncDispose]())

function servers(): [Homeserver, Homeserver, Homeserver] {
  const [first, second, third] = federation?.servers ?? []
  if (!first || !second || !third) throw new Error('three servers')
  return [first, second, third]
}

const memberOf = (room: string, user: string, membership: string) =>
  inTimeline(
    room,
    ({ state_key, content }) => state_key === user && content['membership'] === membership,
  )

async function restricted(owner: Client, rule: string, version: string) {
  const lobby = await owner.createRoom({ preset: 'public_chat', room_version: version })
  const allow = [{ type: 'm.room_membership', room_id: lobby, via: [owner.server.name] }]
  const room = await owner.createRoom({
    preset: 'public_chat',
    room_version: version,
    initial_state: [{ type: 'm.room.join_rules', content: { join_rule: rule, allow } }],
  })
  return { lobby, room }
}

/** Gives a user of another server the level that inviting takes; the creator has it anyway. */
async function onlyInvite(owner: Client, room: string, version: string, more: string[] = []) {
  const users = Object.fromEntries(more.map((user) => [user, 100]))
  const own = version === '12' ? {} : { [owner.userId]: 100 }
  return await owner.setState(room, 'm.room.power_levels', '', {
    invite: 100,
    users: { ...own, ...users },
  })
}

const authoriser = async (client: Client, room: string, user: string) =>
  (await client.getState(room, 'm.room.member', user))['join_authorised_via_users_server']

describe.skipIf(urlUnderTest !== undefined).each([
  ['restricted', '10'],
  ['restricted', '11'],
  ['restricted', '12'],
  ['knock_restricted', '10'],
] as const)('across servers, a %s room of version %s', (rule, version) => {
  it('lets in members of the room it names, and nobody else', async () => {
    const [home, away] = servers()
    const [alice, bob] = await Promise.all([register(home, 'alice'), register(away, 'bob')])
    const { lobby, room } = await restricted(alice, rule, version)
    const via = [home.name]
    await expect(bob.join(room, via)).rejects.toMatchObject({ status: 403 })
    await bob.join(lobby, via)
    await bob.join(room, via)
    expect(await authoriser(alice, room, bob.userId)).toBe(alice.userId)
    // Whoever is in may say something new of themselves.
    await bob.setState(room, 'm.room.member', bob.userId, {
      membership: 'join',
      displayname: 'Bobby',
      join_authorised_via_users_server: 'unused',
    })
    expect(await bob.getState(room, 'm.room.member', bob.userId)).toMatchObject({
      displayname: 'Bobby',
    })
  })

  it('keeps out those who left the room it names, until they are invited', async () => {
    const [home, away] = servers()
    const [alice, bob] = await Promise.all([register(home, 'alice'), register(away, 'bob')])
    const { lobby, room } = await restricted(alice, rule, version)
    const via = [home.name]
    await bob.join(lobby, via)
    await bob.join(room, via)
    await bob.leave(room)
    await bob.leave(lobby)
    await alice.syncUntil(memberOf(lobby, bob.userId, 'leave'))
    await alice.syncUntil(memberOf(room, bob.userId, 'leave'))
    await expect(bob.join(room, via)).rejects.toMatchObject({ status: 403 })
    await alice.invite(room, bob.userId)
    await bob.join(room, via)
  })

  it('lets nobody in by a rule that is mangled', async () => {
    const [home, away] = servers()
    const [alice, bob] = await Promise.all([register(home, 'alice'), register(away, 'bob')])
    const { lobby, room } = await restricted(alice, rule, version)
    await bob.join(lobby, [home.name])
    for (const allow of [['invalid'], 'invalid']) {
      await alice.setState(room, 'm.room.join_rules', '', { join_rule: rule, allow })
      const status = await bob.join(room, [home.name]).then(
        () => 200,
        (error: { status: number }) => error.status,
      )
      expect(status).toBeGreaterThanOrEqual(400)
    }
  })

  it('is joined by way of a server that can say yes, when the user’s own cannot', async () => {
    const [home, away] = servers()
    const [alice, carol] = await Promise.all([register(away, 'alice'), register(home, 'carol')])
    const bob = await register(away, 'bob')
    const { lobby, room } = await restricted(carol, rule, version)
    await onlyInvite(carol, room, version)
    await carol.invite(room, alice.userId)
    await alice.join(room, [home.name])
    await expect(bob.join(room, [away.name])).rejects.toMatchObject({ name: 'ApiError' })
    await bob.join(lobby, [home.name])
    await bob.join(room, [away.name])
    await carol.syncUntil(memberOf(room, bob.userId, 'join'))
    expect(await authoriser(carol, room, bob.userId)).toBe(carol.userId)
  })

  it('is joined by way of the next server, when the first cannot say yes', async () => {
    const [home, away, third] = servers()
    const [alice, bob] = await Promise.all([register(home, 'alice'), register(away, 'bob')])
    const carol = await register(third, 'carol')
    const { lobby, room } = await restricted(alice, rule, version)
    await onlyInvite(alice, room, version)
    await bob.join(lobby, [home.name])
    await bob.join(room, [home.name])
    await carol.join(lobby, [home.name])
    await bob.syncUntil(memberOf(lobby, carol.userId, 'join'))
    // Nobody of the second server may invite.
    await expect(carol.join(room, [away.name])).rejects.toMatchObject({ name: 'ApiError' })
    await carol.join(room, [away.name, home.name])
    await bob.syncUntil(memberOf(room, carol.userId, 'join'))
    expect(await authoriser(bob, room, carol.userId)).toBe(alice.userId)

    await onlyInvite(alice, room, version, [bob.userId])
    const { next_batch: since } = await bob.sync()
    await carol.leave(room)
    for (const client of [alice, bob]) await client.syncUntil(memberOf(room, carol.userId, 'leave'))
    await bob.leave(lobby)
    // The second server does not know any more who is in the lobby.
    await expect(carol.join(room, [away.name])).rejects.toMatchObject({ name: 'ApiError' })
    await carol.join(room, [away.name, home.name])
    await bob.syncUntil(memberOf(room, carol.userId, 'join'), { since })
    expect(await authoriser(bob, room, carol.userId)).toBe(alice.userId)
  })

  it('is joined on the user’s own server by whoever there may invite, creator or not', async () => {
    const [home, away] = servers()
    const [alice, bob] = await Promise.all([register(home, 'alice'), register(away, 'bob')])
    const carol = await register(away, 'carol')
    const { lobby, room } = await restricted(alice, rule, version)
    await bob.join(lobby, [home.name])
    await bob.join(room, [home.name])
    await onlyInvite(alice, room, version, [bob.userId])
    await eventually(
      () => bob.getState(room, 'm.room.power_levels'),
      ({ invite }) => invite === 100,
    )
    await carol.join(lobby, [home.name])
    await carol.join(room, [away.name])
    expect(await authoriser(bob, room, carol.userId)).toBe(bob.userId)
  })
})
