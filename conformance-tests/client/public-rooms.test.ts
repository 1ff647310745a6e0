import { describe, expect, it } from 'vitest'
import { type Client, eventually, register, unique } from '../harness/client.ts'
import { server } from '../harness/fixtures.ts'
import { ask, type Body, isBody, path } from '../harness/http.ts'

const where = '/_matrix/client/v3/publicRooms'
const list = (value: unknown): Body[] => (Array.isArray(value) ? value.filter(isBody) : [])

/** The rooms that a search finds; the list may be a little behind. */
const search = async (user: Client, filter: Body, more: Body = {}) =>
  list((await user.call('POST', where, { body: { filter, ...more } }))['chunk'])

const found = (user: Client, term: string, test: (rooms: readonly Body[]) => boolean) =>
  eventually(() => search(user, { generic_search_term: term }), test)

const publish = (user: Client, room: string, visibility: 'public' | 'private') =>
  user.call('PUT', path('/_matrix/client/v3/directory/list/room', room), { body: { visibility } })

describe('the list of public rooms', () => {
  it.each([
    ['neither name nor topic', {}],
    ['a name', { name: 'un nom français' }],
    ['a topic', { topic: 'un topic à la française' }],
    ['both', { name: 'un nom français', topic: 'un topic à la française' }],
  ])('shows a room that has %s as it is', async (_, given: Body) => {
    const alice = await register(server)
    const alias = unique('public')
    const room = await alice.createRoom({ visibility: 'public', room_alias_name: alias, ...given })
    const [entry] = await found(alice, alias, (rooms) => rooms.length === 1)
    expect(entry).toMatchObject({
      ...{ room_id: room, canonical_alias: `#${alias}:${server.name}`, num_joined_members: 1 },
      ...{ world_readable: false, guest_can_join: expect.any(Boolean), join_rule: 'public' },
    })
    expect([entry?.['name'] ?? '', entry?.['topic'] ?? '']).toEqual([
      given['name'] ?? '',
      given['topic'] ?? '',
    ])
    await publish(alice, room, 'private')
    await found(alice, alias, (rooms) => rooms.length === 0)
  })

  it('is searched by words of names and topics, whatever their case', async () => {
    const alice = await register(server)
    const word = unique('Wombles')
    const options = { visibility: 'public', name: 'Test Name', topic: `Test Topic ${word}` }
    const room = await alice.createRoom(options)
    const rooms = await found(alice, word.toLowerCase(), ({ length }) => length > 0)
    expect(rooms.map(({ room_id: id }) => id)).toEqual([room])
    expect(await search(alice, { generic_search_term: unique('nowhere') })).toEqual([])
  })

  it('is searched by types of rooms', async () => {
    const alice = await register(server)
    const name = unique('typed')
    const make = (more: Body) => alice.createRoom({ visibility: 'public', name, ...more })
    const room = await make({})
    const space = await make({ creation_content: { type: 'm.space' } })
    await found(alice, name, ({ length }) => length === 2)
    const idsOf = async (types: readonly (string | null)[]) =>
      (await search(alice, { generic_search_term: name, room_types: types }))
        .map(({ room_id: id }) => id)
        .sort()
    expect(await idsOf(['m.space'])).toEqual([space])
    expect(await idsOf([null])).toEqual([room])
    expect(await idsOf(['m.space', null])).toEqual([room, space].sort())
    expect(await idsOf(['org.example.other'])).toEqual([])
  })

  it.each([['knock'], ['knock_restricted']])(
    'shows a room whose join rule is %s, with the rule',
    async (rule) => {
      const alice = await register(server)
      const name = unique('knock')
      const room = await alice.createRoom({ preset: 'private_chat', name })
      await alice.setState(room, 'm.room.join_rules', '', {
        join_rule: rule,
        ...(rule === 'knock' ? {} : { allow: [] }),
      })
      await publish(alice, room, 'public')
      const [entry] = await found(alice, name, ({ length }) => length > 0)
      expect(entry).toMatchObject({ room_id: room, join_rule: rule })
    },
  )

  it('is paged through in both directions', async () => {
    const alice = await register(server)
    const name = unique('paged')
    for (let count = 0; count < 3; count++) await alice.createRoom({ visibility: 'public', name })
    await found(alice, name, ({ length }) => length === 3)
    const page = async (more: Body) => {
      const body = { filter: { generic_search_term: name }, limit: 2, ...more }
      const answer = await alice.call('POST', where, { body })
      return { ...answer, ids: list(answer['chunk']).map(({ room_id: id }) => id) }
    }
    const first = await page({})
    expect(first.ids).toHaveLength(2)
    const second = await page({ since: Object(first)['next_batch'] })
    expect(second.ids).toHaveLength(1)
    expect(new Set([...first.ids, ...second.ids]).size).toBe(3)
    expect(Object(second)['next_batch']).toBeUndefined()
    const back = await page({ since: Object(second)['prev_batch'] })
    expect(back.ids).toEqual(first.ids)
  })

  it('has a room that was just made, on one of its pages', async () => {
    const alice = await register(server)
    const room = await alice.createRoom({ visibility: 'public', preset: 'public_chat' })
    const isListed = async () => {
      let since: string | undefined
      for (let count = 0; count < 20; count++) {
        const answer = await alice.call('GET', where, { query: { limit: 100, since } })
        if (list(answer['chunk']).some(({ room_id: id }) => id === room)) return true
        if (typeof answer['next_batch'] !== 'string') return false
        since = answer['next_batch']
      }
      return false
    }
    await eventually(isListed, (is) => is)
  })

  it('of another server is not asked for by strangers', async () => {
    const query = { server: 'elsewhere.example' }
    expect((await ask(server.clientUrl, 'GET', where, { query })).status).toBe(401)
  })
})
