/** What those see who ignore somebody: state, and nothing else of theirs, however it is read. */
import { describe, expect, it } from 'vitest'
import { type Client, eventually, inTimeline } from '../harness/client.ts'
import { joinedRoom } from '../harness/fixtures.ts'
import { path } from '../harness/http.ts'

const v3 = '/_matrix/client/v3'
const ignore = (who: Client, users: readonly string[]) =>
  who.call('PUT', who.dataPath('m.ignored_user_list'), {
    body: { ignored_users: Object.fromEntries(users.map((user) => [user, {}])) },
  })

/** Alice ignores bob, who has said something between two messages of hers. */
async function ignoring() {
  const { alice, bob, room } = await joinedRoom()
  const before = await alice.sendText(room, 'before')
  const hidden = await bob.sendText(room, 'nobody hears me')
  const after = await alice.sendText(room, 'after')
  await ignore(alice, [bob.userId])
  return { alice, bob, room, before, hidden, after }
}

const idsOf = (events: readonly { event_id: string }[]) => events.map(({ event_id }) => event_id)

describe('a message of one who is ignored', () => {
  it('is on no page of the history, and the page is there all the same', async () => {
    const { alice, room, before, hidden, after } = await ignoring()
    const shown = await eventually(
      async () => idsOf((await alice.messages(room, { limit: 3 })).chunk),
      (ids) => !ids.includes(hidden),
    )
    expect(shown).toContain(before)
    expect(shown).toContain(after)
  })

  it('is not around other messages', async () => {
    const { alice, room, before, hidden } = await ignoring()
    const answer = await eventually(
      () => alice.ask('GET', alice.room(room, 'context', before)),
      ({ text }) => !text.includes(hidden),
    )
    expect(answer.text).toContain(before)
  })

  it('is not found by its id', async () => {
    const { alice, room, hidden } = await ignoring()
    const answer = await eventually(
      () => alice.ask('GET', alice.room(room, 'event', hidden)),
      ({ status }) => status !== 200,
    )
    expect(answer.status).toBe(404)
  })

  it('is in no first sync, and is seen again by those who ignore nobody any more', async () => {
    const { alice, bob, room, hidden, after } = await ignoring()
    const { next_batch: since } = await eventually(
      () => alice.sync(),
      ({ rooms }) => !idsOf(rooms.join[room]?.timeline.events ?? []).includes(hidden),
    )
    await ignore(alice, [])
    const heard = await eventually(
      async () => idsOf((await alice.messages(room, { limit: 3 })).chunk),
      (ids) => ids.includes(hidden),
    )
    expect(heard).toContain(after)
    const next = await bob.sendText(room, 'heard again')
    await alice.syncUntil(
      inTimeline(room, ({ event_id }) => event_id === next),
      { since },
    )
  })
})

describe('state of one who is ignored', () => {
  it('is seen like that of others', async () => {
    const { alice, bob, room } = await ignoring()
    const { next_batch: since } = await alice.sync()
    await bob.call('PUT', path(`${v3}/profile`, bob.userId, 'displayname'), {
      body: { displayname: 'Another name' },
    })
    await alice.syncUntil(
      inTimeline(room, ({ state_key, content }) => {
        return state_key === bob.userId && content['displayname'] === 'Another name'
      }),
      { since },
    )
  })
})

describe('one who ignores themselves', () => {
  it('hears themselves', async () => {
    const { alice, room } = await joinedRoom()
    // A server may refuse it, too.
    await alice.ask('PUT', alice.dataPath('m.ignored_user_list'), {
      body: { ignored_users: { [alice.userId]: {} } },
    })
    const { next_batch: since } = await alice.sync()
    const id = await alice.sendText(room, 'to myself')
    await alice.syncUntil(
      inTimeline(room, ({ event_id }) => event_id === id),
      { since },
    )
    expect((await alice.event(room, id)).event_id).toBe(id)
  })
})
