/** The state at the end of a sync's timeline, for clients that take none from the timeline. */
import { describe, expect, it } from 'vitest'
import { type Client, eventually, register } from '../harness/client.ts'
import { itSynapseBreaks } from '../harness/exceptions.ts'
import { inviteAndJoin, joinedRoom, server } from '../harness/fixtures.ts'
import { type Body, isBody } from '../harness/http.ts'

const forms = [
  {
    parameter: 'use_state_after',
    answered: 'state_after',
    test: itSynapseBreaks('servers MUST respond with the state … in `state_after`'),
  },
  {
    parameter: 'org.matrix.msc4222.use_state_after',
    answered: 'org.matrix.msc4222.state_after',
    test: it,
  },
]

const lazy = { lazy_load_members: true }
const nameIn = (events: readonly Body[] | undefined) =>
  events?.filter(({ type }) => type === 'm.room.name').map(({ content }) => content)
const membersIn = (events: readonly Body[] | undefined) =>
  events?.filter(({ type }) => type === 'm.room.member').map((event) => event['state_key'])

describe.each(forms)('a sync with $parameter', ({ parameter, answered, test }) => {
  /** A room's entry in the answer to such a sync, and where the next one begins. */
  async function entryOf(client: Client, room: string, filter: Body, since?: string, more = {}) {
    const query = { since, filter: JSON.stringify(filter), [parameter]: true, ...more }
    const answer = await client.call('GET', '/_matrix/client/v3/sync', { query })
    const { rooms, next_batch: next } = answer
    const entries = isBody(rooms) ? { ...bodyAt(rooms, 'join'), ...bodyAt(rooms, 'leave') } : {}
    const entry = bodyAt(entries, room)
    return { entry, events: eventsAt(entry, answered), next: String(next) }
  }

  test('has the state with what the timeline changes, and no other', async () => {
    const { alice, room } = await joinedRoom({ name: 'first' })
    await alice.setState(room, 'm.room.name', '', { name: 'second' })
    const filter = { room: { timeline: { limit: 1 } } }
    const { entry, events, next } = await entryOf(alice, room, filter)
    expect(entry).not.toHaveProperty('state')
    expect(nameIn(events)).toEqual([{ name: 'second' }])
    await alice.setState(room, 'm.room.name', '', { name: 'third' })
    await alice.sendText(room, 'after it')
    const later = await entryOf(alice, room, filter, next)
    expect(later.entry).not.toHaveProperty('state')
    expect(nameIn(later.events)).toEqual([{ name: 'third' }])
  })

  test('has the field also when no state changed', async () => {
    const { alice, room } = await joinedRoom()
    const { next } = await entryOf(alice, room, {})
    await alice.sendText(room, 'no state')
    const later = await entryOf(alice, room, {}, next)
    expect(later.events).toEqual([])
    expect(later.entry).not.toHaveProperty('state')
  })

  test('has it of a room that was left', async () => {
    const { alice, bob, room } = await joinedRoom()
    const { next } = await entryOf(bob, room, {})
    await alice.setState(room, 'm.room.name', '', { name: 'seen last' })
    await bob.leave(room)
    await alice.setState(room, 'm.room.name', '', { name: 'never seen' })
    const { entry, events } = await eventually(
      () => entryOf(bob, room, {}, next),
      (found) => 'timeline' in found.entry,
    )
    expect(entry).not.toHaveProperty('state')
    expect(nameIn(events)).toEqual([{ name: 'seen last' }])
    expect(membersIn(events)).toEqual([bob.userId])
  })

  test.each(['private_chat', 'public_chat'])(
    'has all members of the timeline at first when they are loaded lazily, in a %s',
    async (preset) => {
      const [alice, bob] = await Promise.all([register(server, 'alice'), register(server, 'bob')])
      const room = await alice.createRoom({ preset })
      await inviteAndJoin(alice, bob, room)
      await bob.sendText(room, 'hello')
      const filter = { room: { state: lazy, timeline: { limit: 50 } } }
      const { events } = await entryOf(alice, room, filter)
      expect(membersIn(events)?.sort()).toEqual([alice.userId, bob.userId].sort())
    },
  )
})

function bodyAt(body: Body, name: string): Body {
  const value = body[name]
  return isBody(value) ? value : {}
}

function eventsAt(entry: Body, name: string): readonly Body[] | undefined {
  const { events } = bodyAt(entry, name)
  return Array.isArray(events) ? events.filter(isBody) : undefined
}
