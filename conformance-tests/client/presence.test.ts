import { describe, expect, it } from 'vitest'
import { type Client, register } from '../harness/client.ts'
import { joinedRoom, server } from '../harness/fixtures.ts'
import { ask, path } from '../harness/http.ts'
import type { SyncAnswer } from '../harness/shapes.ts'

const v3 = '/_matrix/client/v3'
const shows = (user: string) => (answer: SyncAnswer) =>
  answer.presence.events.some(({ sender }) => sender === user)
const comeOnline = (client: Client) =>
  client.call('PUT', path(`${v3}/presence`, client.userId, 'status'), {
    body: { presence: 'online', status_msg: 'here' },
  })

describe('the presence of one who comes into a room', () => {
  it('is shown to those who are there, from then on and when they begin', async () => {
    const { alice, room } = await joinedRoom()
    const carol = await register(server, 'carol')
    await comeOnline(carol)
    const { next_batch: since } = await alice.sync()
    await carol.join(room)
    await alice.syncUntil(shows(carol.userId), { since })
    expect(shows(carol.userId)(await alice.sync())).toBe(true)
  })

  it('is not shown to those with whom no room is shared', async () => {
    const { alice, bob } = await joinedRoom()
    const stranger = await register(server, 'stranger')
    const { next_batch: since } = await stranger.sync()
    const { next_batch: mine } = await bob.sync()
    await comeOnline(alice)
    await bob.syncUntil(shows(alice.userId), { since: mine })
    const answer = await stranger.sync({ since })
    expect(shows(alice.userId)(answer)).toBe(false)
    expect(shows(alice.userId)(await stranger.sync())).toBe(false)
  })

  it('is shown in each of the rooms that one is in', async () => {
    const { alice, bob } = await joinedRoom()
    const carol = await register(server, 'carol')
    const other = await alice.createRoom({ preset: 'public_chat' })
    await carol.join(other)
    const [b, c] = await Promise.all([bob.sync(), carol.sync()])
    await comeOnline(alice)
    await bob.syncUntil(shows(alice.userId), { since: b.next_batch })
    const answer = await carol.syncUntil(shows(alice.userId), { since: c.next_batch })
    expect(shows(bob.userId)(answer)).toBe(false)
  })

  it('is told to the newcomer of those who are there', async () => {
    const { alice, room } = await joinedRoom()
    await comeOnline(alice)
    const carol = await register(server, 'carol')
    const { next_batch: since } = await carol.sync()
    await carol.join(room)
    await carol.syncUntil(shows(alice.userId), { since })
  })
})

describe('one who is busy', () => {
  const busy = 'org.matrix.msc3026.busy'
  const stateOf = async (who: Client) =>
    (await who.call('GET', path(`${v3}/presence`, who.userId, 'status')))['presence']
  const become = (who: Client, presence: string) =>
    who.call('PUT', path(`${v3}/presence`, who.userId, 'status'), { body: { presence } })

  it('is so to others, and stays so while the device syncs as one that is online', async () => {
    const { alice, bob } = await joinedRoom()
    const { next_batch: since } = await bob.sync()
    await become(alice, busy)
    const answer = await bob.syncUntil(shows(alice.userId), { since })
    const shown = answer.presence.events.find(({ sender }) => sender === alice.userId)
    expect(shown?.content['presence']).toBe(busy)
    await alice.sync({ presence: 'online' })
    expect(await stateOf(alice)).toBe(busy)
    await become(alice, 'online')
    expect(await stateOf(alice)).toBe('online')
  })

  it('is told of among the features', async () => {
    const { body } = await ask(server.clientUrl, 'GET', '/_matrix/client/versions')
    expect(body['unstable_features']).toMatchObject({ 'org.matrix.msc3026.busy_presence': true })
  })
})
