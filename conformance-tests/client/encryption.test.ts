import { describe, expect, it } from 'vitest'
import { login, register, unique } from '../harness/client.ts'
import { createDeviceKeys, oneTimeKey } from '../harness/device-keys.ts'
import { joinedRoom, server } from '../harness/fixtures.ts'
import { isBody, path } from '../harness/http.ts'

const v3 = '/_matrix/client/v3'

describe('device keys', () => {
  it('are uploaded, counted and queried', async () => {
    const { alice, bob } = await joinedRoom()
    const keys = createDeviceKeys(alice)
    const uploaded = await alice.call('POST', `${v3}/keys/upload`, {
      body: { device_keys: keys.deviceKeys, one_time_keys: oneTimeKey(keys, 'AAAA') },
    })
    expect(uploaded).toMatchObject({ one_time_key_counts: { signed_curve25519: 1 } })
    const answer = await bob.call('POST', `${v3}/keys/query`, {
      body: { device_keys: { [alice.userId]: [] } },
    })
    expect(answer).toMatchObject({
      device_keys: { [alice.userId]: { [alice.deviceId]: keys.deviceKeys } },
      failures: {},
    })
  })

  it('carry the display name of the device', async () => {
    const alice = await register(server, 'alice', { initial_device_display_name: 'laptop' })
    const keys = createDeviceKeys(alice)
    await alice.call('POST', `${v3}/keys/upload`, { body: { device_keys: keys.deviceKeys } })
    const answer = await alice.call('POST', `${v3}/keys/query`, {
      body: { device_keys: { [alice.userId]: [alice.deviceId] } },
    })
    expect(JSON.stringify(answer)).toContain('"device_display_name":"laptop"')
  })

  it('of a device that is not one’s own are refused', async () => {
    const [alice, bob] = await Promise.all([register(server), register(server)])
    const keys = createDeviceKeys(bob)
    const answer = await alice.ask('POST', `${v3}/keys/upload`, {
      body: { device_keys: keys.deviceKeys },
    })
    expect(answer.status).toBe(400)
  })

  it('are queried with a list of devices, not an object', async () => {
    const alice = await register(server)
    const answer = await alice.ask('POST', `${v3}/keys/query`, {
      body: { device_keys: { [alice.userId]: { device_id: alice.deviceId } } },
    })
    expect(answer).toMatchObject({ status: 400, body: { errcode: 'M_BAD_JSON' } })
  })

  it('of nobody are just not there', async () => {
    const alice = await register(server)
    const nobody = `@${unique('nobody')}:${server.name}`
    const answer = await alice.call('POST', `${v3}/keys/query`, {
      body: { device_keys: { [nobody]: [] } },
    })
    expect(isBody(answer['device_keys']) ? (answer['device_keys'][nobody] ?? {}) : 'none').toEqual(
      {},
    )
  })
})

