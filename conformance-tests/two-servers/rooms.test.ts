import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  type Client,
  eventually,
  inSection,
  inTimeline,
  register,
  unique,
} from '../harness/client.ts'
import type { Body } from '../harness/http.ts'
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

/** Alice on one server and bob on the other; the first server of the pair is alice's. */
async function people(direction: 'there' | 'back'): Promise<{ alice: Client; bob: Client }> {
  const servers = federation?.servers ?? []
  const [home, away] = direction === 'there' ? servers : servers.toReversed()
  if (!home || !away) throw new Error('two servers')
  const [alice, bob] = await Promise.all([register(home, 'alice'), register(away, 'bob')])
  return { alice, bob }
}

const membershipOf = (room: string, user: string, membership: string) =>
  inTimeline(
    room,
    ({ state_key, content }) => state_key === user && content['membership'] === membership,
  )

const versions = ['10', '11', '12']
/** Two servers of one kind need not be tried both ways. */
const directions =
  secondLauncher === launcherUnderTest ? (['there'] as const) : (['there', 'back'] as const)
const cases = versions.flatMap((version) =>
  directions.map((direction) => [version, direction] as const),
)

describe.skipIf(urlUnderTest !== undefined).each(cases)(
  'across two servers, in room version %s (%s)',
  (version, direction) => {
    async function shared(options: Body = {}) {
      const { alice, bob } = await people(direction)
      const room = await alice.createRoom({
        preset: 'private_chat',
        room_version: version,
        ...options,
      })
      await alice.invite(room, bob.userId)
      await bob.syncUntil(inSection('invite', room))
      await bob.join(room)
      const { next_batch: since } = await bob.syncUntil(inSection('join', room))
      await alice.syncUntil(membershipOf(room, bob.userId, 'join'))
      return { alice, bob, room, since }
    }

    it('an invite is accepted, and both see the same members', async () => {
      const { alice, bob, room } = await shared({ name: 'both' })
      for (const client of [alice, bob]) {
        const { joined } = await client.call('GET', client.room(room, 'joined_members'))
        expect(Object.keys(joined ?? {}).sort()).toEqual([alice.userId, bob.userId].sort())
        expect(await client.getState(room, 'm.room.name')).toEqual({ name: 'both' })
      }
    })

    it('an invite is refused, and the inviter sees it', async () => {
      const { alice, bob } = await people(direction)
      const room = await alice.createRoom({ preset: 'private_chat', room_version: version })
      await alice.invite(room, bob.userId)
      await bob.syncUntil(inSection('invite', room))
      await bob.leave(room)
      await alice.syncUntil(membershipOf(room, bob.userId, 'leave'))
    })

    it('messages go both ways with the same ids and contents', async () => {
      const { alice, bob, room } = await shared()
      for (const [from, to] of [
        [alice, bob],
        [bob, alice],
      ] as const) {
        const id = await from.sendText(room, `from ${from.userId}`)
        await to.syncUntil(inTimeline(room, ({ event_id }) => event_id === id))
        expect(await to.event(room, id)).toMatchObject({
          sender: from.userId,
          content: { body: `from ${from.userId}` },
        })
      }
    })

    it('a room is joined by its alias', async () => {
      const { alice, bob } = await people(direction)
      const name = unique('alias')
      const room = await alice.createRoom({
        preset: 'public_chat',
        room_version: version,
        room_alias_name: name,
      })
      expect(await bob.join(`#${name}:${alice.server.name}`)).toBe(room)
      await alice.syncUntil(membershipOf(room, bob.userId, 'join'))
    })

    it('history from before the join is fetched', async () => {
      const { alice, bob } = await people(direction)
      const room = await alice.createRoom({ preset: 'public_chat', room_version: version })
      const ids: string[] = []
      for (let i = 0; i < 12; i++) ids.push(await alice.sendText(room, `old ${i}`))
      await bob.join(room, [alice.server.name])
      const seen = await eventually(
        async () => (await bob.messages(room, { limit: 40 })).chunk.map(({ event_id }) => event_id),
        (found) => ids.every((id) => found.includes(id)),
      )
      expect(seen.filter((id) => ids.includes(id))).toEqual(ids.toReversed())
    })

    it('state and power levels are the same on both', async () => {
      const { alice, bob, room, since } = await shared()
      const levels = await alice.getState(room, 'm.room.power_levels')
      const users = { ...Object(levels['users']), [bob.userId]: 50 }
      const changed = await alice.setState(room, 'm.room.power_levels', '', { ...levels, users })
      await bob.syncUntil(
        inTimeline(room, ({ event_id }) => event_id === changed),
        { since },
      )
      const topic = await bob.setState(room, 'm.room.topic', '', { topic: 'by bob' })
      await alice.syncUntil(inTimeline(room, ({ event_id }) => event_id === topic))
      const keys = async (client: Client) =>
        (await client.allState(room)).map(({ event_id }) => event_id).sort()
      expect(await keys(alice)).toEqual(await keys(bob))
    })

    it('a redaction empties the event on both', async () => {
      const { alice, bob, room } = await shared()
      const id = await bob.sendText(room, 'a mistake')
      await alice.syncUntil(inTimeline(room, ({ event_id }) => event_id === id))
      await bob.redact(room, id)
      const event = await eventually(
        () => alice.event(room, id),
        ({ content }) => Object.keys(content).length === 0,
      )
      expect(event.unsigned['redacted_because']).toMatchObject({ sender: bob.userId })
    })

    it('a banned user is out, and stays out', async () => {
      const { alice, bob, room, since } = await shared()
      await alice.ban(room, bob.userId)
      await bob.syncUntil(inSection('leave', room), { since })
      await expect(bob.sendText(room, 'still here')).rejects.toMatchObject({ status: 403 })
      await expect(bob.join(room, [alice.server.name])).rejects.toMatchObject({ status: 403 })
    })

    it('one leaves and joins again', async () => {
      const { alice, bob, room } = await shared({ preset: 'public_chat' })
      const before = await alice.sync()
      await bob.leave(room)
      const left = await alice.syncUntil(membershipOf(room, bob.userId, 'leave'), {
        since: before.next_batch,
      })
      const missed = await alice.sendText(room, 'while bob is away')
      await bob.join(room, [alice.server.name])
      await alice.syncUntil(membershipOf(room, bob.userId, 'join'), { since: left.next_batch })
      const seen = await alice.sendText(room, 'welcome back')
      await bob.syncUntil(inTimeline(room, ({ event_id }) => event_id === seen))
      const ids = await eventually(
        async () => (await bob.messages(room, { limit: 30 })).chunk.map(({ event_id }) => event_id),
        (found) => found.includes(missed),
      )
      expect(ids.indexOf(seen)).toBeLessThan(ids.indexOf(missed))
    })

    it('typing and receipts cross', async () => {
      const { alice, bob, room, since } = await shared()
      await alice.call('PUT', alice.room(room, 'typing', alice.userId), {
        body: { typing: true, timeout: 20_000 },
      })
      const seen = await bob.syncUntil(
        ({ rooms }) => JSON.stringify(rooms.join[room]?.ephemeral ?? {}).includes(alice.userId),
        { since },
      )
      const id = await bob.sendText(room, 'read me')
      await alice.syncUntil(inTimeline(room, ({ event_id }) => event_id === id))
      await alice.call('POST', alice.room(room, 'receipt', 'm.read', id), { body: {} })
      await bob.syncUntil(
        ({ rooms }) => JSON.stringify(rooms.join[room]?.ephemeral ?? {}).includes(id),
        {
          since: seen.next_batch,
        },
      )
    })
  },
)
