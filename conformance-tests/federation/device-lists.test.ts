import { describe, expect, it } from 'vitest'
import { type Client, inSection, login, register } from '../harness/client.ts'
import { createDeviceKeys, crossSigningKeys } from '../harness/device-keys.ts'
import { itSynapseBreaks } from '../harness/exceptions.ts'
import { server } from '../harness/fixtures.ts'
import { type Body, isBody, path } from '../harness/http.ts'
import { createPeer, type Peer } from '../harness/peer.ts'
import type { SyncAnswer } from '../harness/shapes.ts'

const v3 = '/_matrix/client/v3'
const isUpdateOf =
  (user: string) =>
  ({ edu_type: type, content }: Body) =>
    type === 'm.device_list_update' && isBody(content) && content['user_id'] === user
const names = (user: string) => (answer: SyncAnswer) => answer.device_lists.changed.includes(user)

/** Alice in a room of a peer's user. */
async function together() {
  const peer = await createPeer()
  const room = peer.createRoom('11')
  const alice = await register(server, 'alice')
  return { peer, alice, room, bob: peer.user('creator') }
}

async function upload(client: Client): Promise<Body> {
  const { deviceKeys } = createDeviceKeys(client)
  await client.call('POST', `${v3}/keys/upload`, { body: { device_keys: deviceKeys } })
  return deviceKeys
}

describe('devices of our user, to a server in the same room', () => {
  itSynapseBreaks(
    'Servers must send m.device_list_update EDUs … when that user joins a room which contains servers which are not already receiving updates',
  )('are told when the user comes into its room', async () => {
    const { peer, alice, room } = await together()
    await using _ = peer
    await upload(alice)
    await alice.join(room.roomId, [peer.name])
    const { content } = await peer.receivesEdu(isUpdateOf(alice.userId))
    expect(content).toMatchObject({ user_id: alice.userId, device_id: alice.deviceId })
  })

  it('are told one change after the other, each with the number of the one before', async () => {
    const { peer, alice, room } = await together()
    await using _ = peer
    await alice.join(room.roomId, [peer.name])
    const keys = await upload(alice)
    const isOf = (client: Client, test: (content: Body) => boolean) => (edu: Body) =>
      isUpdateOf(client.userId)(edu) &&
      Object(edu['content'])['device_id'] === client.deviceId &&
      test(Object(edu['content']))
    const first = await peer.receivesEdu(isOf(alice, ({ keys: told }) => told !== undefined))
    expect(first['content']).toMatchObject({ keys: { keys: keys['keys'] } })
    const phone = await login(server, alice.userId)
    await upload(phone)
    const second = await peer.receivesEdu(isOf(phone, ({ keys: told }) => told !== undefined))
    const { prev_id: before } = Object(second['content'])
    const told = peer.edus().filter(isUpdateOf(alice.userId))
    expect(told.map(({ content }) => Object(content)['stream_id'])).toContain(before[0])
    await phone.call('POST', `${v3}/logout`, { body: {} })
    await peer.receivesEdu(isOf(phone, ({ deleted }) => deleted === true))
  })

  it('are told when one without keys gets another name', async () => {
    const { peer, alice, room } = await together()
    await using _ = peer
    await alice.join(room.roomId, [peer.name])
    const where = path(`${v3}/devices`, alice.deviceId)
    await alice.call('PUT', where, { body: { display_name: 'The other name' } })
    const { content } = await peer.receivesEdu(isUpdateOf(alice.userId))
    expect(content).toMatchObject({
      ...{ user_id: alice.userId, device_id: alice.deviceId },
      stream_id: expect.any(Number),
    })
    expect(content).not.toMatchObject({ deleted: true })
  })

  it('are answered with the number of the newest change', async () => {
    const { peer, alice, room } = await together()
    await using _ = peer
    await alice.join(room.roomId, [peer.name])
    const keys = await upload(alice)
    const edu = await peer.receivesEdu(
      (one) => isUpdateOf(alice.userId)(one) && Object(one['content'])['keys'] !== undefined,
    )
    const uri = path('/_matrix/federation/v1/user/devices', alice.userId)
    const { status, body } = await peer.ask(server, 'GET', uri)
    expect(status).toBe(200)
    expect(body).toMatchObject({
      user_id: alice.userId,
      stream_id: Object(edu['content'])['stream_id'],
    })
    const devices = Array.isArray(body['devices']) ? body['devices'] : []
    const own = devices.find((one) => Object(one)['device_id'] === alice.deviceId)
    expect(Object(own)['keys']).toMatchObject({ keys: keys['keys'] })
  })
})

