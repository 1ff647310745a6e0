import https from 'node:https'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { createAuthority } from '../conformance-tests/harness/certificates.ts'
import type { TestDatabase } from '../homeserver/database/test-database.ts'
import { testDatabase } from '../homeserver/database/test-database.ts'
import type { Receipt } from '../homeserver/events/events.ts'
import type { StoredEvent } from '../homeserver/events/stored-event.ts'
import { verifyJson } from '../spec/crypto/sign-json.ts'
import { notFound } from '../spec/errors.ts'
import { type EventId, parseEventId, parseRoomId, parseUserId } from '../spec/ids.ts'
import { integerAt, type JsonObject, objectAt, stringAt } from '../spec/json.ts'
import { finishPdu } from '../spec/room/event-format.ts'
import { rulesOf } from '../spec/room/version.ts'
import { authorization } from './request.ts'
import { createSide, fakeEvents, type Side } from './test-sides.ts'

const room = parseRoomId('!room:us.example')
const secretRoom = parseRoomId('!secret:us.example')
const rules = rulesOf('11')
if (!rules) throw new Error('room version 11 is unknown')
const received: { room: string; pdus: readonly JsonObject[] }[] = []
const typed = vi.fn(async () => {})
const toDevice = vi.fn(async () => {})

const authority = createAuthority()
let databases: TestDatabase[]
let us: Side
let them: Side
let stored: StoredEvent

beforeAll(async () => {
  databases = [await testDatabase(), await testDatabase()]
  const [first, second] = databases
  if (!first || !second) throw new Error('no database')
  them = await createSide(second.db, authority, 2)
  const events = fakeEvents({
    rulesOf: async (id) => (id === room ? rules : undefined),
    currentEntry: async (id, type) =>
      id === secretRoom && type === 'm.room.server_acl' ? aclEvent() : undefined,
    serversIn: async (id) => new Set(id === room ? [them.serverName] : []),
    get: async (ids) =>
      new Map(ids.includes(stored.pdu.eventId) ? [[stored.pdu.eventId, stored]] : []),
    stateAt: async () => new Map([['m.room.create\u0000', stored]]),
    backfillFrom: async () => [stored],
    serverMaySee: async () => false,
    receive: async (_, id, pdus) => {
      received.push({ room: id, pdus })
      return new Map(
        pdus.map((pdu, at): [EventId, Receipt] => [
          parseEventId(`$${integerAt(pdu, 'depth')}`),
          at === 1 ? { kind: 'rejected', reason: 'not allowed' } : { kind: 'accepted' },
        ]),
      )
    },
  })
  us = await createSide(first.db, authority, 1, {
    events,
    rooms: {
      resolveAlias: async () => ({ room, servers: [us.serverName] }),
      publicRooms: async (query) => ({ chunk: [], asked: query.limit }),
    },
    profiles: {
      get: async (user) => {
        if (!user.startsWith('@alice:')) throw notFound('User')
        return { displayname: 'Alice' }
      },
    },
    edus: {
      typing: typed,
      receipts: async () => {},
      presence: async () => {},
      toDevice,
      deviceList: async () => {},
      signingKeys: async () => {},
    },
  })
  const pdu = finishPdu(draft('m.room.message'), rules, us.serverName, us.key)
  stored = { nr: 1, pdu, text: pdu.text ?? '', softFailed: false, stateBefore: 5 }
})

afterAll(async () => {
  await us[Symbol.asyncDispose]()
  await them[Symbol.asyncDispose]()
  for (const one of databases) await one[Symbol.asyncDispose]()
})

function draft(type: string): JsonObject {
  return {
    type,
    room_id: room,
    sender: `@alice:${us.serverName}`,
    content: { body: 'secret words', msgtype: 'm.text' },
    depth: 3,
    prev_events: ['$prev'],
    auth_events: ['$auth'],
    origin_server_ts: 1,
  }
}

function aclEvent(): StoredEvent {
  const json = {
    ...draft('m.room.server_acl'),
    state_key: '',
    content: { allow: ['only.example'] },
  }
  if (!rules) throw new Error('room version 11 is unknown')
  const pdu = finishPdu(json, rules, us.serverName, us.key)
  return { nr: 2, pdu, text: pdu.text ?? '', softFailed: false }
}

const ask = (path: string, method: 'GET' | 'PUT' | 'POST' = 'GET', body?: JsonObject) =>
  them.outbound.client.call(us.serverName, {
    method,
    path,
    ignoreBackoff: true,
    ...(body !== undefined && { body }),
  })

