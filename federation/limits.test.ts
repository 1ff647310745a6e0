import https from 'node:https'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createAuthority } from '../conformance-tests/harness/certificates.ts'
import { type TestDatabase, testDatabase } from '../homeserver/database/test-database.ts'
import { parseEventId, parseRoomId } from '../spec/ids.ts'
import type { JsonObject } from '../spec/json.ts'
import { rulesOf } from '../spec/room/version.ts'
import { authorization } from './request.ts'
import { createSide, fakeEvents, type Side, testLimits } from './test-sides.ts'
import { badEventsLimits } from './transaction.ts'
import { perName } from './wrong-signatures.ts'

const authority = createAuthority()
const room = parseRoomId('!room:us.example')
const directory = '/_matrix/federation/v1/publicRooms'
let databases: TestDatabase[]
let them: Side

beforeAll(async () => {
  databases = [await testDatabase(), await testDatabase()]
  const [, second] = databases
  if (!second) throw new Error('no database')
  them = await createSide(second.db, authority, 2)
})

afterAll(async () => {
  await them[Symbol.asyncDispose]()
  for (const one of databases) await one[Symbol.asyncDispose]()
})

function side(parts: Parameters<typeof createSide>[3]): Promise<Side> {
  const [first] = databases
  if (!first) throw new Error('no database')
  return createSide(first.db, authority, 1, parts)
}

interface Raw {
  readonly method?: string
  readonly path: string
  readonly body?: string
  readonly headers?: Readonly<Record<string, string>>
  /** The body in whose name the request is signed, when that is another. */
  readonly signed?: string
  /** Announces a body and never sends it. */
  readonly holdsBack?: boolean
}

/** A request in the other side's name, as it is. */
function raw(us: Side, asked: Raw) {
  const { method = 'GET', path, body, headers, signed = body, holdsBack } = asked
  return new Promise<{ status: number; body: JsonObject }>((resolve, reject) => {
    const [host, port] = us.serverName.split(':')
    const auth = authorization(them, us.serverName, { method, path }, signed)
    const req = https.request(
      {
        ...{ host, port, method, path, rejectUnauthorized: false },
        headers: { authorization: auth, ...headers },
      },
      async (res) => {
        let text = ''
        for await (const chunk of res) text += chunk
        resolve({ status: res.statusCode ?? 0, body: JSON.parse(text) })
      },
    )
    req.on('error', reject)
    if (holdsBack) req.flushHeaders()
    else req.end(body)
  })
}

describe('requests of one server', () => {
  it('wait for each other beyond what is served at a time, and are told to come later', async () => {
    let open = () => {}
    const opened = new Promise<void>((resolve) => {
      open = resolve
    })
    let served = 0
    await using us = await side({
      limits: { ...testLimits, perServerMax: 2, waitMs: 300 },
      rooms: {
        resolveAlias: async () => ({ room, servers: [] }),
        async publicRooms() {
          served++
          await opened
          return { chunk: [] }
        },
      },
    })
    const first = [raw(us, { path: directory }), raw(us, { path: directory })]
    await expect.poll(() => served).toBe(2)
    expect(await raw(us, { path: directory })).toMatchObject({
      status: 429,
      body: { errcode: 'M_LIMIT_EXCEEDED', retry_after_ms: 1_000 },
    })
    const waits = raw(us, { path: directory })
    setTimeout(open, 50)
    expect((await Promise.all([...first, waits])).map(({ status }) => status)).toEqual([
      200, 200, 200,
    ])
  })
})

describe('requests of nobody in particular', () => {
  it('share the places of one server, but for keys and version', async () => {
    let end = () => {}
    const ended = new Promise<void>((resolve) => {
      end = resolve
    })
    let served = 0
    await using us = await side({
      limits: { ...testLimits, perServerMax: 1, waitMs: 100 },
      thirdParty: {
        exchangeInvite: async () => {},
        async boundInvites() {
          served++
          await ended
        },
      },
    })
    const mxid = `@alice:${us.serverName}`
    const body = JSON.stringify({ medium: 'email', address: 'a@b.example', mxid, invites: [] })
    const bind = () => raw(us, { method: 'PUT', path: '/_matrix/federation/v1/3pid/onbind', body })
    const first = bind()
    await expect.poll(() => served).toBe(1)
    expect((await bind()).status).toBe(429)
    expect((await raw(us, { path: '/_matrix/key/v2/server' })).status).toBe(200)
    expect((await raw(us, { path: '/_matrix/federation/v1/version' })).status).toBe(200)
    end()
    expect((await first).status).toBe(200)
  })
})

