/** Accounts that an administrator locks or suspends for a while. */
import { describe, expect, it } from 'vitest'
import { administrator, makesAdministrators } from '../harness/administrator.ts'
import { type Client, password, register, unique } from '../harness/client.ts'
import { joinedRoom, server } from '../harness/fixtures.ts'
import { ask, path } from '../harness/http.ts'
import { underTestIsSynapse } from '../harness/settings.ts'

const v1 = '/_matrix/client/v1/admin'
const v3 = '/_matrix/client/v3'
const suspendedAnswer = { status: 403, body: { errcode: 'M_USER_SUSPENDED' } }
const lockedAnswer = { status: 401, body: { errcode: 'M_USER_LOCKED', soft_logout: true } }

/** Synapse 1.163 does not serve the specification's requests for it, but its own. */
async function setLocked(admin: Client, user: Client, locked: boolean) {
  if (!underTestIsSynapse) {
    return await admin.call('PUT', path(`${v1}/lock`, user.userId), { body: { locked } })
  }
  const where = path('/_synapse/admin/v2/users', user.userId)
  return await admin.call('PUT', where, { body: { locked } })
}

async function setSuspended(admin: Client, user: Client, suspended: boolean) {
  if (!underTestIsSynapse) {
    return await admin.call('PUT', path(`${v1}/suspend`, user.userId), { body: { suspended } })
  }
  const where = path('/_synapse/admin/v1/suspend', user.userId)
  return await admin.call('PUT', where, { body: { suspend: suspended } })
}

describe.skipIf(!makesAdministrators)('a locked account', () => {
  it('does nothing until it is unlocked, and its session is good then', async () => {
    const [admin, alice] = await Promise.all([administrator(), register(server)])
    const whoami = () => alice.ask('GET', `${v3}/account/whoami`)
    expect((await whoami()).status).toBe(200)
    await setLocked(admin, alice, true)
    expect(await whoami()).toMatchObject(lockedAnswer)
    expect(await alice.ask('GET', `${v3}/sync`)).toMatchObject(lockedAnswer)
    expect(await alice.ask('POST', `${v3}/createRoom`, { body: {} })).toMatchObject(lockedAnswer)
    await setLocked(admin, alice, false)
    expect(await whoami()).toMatchObject({ status: 200, body: { user_id: alice.userId } })
  })

  it('logs out', async () => {
    const [admin, alice, bob] = await Promise.all([
      administrator(),
      register(server),
      register(server),
    ])
    for (const [user, where] of [
      [alice, 'logout'],
      [bob, 'logout/all'],
    ] as const) {
      await setLocked(admin, user, true)
      expect((await user.ask('POST', `${v3}/${where}`, { body: {} })).status).toBe(200)
      await setLocked(admin, user, false)
      expect(await user.ask('GET', `${v3}/account/whoami`)).toMatchObject({
        status: 401,
        body: { errcode: 'M_UNKNOWN_TOKEN' },
      })
    }
  })

  it('gets no new session', async () => {
    const [admin, alice] = await Promise.all([administrator(), register(server)])
    await setLocked(admin, alice, true)
    const login = {
      type: 'm.login.password',
      identifier: { type: 'm.id.user', user: alice.userId },
      password,
    }
    const answer = await ask(server.clientUrl, 'POST', `${v3}/login`, { body: login })
    expect(answer).toMatchObject({ status: 401, body: { errcode: 'M_USER_LOCKED' } })
  })
})

