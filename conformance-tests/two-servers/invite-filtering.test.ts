/** Whom users let invite them, asked of a user of this server by users of it and of another. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Client, inSection, register } from '../harness/client.ts'
import type { Body } from '../harness/http.ts'
import { type Federation, startFederation } from '../harness/pair.ts'
import { launcherUnderTest, secondLauncher, urlUnderTest } from '../harness/settings.ts'

const lists = 'org.matrix.msc4155.invite_permission_config'

let federation: Federation | undefined
let neighbour: Client
let bob: Client
let evilBob: Client

beforeAll(async () => {
  if (urlUnderTest !== undefined) return
  federation = await startFederation([
    { launcher: launcherUnderTest },
    { launcher: secondLauncher },
  ])
  const [home, away] = federation.servers
  if (!home || !away) throw new Error('two servers')
  const users = [register(home, 'user-neighbour'), register(away, 'user-bob')]
  const evil = register(away, 'user-evil-bob')
  const [first, second, third] = await Promise.all([...users, evil])
  if (!first || !second || !third) throw new Error('three users')
  neighbour = first
  bob = second
  evilBob = third
})
afterAll(() => federation?.[Symbol.asyncDispose]())

/** A new user of the first server, with this account data. */
async function invitee(config: Body, type = lists): Promise<Client> {
  const alice = await register(neighbour.server, 'alice')
  await alice.call('PUT', alice.dataPath(type), { body: config })
  return alice
}

async function invites(from: Client, to: Client): Promise<{ room: string; status: number }> {
  const room = await from.createRoom({ preset: 'private_chat' })
  const { status, body } = await from.ask('POST', from.room(room, 'invite'), {
    body: { user_id: to.userId },
  })
  if (status !== 200) expect(body['errcode']).toBe('M_INVITE_BLOCKED')
  return { room, status }
}

async function isBlocked(from: Client, to: Client): Promise<void> {
  expect((await invites(from, to)).status).toBe(403)
  expect((await to.sync()).rooms.invite).toEqual({})
}

async function isIgnored(from: Client, to: Client): Promise<void> {
  expect((await invites(from, to)).status).toBe(200)
  expect((await to.sync()).rooms.invite).toEqual({})
}

async function isLetIn(from: Client, to: Client): Promise<void> {
  const { room, status } = await invites(from, to)
  expect(status).toBe(200)
  await to.syncUntil(inSection('invite', room))
  await to.join(room, [from.server.name])
  await to.syncUntil(inSection('join', room))
}

describe.skipIf(urlUnderTest !== undefined)('an invite', () => {
  it('arrives where there are no rules', async () => {
    const alice = await invitee({})
    await isLetIn(bob, alice)
    await isLetIn(neighbour, alice)
  })

  it('is refused when its sender is blocked', async () => {
    const alice = await invitee({ blocked_users: [bob.userId, neighbour.userId] })
    await isBlocked(bob, alice)
    await isBlocked(neighbour, alice)
    await isLetIn(evilBob, alice)
  })

  it('is made and not shown when its sender is ignored', async () => {
    const alice = await invitee({ ignored_users: [bob.userId, neighbour.userId] })
    await isIgnored(bob, alice)
    await isIgnored(neighbour, alice)
  })

  it('is refused when the server of its sender is blocked', async () => {
    const alice = await invitee({ blocked_servers: [bob.server.name] })
    await isBlocked(bob, alice)
    await isBlocked(evilBob, alice)
    await isLetIn(neighbour, alice)
  })

  it('is made and not shown when the server of its sender is ignored', async () => {
    const alice = await invitee({ ignored_servers: [bob.server.name] })
    await isIgnored(bob, alice)
    await isIgnored(evilBob, alice)
  })

  it('is refused when the server of its sender matches a glob', async () => {
    const alice = await invitee({ blocked_servers: ['local*'] })
    await isBlocked(bob, alice)
    await isBlocked(evilBob, alice)
    await isBlocked(neighbour, alice)
  })

  it('is refused when its sender matches a glob', async () => {
    const alice = await invitee({ blocked_users: ['@user-?*'] })
    await isBlocked(bob, alice)
    await isBlocked(evilBob, alice)
    await isBlocked(neighbour, alice)
  })

  it('arrives when its sender is allowed and the server blocked', async () => {
    const alice = await invitee({
      allowed_users: [bob.userId],
      blocked_servers: [bob.server.name],
    })
    await isBlocked(evilBob, alice)
    await isLetIn(bob, alice)
  })

  it('is refused when its sender is blocked and the server allowed', async () => {
    const alice = await invitee({
      blocked_users: [evilBob.userId],
      allowed_servers: [bob.server.name],
    })
    await isBlocked(evilBob, alice)
    await isLetIn(bob, alice)
  })

  it('arrives where the rules are null', async () => {
    const kinds = ['users', 'servers'].flatMap((of) =>
      ['allowed', 'ignored', 'blocked'].map((verdict) => [`${verdict}_${of}`, null]),
    )
    await isLetIn(bob, await invitee(Object.fromEntries(kinds)))
  })

  it('arrives when its sender is allowed, ignored and blocked', async () => {
    const alice = await invitee({
      ignored_users: [bob.userId],
      blocked_users: [evilBob.userId],
      allowed_users: [bob.userId, evilBob.userId],
    })
    await isLetIn(bob, alice)
    await isLetIn(evilBob, alice)
  })

  it('is refused by who blocks all, until they do not any more', async () => {
    const type = 'm.invite_permission_config'
    const alice = await invitee({ default_action: 'block' }, type)
    await isBlocked(bob, alice)
    await isBlocked(neighbour, alice)
    await alice.call('PUT', alice.dataPath(type), { body: {} })
    await isLetIn(bob, alice)
  })

  it('is refused as a member event and with a new room too', async () => {
    const alice = await invitee({ default_action: 'block' }, 'm.invite_permission_config')
    const room = await neighbour.createRoom({})
    const where = neighbour.room(room, 'state', 'm.room.member', alice.userId)
    const event = await neighbour.ask('PUT', where, { body: { membership: 'invite' } })
    expect(event).toMatchObject({ status: 403, body: { errcode: 'M_INVITE_BLOCKED' } })
    const made = await neighbour.ask('POST', '/_matrix/client/v3/createRoom', {
      body: { invite: [alice.userId] },
    })
    expect(made).toMatchObject({ status: 403, body: { errcode: 'M_INVITE_BLOCKED' } })
  })
})
