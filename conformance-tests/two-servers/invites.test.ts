/** Invites across servers, beside what rooms.test.ts shows. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Client, eventually, inSection, inTimeline, register } from '../harness/client.ts'
import { path, send } from '../harness/http.ts'
import { type Federation, startFederation } from '../harness/pair.ts'
import { launcherUnderTest, secondLauncher, urlUnderTest } from '../harness/settings.ts'

const asToken = 'conformance-as-token'
const registration = {
  id: 'bridge',
  url: null,
  as_token: asToken,
  hs_token: 'conformance-hs-token',
  sender_localpart: 'the-bridge-user',
  rate_limited: false,
  namespaces: { users: [{ exclusive: true, regex: '@_bridge_.*' }], aliases: [], rooms: [] },
}

let federation: Federation | undefined
let dir: string | undefined

beforeAll(async () => {
  if (urlUnderTest !== undefined) return
  dir = mkdtempSync(join(tmpdir(), 'conformance-'))
  // JSON is YAML.
  const file = join(dir, 'bridge.yaml')
  writeFileSync(file, JSON.stringify(registration))
  federation = await startFederation([
    { launcher: launcherUnderTest, env: { HS_APPSERVICES: file } },
    { launcher: secondLauncher },
  ])
})
afterAll(async () => {
  await federation?.[Symbol.asyncDispose]()
  if (dir !== undefined) rmSync(dir, { recursive: true, force: true })
})

async function people(): Promise<{ alice: Client; bob: Client; carol: Client }> {
  const [away, home] = federation?.servers ?? []
  if (!home || !away) throw new Error('two servers')
  const [alice, bob, carol] = await Promise.all([
    register(home, 'alice'),
    register(away, 'bob'),
    register(away, 'carol'),
  ])
  return { alice, bob, carol }
}

const memberOf = (room: string, user: string, membership: string) =>
  inTimeline(
    room,
    ({ state_key, content }) => state_key === user && content['membership'] === membership,
  )

describe.skipIf(urlUnderTest !== undefined).each(['10', '12'])(
  'across two servers, in room version %s',
  (version) => {
    it('an invite is refused, when nobody is left in the room', async () => {
      const { alice, bob } = await people()
      const room = await alice.createRoom({ room_version: version, invite: [bob.userId] })
      const { next_batch: since } = await bob.syncUntil(inSection('invite', room))
      await alice.leave(room)
      await bob.leave(room)
      await bob.syncUntil(inSection('leave', room), { since })
    })

    it('an invite to a direct chat is told as such, by the join too', async () => {
      const { alice, bob } = await people()
      const room = await alice.createRoom({
        room_version: version,
        invite: [bob.userId],
        is_direct: true,
      })
      const seen = await bob.syncUntil(inSection('invite', room))
      const invite = seen.rooms.invite[room]?.invite_state.events.find(
        ({ type, state_key }) => type === 'm.room.member' && state_key === bob.userId,
      )
      expect(invite?.content).toMatchObject({ membership: 'invite', is_direct: true })
      await bob.join(room)
      const joined = await bob.syncUntil(memberOf(room, bob.userId, 'join'))
      const join = joined.rooms.join[room]?.timeline.events.find(
        ({ state_key, content }) => state_key === bob.userId && content['membership'] === 'join',
      )
      expect(join?.unsigned).toMatchObject({
        prev_content: { membership: 'invite', is_direct: true },
        prev_sender: alice.userId,
      })
    })

    it('an invite is taken, or refused, by a second user of a server that is in the room', async () => {
      const { alice, bob, carol } = await people()
      const room = await alice.createRoom({ preset: 'private_chat', room_version: version })
      await alice.invite(room, bob.userId)
      await bob.syncUntil(inSection('invite', room))
      await bob.join(room, [alice.server.name])
      await alice.syncUntil(memberOf(room, bob.userId, 'join'))
      await alice.invite(room, carol.userId)
      await carol.syncUntil(inSection('invite', room))
      await carol.leave(room)
      await alice.syncUntil(memberOf(room, carol.userId, 'leave'))
      const dora = await register(bob.server, 'dora')
      await alice.invite(room, dora.userId)
      await dora.syncUntil(inSection('invite', room))
      await dora.join(room, [alice.server.name])
      await alice.syncUntil(memberOf(room, dora.userId, 'join'))
    })

    it('a room elsewhere is joined by a user of an application service', async () => {
      const { alice, bob } = await people()
      const room = await alice.createRoom({ preset: 'public_chat', room_version: version })
      const user = `@the-bridge-user:${bob.server.name}`
      await send(bob.server.clientUrl, 'POST', path('/_matrix/client/v3/join', room), {
        token: asToken,
        query: { via: alice.server.name, server_name: alice.server.name, user_id: user },
        body: {},
      })
      await eventually(
        () => alice.getState(room, 'm.room.member', user),
        ({ membership }) => membership === 'join',
      )
    })
  },
)
