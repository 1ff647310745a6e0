/** A room that is replaced while people of another server are in it. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { type Client, eventually, inSection, inTimeline, register } from '../harness/client.ts'
import { path } from '../harness/http.ts'
import { type Federation, startFederation } from '../harness/pair.ts'
import { launcherUnderTest, secondLauncher, urlUnderTest } from '../harness/settings.ts'

let federation: Federation | undefined

beforeAll(async () => {
  if (urlUnderTest !== undefined) return
  federation = await startFederation([
    { launcher: secondLauncher },
    { launcher: launcherUnderTest },
  ])
})
afterAll(() => federation?.[Symbol.asyncDispose]())

const actions = ['dont_notify']
const ruleOf = (room: string) => path('/_matrix/client/v3/pushrules/global/room', room)
const isJoined = (room: string, user: string) =>
  inTimeline(
    room,
    ({ state_key, content }) => state_key === user && content['membership'] === 'join',
  )

/** Alice has a room in which two people of the other server have silenced it. */
async function silenced() {
  const [home, away] = federation?.servers ?? []
  if (!home || !away) throw new Error('two servers')
  const [alice, bob, carol] = await Promise.all([
    register(home, 'alice'),
    register(away, 'bob'),
    register(away, 'carol'),
  ])
  const old = await alice.createRoom({ preset: 'public_chat', room_version: '10' })
  const join = async (room: string) => {
    await bob.join(room, [home.name])
    await bob.syncUntil(inSection('join', room))
    await carol.join(room)
    await carol.syncUntil(isJoined(room, carol.userId))
  }
  await join(old)
  for (const one of [bob, carol]) await one.call('PUT', ruleOf(old), { body: { actions } })
  return { alice, bob, carol, old, join }
}

async function seesTombstone(client: Client, room: string, next: string) {
  await client.syncUntil(
    inTimeline(
      room,
      ({ type, content }) => type === 'm.room.tombstone' && content['replacement_room'] === next,
    ),
  )
}

async function hasRule(client: Client, room: string) {
  const rule = await eventually(
    () => client.call('GET', ruleOf(room)),
    () => true,
  )
  expect(rule['actions']).toEqual(actions)
}

describe.skipIf(urlUnderTest !== undefined)('across two servers', () => {
  it.each(['11', '12'])(
    'people of another server keep their push rules, when the room is replaced, by version %s',
    async (version) => {
      const { alice, bob, carol, old, join } = await silenced()
      const answer = await alice.call('POST', alice.room(old, 'upgrade'), {
        body: { new_version: version },
      })
      const { replacement_room: next } = z.object({ replacement_room: z.string() }).parse(answer)
      await seesTombstone(bob, old, next)
      await join(next)
      for (const one of [bob, carol]) await hasRule(one, next)
    },
  )

  it('people of another server keep their push rules, when the room is replaced by hand', async () => {
    const { alice, bob, carol, old, join } = await silenced()
    const next = await alice.createRoom({
      preset: 'public_chat',
      room_version: '11',
      creation_content: { predecessor: { room_id: old } },
    })
    const tombstone = { body: 'replaced', replacement_room: next }
    await alice.setState(old, 'm.room.tombstone', '', tombstone)
    await seesTombstone(bob, old, next)
    await join(next)
    for (const one of [bob, carol]) await hasRule(one, next)
  })
})