describe('one-time keys', () => {
  it('are given out once each', async () => {
    const { alice, bob } = await joinedRoom()
    const keys = createDeviceKeys(alice)
    await alice.call('POST', `${v3}/keys/upload`, {
      body: {
        device_keys: keys.deviceKeys,
        one_time_keys: { ...oneTimeKey(keys, 'A'), ...oneTimeKey(keys, 'B') },
      },
    })
    const claim = () =>
      bob.call('POST', `${v3}/keys/claim`, {
        body: { one_time_keys: { [alice.userId]: { [alice.deviceId]: 'signed_curve25519' } } },
      })
    const answers = await Promise.all([claim(), claim(), claim()])
    const claimed = answers.flatMap(({ one_time_keys: found }) => {
      const user = isBody(found) ? found[alice.userId] : undefined
      const device = isBody(user) ? user[alice.deviceId] : undefined
      return isBody(device) ? Object.keys(device) : []
    })
    expect(claimed.sort()).toEqual(['signed_curve25519:A', 'signed_curve25519:B'])
    await alice.syncUntil(
      (answer) => (answer.device_one_time_keys_count['signed_curve25519'] ?? 0) === 0,
    )
  })

  it('are given out in the order they came', async () => {
    const { alice, bob } = await joinedRoom()
    const keys = createDeviceKeys(alice)
    for (const id of ['zzz', 'aaa', 'mmm']) {
      await alice.call('POST', `${v3}/keys/upload`, {
        body: { one_time_keys: oneTimeKey(keys, id) },
      })
    }
    const order: string[] = []
    for (let i = 0; i < 3; i++) {
      const answer = await bob.call('POST', `${v3}/keys/claim`, {
        body: { one_time_keys: { [alice.userId]: { [alice.deviceId]: 'signed_curve25519' } } },
      })
      order.push(/signed_curve25519:(\w+)/.exec(JSON.stringify(answer))?.[1] ?? '')
    }
    expect(order).toEqual(['zzz', 'aaa', 'mmm'])
  })

  it('are counted in sync', async () => {
    const alice = await register(server)
    const keys = createDeviceKeys(alice)
    await alice.call('POST', `${v3}/keys/upload`, {
      body: { one_time_keys: oneTimeKey(keys, 'A') },
    })
    const answer = await alice.sync()
    expect(answer.device_one_time_keys_count).toMatchObject({ signed_curve25519: 1 })
  })

  it('uploaded again are the same; another key of the same id is refused', async () => {
    const alice = await register(server)
    const keys = createDeviceKeys(alice)
    const body = { one_time_keys: oneTimeKey(keys, 'A') }
    await alice.call('POST', `${v3}/keys/upload`, { body })
    const again = await alice.call('POST', `${v3}/keys/upload`, { body })
    expect(again).toMatchObject({ one_time_key_counts: { signed_curve25519: 1 } })
    const other = await alice.ask('POST', `${v3}/keys/upload`, {
      body: { one_time_keys: oneTimeKey(keys, 'A') },
    })
    expect(other.status).toBe(400)
  })

  it('end in the fallback key, which is used as often as needed', async () => {
    const { alice, bob } = await joinedRoom()
    const keys = createDeviceKeys(alice)
    await alice.call('POST', `${v3}/keys/upload`, {
      body: {
        device_keys: keys.deviceKeys,
        fallback_keys: oneTimeKey(keys, 'F', { fallback: true }),
      },
    })
    const first = await alice.sync()
    expect(first.device_unused_fallback_key_types).toEqual(['signed_curve25519'])
    for (let i = 0; i < 2; i++) {
      const answer = await bob.call('POST', `${v3}/keys/claim`, {
        body: { one_time_keys: { [alice.userId]: { [alice.deviceId]: 'signed_curve25519' } } },
      })
      expect(JSON.stringify(answer)).toContain('signed_curve25519:F')
    }
    const second = await alice.sync()
    expect(second.device_unused_fallback_key_types).toEqual([])
  })
})

describe('messages to a device', () => {
  const send = (from: Awaited<ReturnType<typeof register>>, messages: object, txn = unique('t')) =>
    from.call('PUT', path(`${v3}/sendToDevice`, 'org.example.test', txn), { body: { messages } })

  it('arrive once, at that device only', async () => {
    const { alice, bob } = await joinedRoom()
    const phone = await login(server, bob.userId)
    await send(alice, { [bob.userId]: { [phone.deviceId]: { hello: 1 } } })
    const answer = await phone.syncUntil(({ to_device: inbox }) => inbox.events.length > 0)
    expect(answer.to_device.events).toEqual([
      expect.objectContaining({
        type: 'org.example.test',
        sender: alice.userId,
        content: { hello: 1 },
      }),
    ])
    const later = await phone.sync({ since: answer.next_batch })
    expect(later.to_device.events).toEqual([])
    expect((await bob.sync()).to_device.events).toEqual([])
  })

  it('come again until the device has said that it has them', async () => {
    const { alice, bob } = await joinedRoom()
    const { next_batch: since } = await bob.sync()
    await send(alice, { [bob.userId]: { [bob.deviceId]: { hello: 1 } } })
    const first = await bob.syncUntil(({ to_device: inbox }) => inbox.events.length > 0, { since })
    const again = await bob.sync({ since })
    expect(again.to_device.events).toEqual(first.to_device.events)
    expect((await bob.sync({ since: first.next_batch })).to_device.events).toEqual([])
  })

  it('arrive at every device with a star', async () => {
    const { alice, bob } = await joinedRoom()
    const phone = await login(server, bob.userId)
    await send(alice, { [bob.userId]: { '*': { all: true } } })
    for (const device of [bob, phone]) {
      await device.syncUntil(({ to_device: inbox }) => inbox.events.length === 1)
    }
  })

  it('are sent once for a transaction id', async () => {
    const { alice, bob } = await joinedRoom()
    const txn = unique('t')
    for (let i = 0; i < 3; i++) await send(alice, { [bob.userId]: { [bob.deviceId]: { i } } }, txn)
    const answer = await bob.syncUntil(({ to_device: inbox }) => inbox.events.length > 0)
    expect(answer.to_device.events).toHaveLength(1)
  })

  it('keep their order, at most 100 an answer', async () => {
    const { alice, bob } = await joinedRoom()
    const count = 130
    for (let i = 0; i < count; i++) await send(alice, { [bob.userId]: { [bob.deviceId]: { i } } })
    const seen: unknown[] = []
    let since: string | undefined
    while (seen.length < count) {
      const answer = await bob.syncUntil(
        ({ to_device: inbox }) => inbox.events.length > 0,
        since === undefined ? {} : { since },
      )
      expect(answer.to_device.events.length).toBeLessThanOrEqual(100)
      seen.push(...answer.to_device.events.map(({ content }) => content['i']))
      since = answer.next_batch
    }
    expect(seen).toEqual(Array.from({ length: count }, (_, i) => i))
  })

  it('wake a waiting sync', async () => {
    const { alice, bob } = await joinedRoom()
    const { next_batch: since } = await bob.sync()
    const startedAt = performance.now()
    const waiting = bob.syncUntil(({ to_device: inbox }) => inbox.events.length > 0, {
      since,
      timeoutMs: 10_000,
    })
    await send(alice, { [bob.userId]: { [bob.deviceId]: {} } })
    await waiting
    expect(performance.now() - startedAt).toBeLessThan(5_000)
  })
})

