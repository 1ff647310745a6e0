import { beforeEach, describe, expect, it, vi } from 'vitest'
import { FakeClock } from '../homeserver/platform/fake-clock.ts'
import { silentLogger } from '../homeserver/platform/log.ts'
import { MatrixError } from '../spec/errors.ts'
import { parseRoomId, parseServerName } from '../spec/ids.ts'
import type { JsonObject } from '../spec/json.ts'
import { createEdus, ephemeralLimits, messagesLimits } from './edus.ts'

const them = parseServerName('them.example')
const room = parseRoomId('!r:us.example')
const closed = parseRoomId('!closed:us.example')

const handlers = {
  typing: vi.fn(async () => {}),
  receipts: vi.fn(async () => {}),
  presence: vi.fn(async () => {}),
  toDevice: vi.fn(async (_: string, __: JsonObject) => {}),
  deviceList: vi.fn(async () => {}),
  signingKeys: vi.fn(async () => {}),
}
const clock = new FakeClock()
const open = () =>
  createEdus({
    handlers,
    access: { isAllowed: async (_, id) => id !== closed },
    clock,
    log: silentLogger,
  })
const edus = open()
const receive = (edu_type: string, content: JsonObject) =>
  edus.receive(them, [{ edu_type, content }])

beforeEach(() => vi.clearAllMocks())

describe('EDUs of another server', () => {
  it('may speak of its own users only', async () => {
    const foreign = '@b:other.example'
    await receive('m.typing', { room_id: room, user_id: foreign, typing: true })
    await receive('m.direct_to_device', {
      sender: foreign,
      type: 't',
      message_id: 'm',
      messages: {},
    })
    await receive('m.device_list_update', { user_id: foreign, device_id: 'D', stream_id: 1 })
    await receive('m.signing_key_update', { user_id: foreign })
    await receive('m.presence', {
      push: [
        { user_id: foreign, presence: 'online' },
        { user_id: '@b:them.example', presence: 'online', last_active_ago: 1 },
      ],
    })
    expect(handlers.typing).not.toHaveBeenCalled()
    expect(handlers.toDevice).not.toHaveBeenCalled()
    expect(handlers.deviceList).not.toHaveBeenCalled()
    expect(handlers.signingKeys).not.toHaveBeenCalled()
    expect(handlers.presence).toHaveBeenCalledExactlyOnceWith(them, [
      { user_id: '@b:them.example', presence: 'online', last_active_ago: 1 },
    ])
  })

  it('are ignored for rooms whose ACL shuts the server out, room by room', async () => {
    const receipt = { event_ids: ['$e'], data: { ts: 1 } }
    const of = { 'm.read': { '@b:them.example': receipt, '@c:other.example': receipt } }
    await receive('m.receipt', { [room]: of, [closed]: of })
    expect(handlers.receipts).toHaveBeenCalledExactlyOnceWith(them, room, {
      'm.read': { '@b:them.example': receipt },
    })
    await receive('m.typing', { room_id: closed, user_id: '@b:them.example', typing: true })
    expect(handlers.typing).not.toHaveBeenCalled()
  })

  it('are passed over when they have the wrong shape or an unknown type', async () => {
    await receive('m.typing', { room_id: 'r', user_id: '@b:them.example', typing: true })
    await receive('m.typing', { room_id: room, user_id: '@b:them.example', typing: 'yes' })
    await receive('m.receipt', { [room]: { 'm.read': { '@b:them.example': { event_ids: [] } } } })
    await receive('m.presence', { push: 'all' })
    await receive('toString', {})
    await receive('__proto__', {})
    for (const handler of Object.values(handlers)) expect(handler).not.toHaveBeenCalled()
  })

  it('keep the order of one sender, and a failing one spoils no other', async () => {
    const seen: unknown[] = []
    handlers.toDevice.mockImplementation(async (_, { message_id }) => {
      if (message_id === '1') throw new Error('no')
      if (message_id === '2') await new Promise((resolve) => setTimeout(resolve, 5))
      seen.push(message_id)
    })
    const message = (message_id: string) => ({
      edu_type: 'm.direct_to_device',
      content: { sender: '@b:them.example', type: 't', message_id, messages: {} },
    })
    // It must arrive: the server is to send it again.
    await expect(edus.receive(them, ['1', '2', '3'].map(message))).rejects.toThrow('no')
    expect(seen).toEqual(['2', '3'])
    handlers.toDevice.mockRejectedValueOnce(new MatrixError('M_INVALID_PARAM', 'its own fault'))
    await edus.receive(them, ['4', '5'].map(message))
    expect(seen).toEqual(['2', '3', '5'])
  })

  it('are dropped when a server sends too many of those that may be lost', async () => {
    const flooded = open()
    const typing = {
      edu_type: 'm.typing',
      content: { room_id: room, user_id: '@b:them.example', typing: true },
    }
    const more = ephemeralLimits.burst + 500
    for (let sent = 0; sent < more; sent += 100) {
      await flooded.receive(
        them,
        Array.from({ length: 100 }, () => typing),
      )
    }
    expect(handlers.typing).toHaveBeenCalledTimes(ephemeralLimits.burst)
    await flooded.receive(parseServerName('other.example'), [
      { ...typing, content: { ...typing.content, user_id: '@c:other.example' } },
    ])
    expect(handlers.typing).toHaveBeenCalledTimes(ephemeralLimits.burst + 1)
    await clock.advance(1_000)
    for (let sent = 0; sent < 1_000; sent += 100) {
      await flooded.receive(
        them,
        Array.from({ length: 100 }, () => typing),
      )
    }
    expect(handlers.typing).toHaveBeenCalledTimes(
      ephemeralLimits.burst + 1 + ephemeralLimits.perSecond,
    )
  })

  it('have to wait when a server sends too many of those that must arrive', async () => {
    handlers.toDevice.mockImplementation(async () => {})
    const flooded = open()
    const devices = Object.fromEntries(Array.from({ length: 1_000 }, (_, n) => [`D${n}`, {}]))
    const bundle = {
      edu_type: 'm.direct_to_device',
      content: {
        ...{ sender: '@b:them.example', type: 't', message_id: 'm' },
        messages: { '@a:us.example': devices },
      },
    }
    for (let sent = 0; sent < messagesLimits.burst; sent += 1_000) {
      await flooded.admit(them)
      await flooded.receive(them, [bundle])
    }
    let isAdmitted = false
    const waiting = flooded.admit(them).then(() => {
      isAdmitted = true
    })
    await clock.advance(0)
    expect(isAdmitted).toBe(false)
    await clock.advance(200)
    await waiting
    expect(handlers.toDevice).toHaveBeenCalledTimes(messagesLimits.burst / 1_000)
    for (let n = 0; n < 20; n++) await flooded.receive(them, [bundle])
    const refused = expect(flooded.admit(them)).rejects.toMatchObject({
      errcode: 'M_LIMIT_EXCEEDED',
    })
    await clock.advance(11_000)
    await refused
  })
})
