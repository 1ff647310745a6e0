import { describe, expect, it } from 'vitest'
import { type Client, eventually, inSection, register, unique } from '../harness/client.ts'
import { server } from '../harness/fixtures.ts'
import { path } from '../harness/http.ts'

const v3 = '/_matrix/client/v3'

async function search(user: Client, search_term: string, limit?: number) {
  const body = { search_term, ...(limit === undefined ? {} : { limit }) }
  return await user.call('POST', `${v3}/user_directory/search`, { body })
}

const setName = (user: Client, displayname: string) =>
  user.call('PUT', path(`${v3}/profile`, user.userId, 'displayname'), { body: { displayname } })

/** Alice, who is called otherwise in a room with Bob, and Eve, who is in no room. */
async function acquaintances(privately: 'as she joins' | 'later') {
  const publicName = `Cooper${unique('')}`.replace('-', '')
  const privateName = `Freddy${unique('')}`.replace('-', '')
  const alice = await register(server, `alice${unique('').slice(1)}`)
  const [bob, eve] = [await register(server, 'bob'), await register(server, 'eve')]
  await setName(alice, `Alice ${publicName}`)
  await alice.createRoom({ visibility: 'public' })
  const room = await bob.createRoom({ preset: 'private_chat', invite: [alice.userId] })
  await alice.syncUntil(inSection('invite', room))
  const member = { membership: 'join', displayname: privateName }
  if (privately === 'later') await alice.join(room)
  await alice.setState(room, 'm.room.member', alice.userId, member)
  const shown = [{ user_id: alice.userId, display_name: `Alice ${publicName}` }]
  return { alice, bob, eve, shown, publicName, privateName }
}

describe.each(['as she joins', 'later'] as const)(
  'a user with another name in a room %s',
  (when) => {
    it('is found by the name of the profile, and by the id', async () => {
      const { alice, bob, eve, shown, publicName } = await acquaintances(when)
      const beginning = alice.userId.slice(0, alice.userId.indexOf('-'))
      for (const searcher of [bob, eve]) {
        for (const term of [publicName, `Alice ${publicName}`, beginning]) {
          const found = await eventually(
            () => search(searcher, term),
            ({ results }) => Array.isArray(results) && results.length > 0,
          )
          expect(found['results'], term).toMatchObject(shown)
        }
      }
    })

    it('is not found by that other name', async () => {
      const { eve, shown, publicName, privateName } = await acquaintances(when)
      const known = await eventually(
        () => search(eve, publicName),
        ({ results }) => Array.isArray(results) && results.length > 0,
      )
      expect(known['results']).toMatchObject(shown)
      expect(await search(eve, privateName)).toMatchObject({ results: [] })
    })
  },
)

describe('users', () => {
  it('who share no room are not found, and are once they do', async () => {
    const name = `Hidden${unique('').slice(1)}`
    const [alice, bob] = [await register(server), await register(server)]
    await setName(alice, name)
    const room = await alice.createRoom({ preset: 'private_chat' })
    expect(await search(bob, name)).toMatchObject({ results: [], limited: false })
    await alice.invite(room, bob.userId)
    await bob.join(room)
    const found = await eventually(
      () => search(bob, name),
      ({ results }) => Array.isArray(results) && results.length > 0,
    )
    expect(found['results']).toMatchObject([{ user_id: alice.userId, display_name: name }])
  })

  it('are so many as were asked for, with a word about the others', async () => {
    const name = `Crowd${unique('').slice(1)}`
    const alice = await register(server)
    const room = await alice.createRoom({ preset: 'public_chat' })
    for (let n = 0; n < 3; n++) {
      const one = await register(server)
      await setName(one, `${name} ${n}`)
      await one.join(room)
    }
    const all = await eventually(
      () => search(alice, name),
      ({ results }) => Array.isArray(results) && results.length === 3,
    )
    expect(all['limited']).toBe(false)
    const two = await search(alice, name, 2)
    expect(two).toMatchObject({ limited: true })
    expect(two['results']).toHaveLength(2)
  })
})

describe('the rooms that two users share', () => {
  it('are told to each of them', async () => {
    const [alice, bob] = [await register(server), await register(server)]
    const where = '/_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms'
    const ask = (user: Client, user_id: string) => user.ask('GET', where, { query: { user_id } })
    expect(await ask(alice, bob.userId)).toMatchObject({ status: 200, body: { joined: [] } })
    const room = await alice.createRoom({ preset: 'public_chat' })
    await alice.createRoom()
    await bob.join(room)
    expect(await ask(alice, bob.userId)).toMatchObject({ status: 200, body: { joined: [room] } })
    expect(await ask(bob, alice.userId)).toMatchObject({ status: 200, body: { joined: [room] } })
    expect((await ask(alice, alice.userId)).status).toBeGreaterThanOrEqual(400)
  })
})