describe.skipIf(!makesAdministrators)('a suspended account', () => {
  it('neither speaks nor enters rooms, nor changes its profile', async () => {
    const [admin, { alice, bob, room }] = await Promise.all([administrator(), joinedRoom()])
    const open = await alice.createRoom({ preset: 'public_chat' })
    const invited = await alice.createRoom({ invite: [bob.userId] })
    await setSuspended(admin, bob, true)
    const text = { msgtype: 'm.text', body: 'no' }
    const send = bob.room(room, 'send', 'm.room.message', unique('t'))
    expect(await bob.ask('PUT', send, { body: text })).toMatchObject(suspendedAnswer)
    for (const target of [open, invited]) {
      const join = bob.room(target, 'join')
      expect(await bob.ask('POST', join, { body: {} })).toMatchObject(suspendedAnswer)
    }
    const carol = await register(server)
    expect(
      await bob.ask('POST', bob.room(room, 'invite'), { body: { user_id: carol.userId } }),
    ).toMatchObject(suspendedAnswer)
    const name = path(`${v3}/profile`, bob.userId, 'displayname')
    expect(await bob.ask('PUT', name, { body: { displayname: 'B' } })).toMatchObject(
      suspendedAnswer,
    )
    await setSuspended(admin, bob, false)
    expect((await bob.ask('PUT', send, { body: text })).status).toBe(200)
  })

  it('reads, redacts what it said, rejects invites and leaves', async () => {
    const [admin, { alice, bob, room }] = await Promise.all([administrator(), joinedRoom()])
    const invited = await alice.createRoom({ invite: [bob.userId] })
    const own = await bob.sendText(room, 'mine')
    const others = await alice.sendText(room, 'hers')
    await setSuspended(admin, bob, true)
    expect((await bob.sync()).rooms.join[room]).toBeDefined()
    expect((await bob.ask('GET', bob.room(room, 'event', others))).status).toBe(200)
    const redact = (event: string) =>
      bob.ask('PUT', bob.room(room, 'redact', event, unique('t')), { body: {} })
    expect((await redact(own)).status).toBe(200)
    expect(await redact(others)).toMatchObject(suspendedAnswer)
    for (const left of [invited, room]) {
      expect((await bob.ask('POST', bob.room(left, 'leave'), { body: {} })).status).toBe(200)
    }
  })
})

describe.skipIf(!makesAdministrators || underTestIsSynapse)('locks and suspensions', () => {
  const kinds = [
    ['lock', 'locked'],
    ['suspend', 'suspended'],
  ] as const

  it.each(kinds)('are told and set by an administrator: %s', async (kind, field) => {
    const [admin, alice] = await Promise.all([administrator(), register(server)])
    const where = path(`${v1}/${kind}`, alice.userId)
    expect(await admin.call('GET', where)).toEqual({ [field]: false })
    expect(await admin.call('PUT', where, { body: { [field]: true } })).toEqual({ [field]: true })
    expect(await admin.call('GET', where)).toEqual({ [field]: true })
  })

  it.each(kinds)('are of users here who are no administrators: %s', async (kind, field) => {
    const [admin, other, alice] = await Promise.all([
      administrator(),
      administrator(),
      register(server),
    ])
    const body = { [field]: true }
    const put = (who: Client, user: string) => who.ask('PUT', path(`${v1}/${kind}`, user), { body })
    const get = (who: Client, user: string) => who.ask('GET', path(`${v1}/${kind}`, user))
    const nobody = `@${unique('nobody')}:${server.name}`
    for (const request of [put, get]) {
      const forbidden = { status: 403, body: { errcode: 'M_FORBIDDEN' } }
      expect(await request(alice, other.userId)).toMatchObject(forbidden)
      expect(await request(alice, nobody)).toMatchObject(forbidden)
      expect(await request(admin, other.userId)).toMatchObject(forbidden)
      expect(await request(admin, admin.userId)).toMatchObject(forbidden)
      expect(await request(admin, nobody)).toMatchObject({
        status: 404,
        body: { errcode: 'M_NOT_FOUND' },
      })
      expect(await request(admin, '@somebody:away.example')).toMatchObject({
        status: 400,
        body: { errcode: 'M_INVALID_PARAM' },
      })
    }
  })

  it('are among the capabilities of administrators', async () => {
    const [admin, alice] = await Promise.all([administrator(), register(server)])
    const of = async (who: Client) =>
      Object(await who.call('GET', `${v3}/capabilities`))['capabilities']['m.account_moderation']
    expect(await of(admin)).toEqual({ suspend: true, lock: true })
    expect(await of(alice)).toBeUndefined()
  })
})