describe('the federation border', () => {
  it('publishes keys that are signed with themselves and valid for a while', async () => {
    const keys = await them.outbound.client.call(us.serverName, {
      method: 'GET',
      path: '/_matrix/key/v2/server',
      unsigned: true,
    })
    expect(keys).toMatchObject({
      server_name: us.serverName,
      verify_keys: { 'ed25519:1': { key: us.key.publicKey } },
    })
    expect(verifyJson(keys as JsonObject, us.serverName, 'ed25519:1', us.key.publicKey)).toBe(true)
  })

  it('answers as a notary for itself and for others, with its signature added', async () => {
    const answer = await ask('/_matrix/key/v2/query', 'POST', {
      server_keys: { [them.serverName]: {}, [us.serverName]: {} },
    })
    const keys = (answer as { server_keys: JsonObject[] }).server_keys
    expect(keys.map(({ server_name }) => server_name).toSorted()).toEqual(
      [them.serverName, us.serverName].toSorted(),
    )
    for (const one of keys) {
      expect(verifyJson(one, us.serverName, 'ed25519:1', us.key.publicKey)).toBe(true)
    }
  })

  it('says who it is, to anybody', async () => {
    expect(await ask('/_matrix/federation/v1/version')).toEqual({
      server: { name: 'Folkmoot', version: '0.0.0' },
    })
  })

  it('takes a transaction, answers per PDU and hands EDUs to their slices', async () => {
    const answer = await ask('/_matrix/federation/v1/send/1', 'PUT', {
      origin: them.serverName,
      origin_server_ts: 1,
      pdus: [{ room_id: room, depth: 1 }, { room_id: room, depth: 2 }, { nonsense: true }, 5],
      edus: [
        {
          edu_type: 'm.typing',
          content: { room_id: room, user_id: `@b:${them.serverName}`, typing: true },
        },
        {
          edu_type: 'm.typing',
          content: { room_id: room, user_id: '@b:other.example', typing: true },
        },
        {
          edu_type: 'm.typing',
          content: { room_id: secretRoom, user_id: `@b:${them.serverName}`, typing: true },
        },
        { edu_type: 'm.unheard_of', content: {} },
        'nonsense',
      ],
    })
    expect(answer).toEqual({ pdus: { $1: {}, $2: { error: 'not allowed' } } })
    expect(typed).toHaveBeenCalledTimes(1)
  })

  it('gives a repeated transaction its first answer and handles it once', async () => {
    const body = {
      origin: them.serverName,
      pdus: [{ room_id: room, depth: 7 }],
      edus: [
        {
          edu_type: 'm.direct_to_device',
          content: { sender: `@b:${them.serverName}`, type: 't', message_id: '1', messages: {} },
        },
      ],
    }
    const before = received.length
    const first = await ask('/_matrix/federation/v1/send/again', 'PUT', body)
    const second = await ask('/_matrix/federation/v1/send/again', 'PUT', { ...body, pdus: [] })
    expect(second).toEqual(first)
    expect(received.length).toBe(before + 1)
    expect(toDevice).toHaveBeenCalledTimes(1)
  })

  it('refuses PDUs of a room whose ACL shuts the server out, and queries about it', async () => {
    const answer = await ask('/_matrix/federation/v1/send/acl', 'PUT', {
      pdus: [{ room_id: secretRoom, event_id: '$x:a.example' }],
    })
    expect(answer).toEqual({ pdus: { '$x:a.example': { error: 'Server is banned from room' } } })
    await expect(
      ask(`/_matrix/federation/v1/backfill/${encodeURIComponent(secretRoom)}?v=%24x&limit=1`),
    ).rejects.toMatchObject({ errcode: 'M_FORBIDDEN', status: 403 })
  })

  it('does not let more than 50 PDUs or 100 EDUs in', async () => {
    const many = (count: number) => Array.from({ length: count }, () => ({}))
    for (const body of [{ pdus: many(51) }, { pdus: [], edus: many(101) }]) {
      await expect(ask('/_matrix/federation/v1/send/many', 'PUT', body)).rejects.toMatchObject({
        errcode: 'M_BAD_JSON',
        status: 400,
      })
    }
  })

  it('gives hidden events redacted to servers in the room', async () => {
    const { remote } = them.outbound
    const [event] = await remote.backfill(us.serverName, room, [stored.pdu.eventId], 10)
    expect(event).toMatchObject({ type: 'm.room.message', content: {} })
    expect(event).toMatchObject({ hashes: objectAt(stored.pdu.json, 'hashes') })
    const state = await remote.state(us.serverName, room, stored.pdu.eventId)
    expect(state).toEqual({ pdus: [stored.pdu.json], auth_chain: [] })
    const ids = await remote.stateIds(us.serverName, room, stored.pdu.eventId)
    expect(ids).toEqual({ pdu_ids: [stored.pdu.eventId], auth_chain_ids: [] })
  })

  it('answers alike for a room that it does not know and one that the server is not in', async () => {
    const errors = await Promise.all(
      ['!other:us.example', '!unknown:us.example'].map((id) =>
        them.outbound.remote
          .stateIds(us.serverName, parseRoomId(id), parseEventId('$x'))
          .catch((error: unknown) => JSON.stringify(error)),
      ),
    )
    expect(errors[0]).toContain('M_FORBIDDEN')
    expect(errors[0]).toBe(errors[1])
    await expect(
      them.outbound.remote.getEvent(us.serverName, parseEventId('$nowhere')),
    ).rejects.toMatchObject({ errcode: 'M_NOT_FOUND', status: 404 })
  })

  it('answers questions about profiles, aliases and the directory', async () => {
    const { remote } = them.outbound
    const alice = parseUserId(`@alice:${us.serverName}`)
    expect(await remote.profile(us.serverName, alice)).toEqual({ displayname: 'Alice' })
    expect(await remote.profile(us.serverName, alice, 'avatar_url')).toEqual({})
    await expect(
      remote.profile(us.serverName, parseUserId(`@bob:${us.serverName}`)),
    ).rejects.toMatchObject({ status: 404 })
    await expect(
      remote.profile(us.serverName, parseUserId('@alice:other.example')),
    ).rejects.toMatchObject({ status: 400 })
    expect(await remote.publicRooms(us.serverName, { limit: 3 })).toEqual({ chunk: [], asked: 3 })
  })

  it('lets a server ask for templates for its own users only', async () => {
    await expect(
      them.outbound.remote.makeJoin(us.serverName, room, parseUserId('@x:other.example'), ['11']),
    ).rejects.toMatchObject({ errcode: 'M_FORBIDDEN' })
  })
})

