import { describe, expect, it } from 'vitest'
import { register, unique } from '../harness/client.ts'
import { joinedRoom, server } from '../harness/fixtures.ts'
import { path } from '../harness/http.ts'
import { connect, oneList } from '../harness/sliding.ts'

const v3 = '/_matrix/client/v3'
const enabled = { enabled: true }

describe('extensions of sliding sync', () => {
  it('are not answered when nobody asked', async () => {
    const alice = await register(server)
    const answer = await connect(alice).ask({ extensions: { typing: { enabled: false }, x: {} } })
    expect(answer.extensions).toEqual({})
  })

  it('hand out messages to the device until it says that it has them', async () => {
    const alice = await register(server)
    const send = (n: number) =>
      alice.call('PUT', path(`${v3}/sendToDevice`, 'org.example.x', unique('t')), {
        body: { messages: { [alice.userId]: { [alice.deviceId]: { n } } } },
      })
    const ask = (since?: string) => ({
      extensions: { to_device: { ...enabled, ...(since !== undefined && { since }) } },
    })
    await send(1)
    const connection = connect(alice)
    const first = await connection.ask(ask())
    const { next_batch: since, events } = first.extensions.to_device ?? {}
    expect(events?.map(({ content }) => content)).toEqual([{ n: 1 }])
    const again = await connection.ask(ask(), { pos: first.pos })
    expect(again.extensions.to_device?.events).toHaveLength(1)
    const waiting = connection.ask(ask(since), { timeoutMs: 20_000 })
    await send(2)
    const second = await waiting
    expect(second.extensions.to_device?.events.map(({ content }) => content)).toEqual([{ n: 2 }])
    const third = await connection.ask(ask(second.extensions.to_device?.next_batch))
    expect(third.extensions.to_device?.events).toEqual([])
    // It is gone soon after, for the classic sync too.
    await expect
      .poll(async () => JSON.stringify(await alice.sync()), { timeout: 10_000 })
      .not.toContain('org.example.x')
  })

  it('tell whose keys are to be asked for, and how many one has left', async () => {
    const { alice, bob } = await joinedRoom()
    const asked = { extensions: { e2ee: enabled } }
    const connection = connect(alice)
    const first = await connection.ask(asked)
    expect(first.extensions.e2ee).toMatchObject({ device_unused_fallback_key_types: [] })
    await bob.call('POST', `${v3}/keys/upload`, {
      body: {
        device_keys: {
          ...{ user_id: bob.userId, device_id: bob.deviceId, algorithms: ['m.olm.v1'] },
          keys: { [`ed25519:${bob.deviceId}`]: 'x', [`curve25519:${bob.deviceId}`]: 'y' },
          signatures: {},
        },
      },
    })
    const second = await connection.until(
      asked,
      ({ extensions }) => extensions.e2ee?.device_lists?.changed.includes(bob.userId) === true,
    )
    expect(second.extensions.e2ee?.device_lists?.left).toEqual([])
  })

  it('have account data, of everything and of the rooms in view', async () => {
    const { alice, room } = await joinedRoom()
    const put = (type: string, n: number, where?: string) =>
      alice.call('PUT', alice.dataPath(type, where), { body: { n } })
    await put('org.example.all', 1)
    await put('org.example.room', 1, room)
    const extensions = { account_data: enabled }
    const connection = connect(alice)
    const first = await connection.ask({ ...oneList(), extensions })
    const global = first.extensions.account_data?.global ?? []
    expect(global.map(({ type }) => type)).toEqual(
      expect.arrayContaining(['org.example.all', 'm.push_rules']),
    )
    expect(first.extensions.account_data?.rooms[room]).toContainEqual({
      type: 'org.example.room',
      content: { n: 1 },
    })
    await put('org.example.room', 2, room)
    const second = await connection.until(
      { ...oneList(), extensions },
      (answer) => answer.extensions.account_data?.rooms[room] !== undefined,
    )
    expect(second.extensions.account_data).toEqual({
      global: [],
      rooms: { [room]: [{ type: 'org.example.room', content: { n: 2 } }] },
    })
    const none = { account_data: { ...enabled, lists: [], rooms: [] } }
    const other = await connect(alice).ask({ ...oneList(), extensions: none })
    expect(other.extensions.account_data?.rooms).toEqual({})
  })

  it('have receipts on what is shown, and those that move', async () => {
    const { alice, bob, room } = await joinedRoom()
    const read = async (event: string) => {
      await bob.call('POST', bob.room(room, 'receipt', 'm.read', event), { body: {} })
    }
    const old = await alice.sendText(room, 'old')
    await read(old)
    await alice.sendText(room, 'new')
    const list = { ...oneList({ timeline_limit: 1 }), extensions: { receipts: enabled } }
    const connection = connect(alice)
    const first = await connection.ask(list)
    expect(first.extensions.receipts?.rooms ?? {}).toEqual({})
    const latest = await alice.sendText(room, 'latest')
    await read(latest)
    const second = await connection.until(
      list,
      ({ extensions }) => extensions.receipts?.rooms[room] !== undefined,
    )
    const { content, type } = second.extensions.receipts?.rooms[room] ?? {}
    expect(type).toBe('m.receipt')
    expect(content).toMatchObject({ [latest]: { 'm.read': { [bob.userId]: {} } } })
  })

  it('have who is typing', async () => {
    const { alice, bob, room } = await joinedRoom()
    const list = { ...oneList(), extensions: { typing: enabled } }
    const connection = connect(alice)
    await connection.ask(list)
    await bob.call('PUT', bob.room(room, 'typing', bob.userId), {
      body: { typing: true, timeout: 20_000 },
    })
    const answer = await connection.until(
      list,
      ({ extensions }) => extensions.typing?.rooms[room] !== undefined,
    )
    expect(answer.extensions.typing?.rooms[room]).toMatchObject({
      type: 'm.typing',
      content: { user_ids: [bob.userId] },
    })
  })

  it('have the threads that one is subscribed to, at first and as that changes', async () => {
    const alice = await register(server)
    const room = await alice.createRoom()
    const subscribe = async () => {
      const root = await alice.sendText(room, 'root')
      const where = path('/_matrix/client/unstable/io.element.msc4306/rooms', room, 'thread', root)
      await alice.call('PUT', `${where}/subscription`, { body: {} })
      return root
    }
    const name = 'io.element.msc4308.thread_subscriptions'
    const asked = { extensions: { [name]: { ...enabled, limit: 2 } } }
    const old = await subscribe()
    const connection = connect(alice)
    const first = await connection.ask(asked)
    expect(first.extensions[name]).toMatchObject({
      subscribed: { [room]: { [old]: { automatic: false, bump_stamp: expect.any(Number) } } },
    })
    const root = await subscribe()
    const second = await connection.until(asked, ({ extensions }) => name in extensions)
    expect(second.extensions[name]).toMatchObject({ subscribed: { [room]: { [root]: {} } } })
    expect(JSON.stringify(second)).not.toContain(old)
    expect((await connection.ask(asked)).extensions).toEqual({})
  })
})