describe('the list of changed devices', () => {
  it('names those who uploaded keys, to those who share a room', async () => {
    const { alice, bob } = await joinedRoom()
    const stranger = await register(server)
    const [a, s] = await Promise.all([alice.sync(), stranger.sync()])
    const keys = createDeviceKeys(bob)
    await bob.call('POST', `${v3}/keys/upload`, { body: { device_keys: keys.deviceKeys } })
    const answer = await alice.syncUntil(
      ({ device_lists: lists }) => lists.changed.includes(bob.userId),
      {
        since: a.next_batch,
      },
    )
    expect((await stranger.sync({ since: s.next_batch })).device_lists.changed).toEqual([])
    const changes = await alice.call('GET', `${v3}/keys/changes`, {
      query: { from: a.next_batch, to: answer.next_batch },
    })
    expect(changes['changed']).toEqual([bob.userId])
  })

  it('names those who join', async () => {
    const [alice, bob] = await Promise.all([register(server), register(server)])
    await bob.call('POST', `${v3}/keys/upload`, {
      body: { device_keys: createDeviceKeys(bob).deviceKeys },
    })
    const room = await alice.createRoom({ preset: 'public_chat' })
    const { next_batch: since } = await alice.sync()
    await bob.join(room)
    await alice.syncUntil(({ device_lists: lists }) => lists.changed.includes(bob.userId), {
      since,
    })
  })

  it('names as left those with whom no room is shared any more', async () => {
    const { alice, bob, room } = await joinedRoom()
    const { next_batch: since } = await alice.sync()
    await bob.leave(room)
    await alice.syncUntil(({ device_lists: lists }) => lists.left.includes(bob.userId), { since })
  })

  it('names as left those who leave also when members are loaded lazily', async () => {
    const { alice, bob, room } = await joinedRoom()
    const filter = { room: { state: { lazy_load_members: true } } }
    const { next_batch: since } = await alice.sync({ filter })
    await bob.leave(room)
    await alice.syncUntil(({ device_lists: lists }) => lists.left.includes(bob.userId), {
      since,
      filter,
    })
  })

  it('names oneself when another own device comes or goes', async () => {
    const alice = await register(server)
    const { next_batch: since } = await alice.sync()
    const phone = await login(server, alice.userId)
    await phone.call('POST', `${v3}/keys/upload`, {
      body: { device_keys: createDeviceKeys(phone).deviceKeys },
    })
    const one = await alice.syncUntil(
      ({ device_lists: lists }) => lists.changed.includes(alice.userId),
      { since },
    )
    await phone.call('POST', `${v3}/logout`, { body: {} })
    await alice.syncUntil(({ device_lists: lists }) => lists.changed.includes(alice.userId), {
      since: one.next_batch,
    })
  })
})
