import { describe, expect, it } from 'vitest'
import { login, password, register, unique } from '../harness/client.ts'
import { itSynapseBreaks } from '../harness/exceptions.ts'
import { server } from '../harness/fixtures.ts'
import { ask, path } from '../harness/http.ts'
import { flowsAnswer } from '../harness/shapes.ts'

const v3 = '/_matrix/client/v3'
const get = (where: string) => ask(server.clientUrl, 'GET', where)

describe('the password', () => {
  const auth = (user: string, session: unknown) => ({
    type: 'm.login.password',
    identifier: { type: 'm.id.user', user },
    password,
    session,
  })

  it('is changed after it was given once more; other devices are signed out', async () => {
    const alice = await register(server)
    const phone = await login(server, alice.userId)
    const first = await alice.ask('POST', `${v3}/account/password`, {
      body: { new_password: 'another long one' },
    })
    expect(first.status).toBe(401)
    const { session } = flowsAnswer.parse(first.body)
    await alice.call('POST', `${v3}/account/password`, {
      body: { new_password: 'another long one', auth: auth(alice.userId, session) },
    })
    await alice.call('GET', `${v3}/account/whoami`)
    expect(await phone.ask('GET', `${v3}/account/whoami`)).toMatchObject({ status: 401 })
    await expect(login(server, alice.userId)).rejects.toMatchObject({
      status: 403,
      errcode: 'M_FORBIDDEN',
    })
    await login(server, alice.userId, { password: 'another long one' })
  })

  it('leaves the other devices alone when the client says so', async () => {
    const alice = await register(server)
    const phone = await login(server, alice.userId)
    const wanted = { new_password: 'another long one', logout_devices: false }
    const first = await alice.ask('POST', `${v3}/account/password`, { body: wanted })
    const { session } = flowsAnswer.parse(first.body)
    await alice.call('POST', `${v3}/account/password`, {
      body: { ...wanted, auth: auth(alice.userId, session) },
    })
    await phone.call('GET', `${v3}/account/whoami`)
  })

  it('ends the account when it is deactivated', async () => {
    const alice = await register(server)
    const first = await alice.ask('POST', `${v3}/account/deactivate`, { body: {} })
    expect(first.status).toBe(401)
    await alice.call('POST', `${v3}/account/deactivate`, {
      body: { auth: auth(alice.userId, flowsAnswer.parse(first.body).session) },
    })
    expect(await alice.ask('GET', `${v3}/account/whoami`)).toMatchObject({ status: 401 })
    await expect(login(server, alice.userId)).rejects.toMatchObject({ status: 403 })
  })

  it('refuses a wrong password at a stage and stays at it', async () => {
    const alice = await register(server)
    const first = await alice.ask('POST', `${v3}/account/deactivate`, { body: {} })
    const wrong = {
      ...auth(alice.userId, flowsAnswer.parse(first.body).session),
      password: 'wrong',
    }
    const second = await alice.ask('POST', `${v3}/account/deactivate`, { body: { auth: wrong } })
    expect(second).toMatchObject({ status: 401, body: { errcode: 'M_FORBIDDEN' } })
    await alice.call('GET', `${v3}/account/whoami`)
  })
})