describe('what is not a good request', () => {
  function raw(options: {
    method?: string
    path: string
    headers?: object
    body?: string | Buffer
  }) {
    return new Promise<{ status: number; body: JsonObject }>((resolve, reject) => {
      const [host, port] = us.serverName.split(':')
      const { method = 'GET', path, headers } = options
      const req = https.request(
        { host, port, method, path, headers: { ...headers }, rejectUnauthorized: false },
        async (res) => {
          let text = ''
          for await (const chunk of res) text += chunk
          resolve({ status: res.statusCode ?? 0, body: JSON.parse(text) })
        },
      )
      req.on('error', reject)
      req.end(options.body)
    })
  }
  const send = '/_matrix/federation/v1/send/bad'
  const headers = (body: string) => ({
    authorization: authorization(them, us.serverName, { method: 'PUT', path: send }, body),
  })

  it('is unrecognized with 404 when nothing is there, with 405 when the method is wrong', async () => {
    expect(await raw({ path: '/_matrix/federation/v1/nothing' })).toMatchObject({
      status: 404,
      body: { errcode: 'M_UNRECOGNIZED' },
    })
    expect(await raw({ method: 'DELETE', path: send })).toMatchObject({
      status: 405,
      body: { errcode: 'M_UNRECOGNIZED' },
    })
  })

  it('is refused with 401 without a signature', async () => {
    expect(await raw({ method: 'PUT', path: send, body: '{}' })).toMatchObject({
      status: 401,
      body: { errcode: 'M_UNAUTHORIZED' },
    })
  })

  it.each([
    ['not JSON', '{"a":', 400, 'M_NOT_JSON'],
    ['nested too deep', `{"a":${'['.repeat(100)}${']'.repeat(100)}}`, 400, 'M_BAD_JSON'],
    ['too large', `{"a":"${'x'.repeat(2_000_000)}"}`, 413, 'M_TOO_LARGE'],
  ])('is refused when its body is %s', async (_, body, status, errcode) => {
    const answer = await raw({ method: 'PUT', path: send, headers: headers('{}'), body })
    expect(answer).toMatchObject({ status, body: { errcode } })
  })

  it('is refused when its body is not UTF-8, or not what was signed', async () => {
    const broken = Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x7d])
    expect(
      await raw({ method: 'PUT', path: send, headers: headers('{}'), body: broken }),
    ).toMatchObject({
      status: 400,
      body: { errcode: 'M_NOT_JSON' },
    })
    expect(
      await raw({
        method: 'PUT',
        path: send,
        headers: headers('{"pdus":[]}'),
        body: '{"pdus":[1]}',
      }),
    ).toMatchObject({ status: 401 })
  })

  it('names the field that is wrong', async () => {
    const body = '{"pdus":5}'
    const answer = await raw({ method: 'PUT', path: send, headers: headers(body), body })
    expect(answer).toMatchObject({ status: 400, body: { errcode: 'M_BAD_JSON' } })
    expect(stringAt(answer.body, 'error')).toContain('pdus')
  })
})

describe('asking other servers', () => {
  it('does not connect to private addresses unless they are allowed', async () => {
    const [database] = databases
    if (!database) throw new Error('no database')
    await using strict = await createSide(database.db, authority, 3, { allowedNetworks: [] })
    await expect(
      strict.outbound.client.call(us.serverName, { method: 'GET', path: '/_matrix/x' }),
    ).rejects.toMatchObject({ errcode: 'M_CONNECTION_FAILED', status: 502 })
  })

  it('leaves a server alone for a while after it did not answer', async () => {
    const [, database] = databases
    if (!database) throw new Error('no database')
    const gone = await createSide(database.db, authority, 4)
    await gone[Symbol.asyncDispose]()
    const call = () =>
      them.outbound.client.call(gone.serverName, { method: 'GET', path: '/_matrix/x' })
    await expect(call()).rejects.toMatchObject({ message: expect.stringContaining('ECONNREFUSED') })
    await expect(call()).rejects.toMatchObject({ message: expect.stringContaining('lately') })
  })
})
