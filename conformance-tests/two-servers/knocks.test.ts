/** Knocking by a user of the room's own server and by one of another. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Client, inSection, inTimeline, register } from '../harness/client.ts'
import { path } from '../harness/http.ts'
import { type Federation, startFederation } from '../harness/pair.ts'
import { launcherUnderTest, secondLauncher, urlUnderTest } from '../harness/settings.ts'

let federation: Federation | undefined

beforeAll(async () => {
  if (urlUnderTest !== undefined) return
  federation = await startFederation([
    { launcher: launcherUnderTest },
    { launcher: secondLauncher },
  ])
})
afterAll(() => federation?.[Symbol.asyncDispose]())

const rooms = [
  ['knock', '10'],
  ['knock', '12'],
  ['knock_restricted', '10'],
  ['knock_restricted', '12'],
] as const
const places = ['the same server', 'another server'] as const
const cases = rooms.flatMap(([rule, version]) =>
  places.map((place) => [place, rule, version] as const),
)

const memberOf = (room: string, user: string, membership: string, reason?: string) =>
  inTimeline(
    room,
    ({ type, state_key, content }) =>
      type === 'm.room.member' &&
      state_key === user &&
      content['membership'] === membership &&
      (reason === undefined || content['reason'] === reason),
  )

describe.skipIf(urlUnderTest !== undefined).each(cases)(
  'a user of %s, and a room with the rule %s in version %s',
  (place, rule, version) => {
    async function people(): Promise<{ alice: Client; bob: Client }> {
      const [home, away] = federation?.servers ?? []
      if (!home || !away) throw new Error('two servers')
      const there = place === 'another server' ? away : home
      const [alice, bob] = await Promise.all([register(home, 'alice'), register(there, 'bob')])
      return { alice, bob }
    }
    async function knockable() {
      const { alice, bob } = await people()
      const room = await alice.createRoom({
        preset: 'private_chat',
        room_version: version,
        name: 'Knock here',
        initial_state: [{ type: 'm.room.join_rules', content: { join_rule: rule } }],
      })
      return { alice, bob, room }
    }
    const ask = (alice: Client, bob: Client, room: string, reason?: string) =>
      bob.ask('POST', path('/_matrix/client/v3/knock', room), {
        query: { via: alice.server.name, server_name: alice.server.name },
        body: reason === undefined ? {} : { reason },
      })
    async function knock(alice: Client, bob: Client, room: string, reason?: string) {
      expect(await ask(alice, bob, room, reason)).toMatchObject({
        status: 200,
        body: { room_id: room },
      })
      return await bob.syncUntil(inSection('knock', room))
    }

    it('a knock is refused where the rule is another, and taken when the rule changes', async () => {
      const { alice, bob } = await people()
      const room = await alice.createRoom({ preset: 'private_chat', room_version: version })
      expect((await ask(alice, bob, room)).status).toBe(403)
      await alice.setState(room, 'm.room.join_rules', '', { join_rule: rule })
      await knock(alice, bob, room)
    })

    it('nobody joins without an invite', async () => {
      const { alice, bob, room } = await knockable()
      await expect(bob.join(room, [alice.server.name])).rejects.toMatchObject({ status: 403 })
    })

    it('a knock shows in both syncs, with its reason and what the room is called', async () => {
      const { alice, bob, room } = await knockable()
      const seen = await knock(alice, bob, room, 'let me in')
      const state = seen.rooms.knock[room]?.knock_state.events ?? []
      expect(state).toContainEqual(
        expect.objectContaining({ type: 'm.room.name', content: { name: 'Knock here' } }),
      )
      expect(state).toContainEqual(
        expect.objectContaining({
          type: 'm.room.member',
          state_key: bob.userId,
          content: expect.objectContaining({ membership: 'knock', reason: 'let me in' }),
        }),
      )
      await alice.syncUntil(memberOf(room, bob.userId, 'knock', 'let me in'))
    })

    it('one may knock again, also without a reason', async () => {
      const { alice, bob, room } = await knockable()
      await knock(alice, bob, room, 'hello?')
      await knock(alice, bob, room, 'is anybody there?')
      await alice.syncUntil(memberOf(room, bob.userId, 'knock', 'is anybody there?'))
      await knock(alice, bob, room)
    })

    it('a knock is taken back, and done again', async () => {
      const { alice, bob, room } = await knockable()
      const { next_batch: since } = await knock(alice, bob, room)
      await bob.leave(room)
      await bob.syncUntil(inSection('leave', room), { since })
      // Across servers federation/knocks.test.ts shows it: Synapse does not tell the other server.
      if (place === 'the same server') await alice.syncUntil(memberOf(room, bob.userId, 'leave'))
      await knock(alice, bob, room, 'I am back')
    })

    it('a knock is refused by a member, and done again', async () => {
      const { alice, bob, room } = await knockable()
      await knock(alice, bob, room)
      await alice.kick(room, bob.userId, { reason: 'not now' })
      await alice.syncUntil(memberOf(room, bob.userId, 'leave', 'not now'))
      await knock(alice, bob, room, 'please')
      await alice.kick(room, bob.userId)
      await knock(alice, bob, room)
    })

    it('a knock is answered by an invite, and then nobody knocks who is invited or in', async () => {
      const { alice, bob, room } = await knockable()
      await knock(alice, bob, room)
      await alice.invite(room, bob.userId)
      await bob.syncUntil(inSection('invite', room))
      expect((await ask(alice, bob, room, 'again')).status).toBe(403)
      await bob.join(room, [alice.server.name])
      expect((await ask(alice, bob, room, 'again')).status).toBe(403)
    })

    it('the banned do not knock', async () => {
      const { alice, bob, room } = await knockable()
      await knock(alice, bob, room)
      await alice.ban(room, bob.userId)
      expect((await ask(alice, bob, room)).status).toBe(403)
    })
  },
)