describe('devices', () => {
  it('are listed, named and read one by one', async () => {
    const alice = await register(server)
    const phone = await login(server, alice.userId, { initial_device_display_name: 'phone' })
    const { devices } = await alice.call('GET', `${v3}/devices`)
    expect(devices).toHaveLength(2)
    expect(devices).toContainEqual(
      expect.objectContaining({ device_id: phone.deviceId, display_name: 'phone' }),
    )
    await alice.call('PUT', `${v3}/devices/${phone.deviceId}`, {
      body: { display_name: 'old phone' },
    })
    expect(await alice.call('GET', `${v3}/devices/${phone.deviceId}`)).toMatchObject({
      device_id: phone.deviceId,
      display_name: 'old phone',
    })
  })

  it('are not found when they are not there', async () => {
    const alice = await register(server)
    expect(await alice.ask('GET', `${v3}/devices/NONE`)).toMatchObject({
      status: 404,
      body: { errcode: 'M_NOT_FOUND' },
    })
    expect(
      await alice.ask('PUT', `${v3}/devices/NONE`, { body: { display_name: 'x' } }),
    ).toMatchObject({
      status: 404,
    })
  })

  it('are deleted after the password was given; their tokens end', async () => {
    const alice = await register(server)
    const phone = await login(server, alice.userId)
    const first = await alice.ask('DELETE', `${v3}/devices/${phone.deviceId}`, { body: {} })
    expect(first.status).toBe(401)
    const auth = {
      type: 'm.login.password',
      identifier: { type: 'm.id.user', user: alice.userId },
      password,
      session: flowsAnswer.parse(first.body).session,
    }
    await alice.call('DELETE', `${v3}/devices/${phone.deviceId}`, { body: { auth } })
    expect(await phone.ask('GET', `${v3}/account/whoami`)).toMatchObject({ status: 401 })
    expect(await alice.ask('GET', `${v3}/devices/${phone.deviceId}`)).toMatchObject({ status: 404 })
  })

  it('of somebody else cannot be deleted with one’s own password', async () => {
    const [alice, bob] = await Promise.all([register(server), register(server)])
    const first = await alice.ask('POST', `${v3}/delete_devices`, {
      body: { devices: [bob.deviceId] },
    })
    const session = first.status === 401 ? flowsAnswer.parse(first.body).session : undefined
    const identifier = { type: 'm.id.user', user: bob.userId }
    await alice.ask('POST', `${v3}/delete_devices`, {
      body: {
        devices: [bob.deviceId],
        auth: { type: 'm.login.password', identifier, password, session },
      },
    })
    await bob.call('GET', `${v3}/account/whoami`)
  })
})

describe('the profile', () => {
  it('is the local part at first, and is set and read', async () => {
    const alice = await register(server)
    const where = path(`${v3}/profile`, alice.userId)
    await alice.call('PUT', `${where}/displayname`, { body: { displayname: 'Alice A.' } })
    await alice.call('PUT', `${where}/avatar_url`, { body: { avatar_url: 'mxc://example.org/a' } })
    const profile = { displayname: 'Alice A.', avatar_url: 'mxc://example.org/a' }
    expect(await get(where)).toMatchObject({ status: 200, body: profile })
    expect(await get(`${where}/displayname`)).toMatchObject({ body: { displayname: 'Alice A.' } })
    expect(await get(`${where}/avatar_url`)).toMatchObject({
      body: { avatar_url: 'mxc://example.org/a' },
    })
  })

  it('of somebody else cannot be set', async () => {
    const [alice, bob] = await Promise.all([register(server), register(server)])
    const where = `${path(`${v3}/profile`, bob.userId)}/displayname`
    const answer = await alice.ask('PUT', where, { body: { displayname: 'not mine' } })
    expect(answer.status).toBeGreaterThanOrEqual(400)
    expect(answer.status).toBeLessThan(404)
  })

  itSynapseBreaks('GET profile, 404: { "errcode": "M_NOT_FOUND", … }')(
    'of nobody is not found',
    async () => {
      const where = path(`${v3}/profile`, `@${unique('nobody')}:${server.name}`)
      expect(await get(where)).toMatchObject({ status: 404, body: { errcode: 'M_NOT_FOUND' } })
    },
  )

  it('reaches the rooms of the user', async () => {
    const alice = await register(server)
    const room = await alice.createRoom()
    await alice.call('PUT', `${path(`${v3}/profile`, alice.userId)}/displayname`, {
      body: { displayname: 'renamed' },
    })
    await alice.syncUntil((answer) =>
      JSON.stringify(answer.rooms.join[room] ?? {}).includes('"displayname":"renamed"'),
    )
    expect(await alice.getState(room, 'm.room.member', alice.userId)).toMatchObject({
      displayname: 'renamed',
      membership: 'join',
    })
  })
})