describe('a server whose events are no use', () => {
  it('is put off when it has spent what it is allowed, before its next body is read', async () => {
    await using us = await side({
      events: fakeEvents({
        rulesOf: async () => rulesOf('11'),
        receive: async (_, __, pdus) =>
          new Map(
            pdus.map((_, at) => [parseEventId(`$${at}`), { kind: 'dropped', reason: 'unsigned' }]),
          ),
      }),
    })
    const pdus = Array.from({ length: 50 }, () => ({ room_id: room }))
    const body = JSON.stringify({ pdus })
    const send = (txn: number) =>
      raw(us, { method: 'PUT', path: `/_matrix/federation/v1/send/${txn}`, body })
    const statuses: number[] = []
    // What time refills meanwhile is a few transactions at most.
    while (statuses.at(-1) !== 429 && statuses.length < (2 * badEventsLimits.burst) / 50) {
      const { status, body } = await send(statuses.length)
      statuses.push(status)
      if (status === 429) expect(body['retry_after_ms']).toEqual(expect.any(Number))
    }
    expect(statuses.length).toBeGreaterThan(badEventsLimits.burst / 50)
    expect(statuses.at(-1)).toBe(429)
    // Its questions are answered all the same.
    expect((await raw(us, { path: '/_matrix/federation/v1/version' })).status).toBe(200)
  })
})

describe('wrong signatures', () => {
  const send = '/_matrix/federation/v1/send/x'

  it('are looked at so many times from one address, and not from others’ because of it', async () => {
    await using us = await side({})
    const attempt = (address: string) =>
      raw(us, {
        ...{ method: 'PUT', path: send, body: '{"pdus":[]}', signed: '{}' },
        headers: { 'x-forwarded-for': address },
      })
    for (let n = 0; n < perName.burst; n++) expect((await attempt('192.0.2.1')).status).toBe(401)
    expect((await attempt('192.0.2.1')).status).toBe(429)
    expect((await attempt('192.0.2.2')).status).toBe(401)
    const good = await raw(us, { method: 'PUT', path: send, body: '{"pdus":[]}' })
    expect(good.status).toBe(200)
  })

  it('with a key that nobody has are refused before the body is read', async () => {
    await using us = await side({})
    const header = authorization(them, us.serverName, { method: 'PUT', path: send }, '{}')
    const answer = await raw(us, {
      ...{ method: 'PUT', path: send, holdsBack: true },
      headers: {
        'content-length': '900000',
        authorization: header.replace('ed25519:2', 'ed25519:none'),
      },
    })
    expect(answer).toMatchObject({ status: 401, body: { errcode: 'M_UNAUTHORIZED' } })
  })
})

describe('servers that the operator shuts out', () => {
  it('are refused, and never asked', async () => {
    await using us = await side({ peering: { allow: [], deny: ['127.0.0.1'] } })
    expect(await raw(us, { path: directory })).toMatchObject({
      status: 403,
      body: { errcode: 'M_FORBIDDEN' },
    })
    await expect(
      us.outbound.client.call(them.serverName, { method: 'GET', path: '/_matrix/x' }),
    ).rejects.toMatchObject({
      errcode: 'M_CONNECTION_FAILED',
      message: expect.stringContaining('to talk with'),
    })
  })
})

describe('a body', () => {
  const send = '/_matrix/federation/v1/send/size'
  const ofSize = (bytes: number) => `{"a":"${'x'.repeat(bytes - 8)}"}`

  it.each([
    ['of just the limit', testLimits.bodyBytesMax, 200],
    ['of a byte more', testLimits.bodyBytesMax + 1, 413],
  ])('%s is answered with its due', async (_, bytes, status) => {
    await using us = await side({})
    const answer = await raw(us, { method: 'PUT', path: send, body: ofSize(bytes) })
    expect(answer.status).toBe(status)
  })

  it.each([
    [testLimits.jsonDepthMax, 200],
    [testLimits.jsonDepthMax + 1, 400],
  ])('nested %i deep is answered with %i', async (depth, status) => {
    await using us = await side({})
    const body = `{"a":${'['.repeat(depth - 1)}${']'.repeat(depth - 1)}}`
    expect((await raw(us, { method: 'PUT', path: send, body })).status).toBe(status)
  })

  it.each([
    ['pdus', 50, 200],
    ['pdus', 51, 400],
    ['edus', 100, 200],
    ['edus', 101, 400],
  ])('with %s × %i is answered with %i', async (name, count, status) => {
    await using us = await side({})
    const body = JSON.stringify({ [name]: Array.from({ length: count }, () => ({})) })
    expect((await raw(us, { method: 'PUT', path: send, body })).status).toBe(status)
  })
})
