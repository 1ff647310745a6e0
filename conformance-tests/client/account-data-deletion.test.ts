import { describe, expect, it } from 'vitest'
import { type Client, login, register, unique } from '../harness/client.ts'
import { server } from '../harness/fixtures.ts'
import { path } from '../harness/http.ts'
import { underTestIsSynapse } from '../harness/settings.ts'

const unstable = '/_matrix/client/unstable/org.matrix.msc3391/user'
const type = 'org.example.colours'
const content = { sky: 'blue' }

/** Where a piece of account data is deleted. */
const deletionPath = (client: Client, roomId: string | undefined) =>
  roomId === undefined
    ? path(unstable, client.userId, 'account_data', type)
    : path(unstable, client.userId, 'rooms', roomId, 'account_data', type)

/** The events of account data in a sync, of the user or of a room. */
async function shown(client: Client, roomId: string | undefined, since?: string) {
  const answer = await client.sync(since === undefined ? {} : { since })
  const events =
    roomId === undefined
      ? answer.account_data.events
      : (answer.rooms.join[roomId]?.account_data.events ?? [])
  return events.filter((event) => event.type === type).map((event) => event.content)
}

const isGone = { status: 404, body: { errcode: 'M_NOT_FOUND' } }

type Removal = (client: Client, roomId: string | undefined) => Promise<unknown>
const withDelete: Removal = (client, roomId) => client.call('DELETE', deletionPath(client, roomId))
const byEmptyContent: Removal = (client, roomId) =>
  client.call('PUT', client.dataPath(type, roomId), { body: {} })

/** Removes a piece of account data, twice, and makes it again. */
async function checkRemoval(remove: Removal, alice: Client, roomId?: string): Promise<void> {
  await alice.call('PUT', alice.dataPath(type, roomId), { body: content })
  expect(await shown(alice, roomId)).toEqual([content])
  const { next_batch: since } = await alice.sync()

  await remove(alice, roomId)
  expect(await alice.ask('GET', alice.dataPath(type, roomId))).toMatchObject(isGone)
  expect(await shown(alice, roomId)).toEqual([])
  expect(await shown(alice, roomId, since)).toEqual([{}])
  await remove(alice, roomId)

  await alice.call('PUT', alice.dataPath(type, roomId), { body: content })
  expect(await alice.call('GET', alice.dataPath(type, roomId))).toEqual(content)
  expect(await shown(alice, roomId)).toEqual([content])
}

describe('account data that is deleted', () => {
  it('of the user with DELETE is gone, and those who knew it are told', async () => {
    await checkRemoval(withDelete, await register(server))
  })

  it('of the user by empty content is gone, and those who knew it are told', async () => {
    await checkRemoval(byEmptyContent, await register(server))
  })

  it('of a room with DELETE is gone, and those who knew it are told', async () => {
    const alice = await register(server)
    await checkRemoval(withDelete, alice, await alice.createRoom())
  })

  it('of a room by empty content is gone, and those who knew it are told', async () => {
    const alice = await register(server)
    await checkRemoval(byEmptyContent, alice, await alice.createRoom())
  })

  it('never was another’s, nor is it the server’s own', async () => {
    const [alice, bob] = [await register(server), await register(server)]
    const others = await bob.ask('DELETE', deletionPath(alice, undefined))
    expect(others).toMatchObject({ status: 403, body: { errcode: 'M_FORBIDDEN' } })
    const rules = path(unstable, alice.userId, 'account_data', 'm.push_rules')
    // Synapse answers 200 and does nothing.
    const managed = await alice.ask('DELETE', rules)
    if (!underTestIsSynapse) expect(managed.status).toBe(405)
    const { account_data: data } = await alice.sync()
    expect(data.events.some((event) => event.type === 'm.push_rules')).toBe(true)
  })
})

describe('local notification settings of a device', () => {
  it('are deleted with it', async () => {
    const user = unique('owner')
    const alice = await register(server, user)
    const other = await login(server, alice.userId)
    const settings = `org.matrix.msc3890.local_notification_settings.${other.deviceId}`
    await alice.call('PUT', alice.dataPath(settings), { body: { is_silenced: true } })
    const { next_batch: since } = await alice.sync()
    await other.call('POST', '/_matrix/client/v3/logout', { body: {} })

    expect(await alice.ask('GET', alice.dataPath(settings))).toMatchObject(isGone)
    const { account_data: data } = await alice.sync({ since })
    expect(data.events).toContainEqual(expect.objectContaining({ type: settings, content: {} }))
  })
})
