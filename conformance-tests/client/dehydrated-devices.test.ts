/** {@link https://github.com/matrix-org/matrix-spec-proposals/pull/3814} */
import { describe, expect, it } from 'vitest'
import { type Client, login, register, unique } from '../harness/client.ts'
import { createDeviceKeys, oneTimeKey } from '../harness/device-keys.ts'
import { joinedRoom, server } from '../harness/fixtures.ts'
import { type Body, path } from '../harness/http.ts'

const v3 = '/_matrix/client/v3'
const dehydrated = '/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device'
const deviceData = { algorithm: 'm.dehydration.v2', device_pickle: 'x', nonce: 'y' }

async function put(client: Client, deviceId = `${unique('dehydrated')}/+`) {
  const keys = createDeviceKeys({ userId: client.userId, deviceId })
  const body = {
    device_id: deviceId,
    device_data: deviceData,
    initial_device_display_name: 'Dehydrated device',
    device_keys: { ...keys.deviceKeys, dehydrated: true },
    one_time_keys: oneTimeKey(keys, 'A'),
    fallback_keys: oneTimeKey(keys, 'F', { fallback: true }),
  }
  expect(await client.call('PUT', dehydrated, { body })).toEqual({ device_id: deviceId })
  const deviceKeys: Body = body.device_keys
  return { deviceId, keys: deviceKeys }
}

async function devicesOf(client: Client, asker: Client): Promise<Body> {
  const body = { device_keys: { [client.userId]: [] } }
  const answer = await asker.call('POST', `${v3}/keys/query`, { body })
  return Object(Object(answer['device_keys'])[client.userId])
}

const send = (from: Client, user: string, device: string, content: Body) =>
  from.call('PUT', path(`${v3}/sendToDevice`, 'org.example.test', unique('t')), {
    body: { messages: { [user]: { [device]: content } } },
  })

describe('a dehydrated device', () => {
  it('is not there before it is put, and is read as it was put', async () => {
    const alice = await register(server)
    const none = await alice.ask('GET', dehydrated)
    expect(none).toMatchObject({ status: 404, body: { errcode: 'M_NOT_FOUND' } })
    const { deviceId } = await put(alice)
    const answer = await alice.call('GET', dehydrated)
    expect(answer).toEqual({ device_id: deviceId, device_data: deviceData })
  })

  it('has keys that others query and claim, and is named among changed devices', async () => {
    const { alice, bob } = await joinedRoom()
    const { next_batch: since } = await bob.sync()
    const { deviceId, keys } = await put(alice)
    await bob.syncUntil(({ device_lists: lists }) => lists.changed.includes(alice.userId), {
      since,
    })
    expect(await devicesOf(alice, bob)).toMatchObject({ [deviceId]: { keys: keys['keys'] } })
    const wanted = { [alice.userId]: { [deviceId]: 'signed_curve25519' } }
    for (const id of ['A', 'F']) {
      const body = { one_time_keys: wanted }
      const claimed = await bob.call('POST', `${v3}/keys/claim`, { body })
      expect(JSON.stringify(claimed)).toContain(`signed_curve25519:${id}`)
    }
  })

  it('is replaced by the next one', async () => {
    const alice = await register(server)
    const first = await put(alice)
    const second = await put(alice)
    expect(await alice.call('GET', dehydrated)).toMatchObject({ device_id: second.deviceId })
    const devices = await devicesOf(alice, alice)
    expect(Object.keys(devices)).toEqual([second.deviceId])
    expect(devices).not.toHaveProperty([first.deviceId])
  })

  it('is deleted without a password', async () => {
    const alice = await register(server)
    const { deviceId } = await put(alice)
    expect(await alice.call('DELETE', dehydrated, { body: {} })).toEqual({ device_id: deviceId })
    expect((await alice.ask('GET', dehydrated)).status).toBe(404)
    expect((await alice.ask('DELETE', dehydrated, { body: {} })).status).toBe(404)
    expect(await devicesOf(alice, alice)).toEqual({})
  })

  it('keeps its messages however often they are read, in pages', async () => {
    const { alice, bob } = await joinedRoom()
    const { deviceId } = await put(alice)
    for (let n = 0; n < 5; n++) await send(bob, alice.userId, deviceId, { n })
    const phone = await login(server, alice.userId)
    for (const reader of [alice, phone]) {
      const seen: Body[] = []
      let from: unknown
      do {
        const query = { limit: 2, ...(typeof from === 'string' ? { from } : {}) }
        const answer = await reader.call('GET', path(dehydrated, deviceId, 'events'), { query })
        const events = Array.isArray(answer['events']) ? answer['events'] : []
        expect(events.length).toBeLessThanOrEqual(2)
        seen.push(...events)
        from = answer['next_batch']
      } while (from !== undefined)
      const type = 'org.example.test'
      expect(seen).toEqual(
        [0, 1, 2, 3, 4].map((n) => ({ sender: bob.userId, type, content: { n } })),
      )
    }
  })

  it('has its messages read by the earlier form, too, until an empty answer', async () => {
    const { alice, bob } = await joinedRoom()
    const { deviceId } = await put(alice)
    for (let n = 0; n < 3; n++) await send(bob, alice.userId, deviceId, { n })
    const seen: unknown[] = []
    let next: unknown
    for (;;) {
      const answer = await alice.call('POST', path(dehydrated, deviceId, 'events'), {
        query: { limit: 2 },
        body: next === undefined ? {} : { next_batch: next },
      })
      const events = Array.isArray(answer['events']) ? answer['events'] : []
      next = answer['next_batch']
      expect(typeof next).toBe('string')
      if (events.length === 0) break
      seen.push(...events.map((one) => Object(Object(one)['content'])['n']))
    }
    expect(seen).toEqual([0, 1, 2])
  })

  it('gives messages to nobody else, and no other device’s', async () => {
    const [alice, mallory] = await Promise.all([register(server), register(server)])
    const { deviceId } = await put(alice)
    const other = await put(mallory)
    for (const id of [deviceId, mallory.deviceId]) {
      const answer = await mallory.ask('GET', path(dehydrated, id, 'events'))
      expect(answer).toMatchObject({ status: 403, body: { errcode: 'M_FORBIDDEN' } })
    }
    const own = await mallory.ask('GET', path(dehydrated, other.deviceId, 'events'))
    expect(own).toMatchObject({ status: 200, body: { events: [] } })
  })

  it('needs its keys', async () => {
    const alice = await register(server)
    const body = {
      device_id: 'X',
      device_data: deviceData,
      initial_device_display_name: 'Dehydrated device',
    }
    expect((await alice.ask('PUT', dehydrated, { body })).status).toBe(400)
    expect((await alice.ask('GET', dehydrated)).status).toBe(404)
  })

  it('ends with the sign-out of all devices', async () => {
    const alice = await register(server)
    await put(alice)
    await alice.call('POST', `${v3}/logout/all`, { body: {} })
    const again = await login(server, alice.userId)
    expect((await again.ask('GET', dehydrated)).status).toBe(404)
  })
})