/** What the peer says of its user's devices, and how often it was asked. */
function serveDevices(peer: Peer, user: string) {
  const served = { stream_id: 1, devices: new Map<string, Body>(), master: {} as Body, asked: 0 }
  const keysIn = () => Object.fromEntries(served.devices)
  peer.on('GET', /^\/_matrix\/federation\/v1\/user\/devices\/(.+)$/, () => {
    served.asked++
    return {
      user_id: user,
      stream_id: served.stream_id,
      devices: [...served.devices].map(([device_id, keys]) => ({ device_id, keys })),
      ...(served.master['keys'] === undefined ? {} : { master_key: served.master }),
    }
  })
  peer.on('POST', /^\/_matrix\/federation\/v1\/user\/keys\/query$/, () => {
    served.asked++
    return {
      device_keys: { [user]: keysIn() },
      ...(served.master['keys'] === undefined ? {} : { master_keys: { [user]: served.master } }),
    }
  })
  return served
}

describe('devices of another server’s user', () => {
  async function watching() {
    const { peer, alice, room, bob } = await together()
    const served = serveDevices(peer, bob)
    const make = (device: string) => createDeviceKeys({ userId: bob, deviceId: device }).deviceKeys
    served.devices.set('ONE', make('ONE'))
    await alice.join(room.roomId, [peer.name])
    await alice.syncUntil(inSection('join', room.roomId))
    const query = async () => {
      const body = { device_keys: { [bob]: [] } }
      return await alice.call('POST', `${v3}/keys/query`, { body })
    }
    const devices = async () => {
      const found: Body = Object(Object((await query())['device_keys'])[bob])
      return Object.keys(found).sort()
    }
    expect(await devices()).toEqual(['ONE'])
    const tell = (content: Body) =>
      peer.transact(
        server,
        [],
        [{ edu_type: 'm.device_list_update', content: { user_id: bob, ...content } }],
      )
    const { next_batch: since } = await alice.sync()
    return { peer, alice, bob, served, make, query, devices, tell, since }
  }

  it('are named to its company when they change, and known without asking again', async () => {
    const { peer, alice, bob, served, make, devices, tell, since } = await watching()
    await using _ = peer
    const { asked } = served
    await tell({ device_id: 'TWO', stream_id: 2, prev_id: [1], keys: make('TWO') })
    await alice.syncUntil(names(bob), { since })
    expect(await devices()).toEqual(['ONE', 'TWO'])
    await tell({ device_id: 'ONE', stream_id: 3, prev_id: [2], deleted: true })
    await expect.poll(devices).toEqual(['TWO'])
    expect(served.asked).toBe(asked)
  })

  it('are asked for anew when an update was lost', async () => {
    const { peer, alice, bob, served, make, devices, tell, since } = await watching()
    await using _ = peer
    for (const id of ['TWO', 'THREE']) served.devices.set(id, make(id))
    served.stream_id = 3
    const { asked } = served
    await tell({ device_id: 'THREE', stream_id: 3, prev_id: [2], keys: make('THREE') })
    await alice.syncUntil(names(bob), { since })
    await expect.poll(devices).toEqual(['ONE', 'THREE', 'TWO'])
    expect(served.asked).toBeGreaterThan(asked)
  })

  it('are not changed by the word of a third server', async () => {
    const { peer, served, make, devices, tell } = await watching()
    await using _ = peer
    await using third = await createPeer()
    const content = {
      ...{ user_id: peer.user('creator'), device_id: 'EVIL', stream_id: 2, prev_id: [1] },
      keys: make('EVIL'),
    }
    await third.transact(server, [], [{ edu_type: 'm.device_list_update', content }])
    await tell({ device_id: 'TWO', stream_id: 2, prev_id: [1], keys: make('TWO') })
    served.devices.set('TWO', make('TWO'))
    await expect.poll(devices).toEqual(['ONE', 'TWO'])
  })

  it('are accompanied by the cross-signing keys that an update brings', async () => {
    const { peer, alice, bob, served, query, since } = await watching()
    await using _ = peer
    const { master } = crossSigningKeys(bob)
    served.master = master
    const edu_type = 'm.signing_key_update'
    await peer.transact(server, [], [{ edu_type, content: { user_id: bob, master_key: master } }])
    await alice.syncUntil(names(bob), { since })
    await expect
      .poll(async () => Object(Object((await query())['master_keys'])[bob])['keys'])
      .toEqual(master['keys'])
  })
})
