import { createServer as createHttpServer } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import Router from '@koa/router'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { FakeClock } from '../homeserver/platform/fake-clock.ts'
import { silentLogger } from '../homeserver/platform/log.ts'
import { proxiesOf } from '../homeserver/platform/trusted-proxies.ts'
import type { Requester } from '../homeserver/rooms/rooms.ts'
import { jsonObject, queryInteger, queryList } from '../spec/api/fields.ts'
import { endpoint } from '../spec/endpoint.ts'
import { MatrixError } from '../spec/errors.ts'
import { parseDeviceId, parseUserId, roomIdSchema, serverNameSchema } from '../spec/ids.ts'
import { raw } from './answer.ts'
import { createAuthenticate } from './authenticate.ts'
import { createDispatch } from './dispatch.ts'
import { createRateLimiter } from './rate-limit.ts'
import { openRoute, route } from './router.ts'
import { createServer } from './server.ts'

const alice: Requester = {
  user: parseUserId('@alice:example.org'),
  device: parseDeviceId('PHONE'),
  guest: false,
  admin: false,
}
const guest: Requester = { user: parseUserId('@17:example.org'), guest: true, admin: false }
const bridged = parseUserId('@_bridge_bob:example.org')

const base = { rateLimit: 'none', reply: z.unknown() } as const
const echo = endpoint({
  ...base,
  name: 'echo',
  method: 'PUT',
  auth: 'token',
  paths: ['/_matrix/client/v3/rooms/{roomId}/echo/{name}'],
  params: { roomId: roomIdSchema, name: z.string() },
  query: {
    limit: queryInteger({ min: 1, max: 9 }).exactOptional(),
    via: queryList(serverNameSchema, 3).exactOptional(),
  },
  body: jsonObject,
})
const typed = endpoint({
  ...base,
  name: 'typed',
  method: 'POST',
  auth: 'none',
  paths: [
    '/_matrix/client/v3/typed',
    '/_matrix/client/v3/typed/{part}/',
    '/_matrix/client/v3/typed/{part}',
  ],
  params: { part: z.string().default('') },
  body: z.object({
    count: z.number().int(),
    deep: z.object({ flag: z.boolean() }).exactOptional(),
  }),
})
const broken = endpoint({
  ...base,
  name: 'broken',
  method: 'GET',
  auth: 'none',
  paths: ['/_matrix/client/v3/broken'],
})
const pieces = endpoint({
  ...base,
  name: 'pieces',
  method: 'GET',
  auth: 'guest',
  paths: ['/_matrix/client/v3/pieces'],
})
const limited = endpoint({
  ...base,
  rateLimit: 'login',
  name: 'limited',
  method: 'GET',
  auth: 'none',
  paths: ['/_matrix/client/v3/limited'],
})
const empty = endpoint({
  ...base,
  name: 'empty',
  method: 'POST',
  auth: 'optional',
  paths: ['/_matrix/client/v3/empty'],
  body: jsonObject,
})

async function* inPieces() {
  yield '{"a":'
  yield '1}'
}

const routes = [
  route(echo, ({ params, query, body }, who) => ({ ...params, query, body, who })),
  openRoute(typed, ({ params, body }) => ({ ...params, body })),
  openRoute(broken, () => {
    throw new Error('secret cause')
  }),
  route(pieces, () => raw(inPieces())),
  openRoute(limited, () => ({})),
  openRoute(empty, ({ body, from }, who) => ({ body, ip: from.ip, user: who?.user ?? null })),
]

const clock = new FakeClock()
const listener = createServer({
  log: silentLogger,
  pages: async () => new Router(),
  dispatch: createDispatch({
    routes,
    clock,
    log: silentLogger,
    requestIdPrefix: 'test-',
    bodyLimits: { sizeBytes: 1000, jsonDepth: 5 },
    takeBudget: createRateLimiter({ clock }),
    isTrustedProxy: proxiesOf(['127.0.0.0/8']),
    authenticate: createAuthenticate({
      tokenInQuery: true,
      appservices: {
        byToken: (token) =>
          token === 'service'
            ? {
                id: 'bridge',
                sender: parseUserId('@bridge:example.org'),
                rateLimited: true,
                covers: (user) => user === bridged,
              }
            : undefined,
      },
      sessions: {
        authenticate: async (token) => {
          if (token === 'expired') {
            throw new MatrixError('M_UNKNOWN_TOKEN', 'expired', { fields: { soft_logout: true } })
          }
          return token === 'alice' ? alice : token === 'guest' ? guest : undefined
        },
      },
    }),
  }),
})
const server = createHttpServer(listener)
let url = ''

beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  url = `http://127.0.0.1:${portOf(server.address())}`
})
afterAll(() => void server.close())

function portOf(address: string | AddressInfo | null): number {
  return typeof address === 'object' && address !== null ? address.port : 0
}

async function ask(
  method: string,
  path: string,
  options: { body?: string | Uint8Array<ArrayBuffer>; headers?: Record<string, string> } = {},
) {
  const answer = await fetch(`${url}${path}`, { method, ...options })
  const text = await answer.text()
  return {
    status: answer.status,
    headers: answer.headers,
    json: text === '' ? undefined : JSON.parse(text),
  }
}

const asAlice = { headers: { authorization: 'Bearer alice' } }
const echoPath = '/_matrix/client/v3/rooms/!room:example.org/echo/a'

describe('routing', () => {
  it('decodes parameters and finds older paths', async () => {
    const { json } = await ask(
      'PUT',
      '/_matrix/client/r0/rooms/%21room%3Aexample.org/echo/a%2Fb%20c',
      { ...asAlice, body: '{}' },
    )
    expect(json).toMatchObject({ roomId: '!room:example.org', name: 'a/b c' })
  })
  it('serves a path that ends in a slash as declared', async () => {
    const body = '{"count":1}'
    expect((await ask('POST', '/_matrix/client/v3/typed/x/', { body })).json).toMatchObject({
      part: 'x',
    })
    expect((await ask('POST', '/_matrix/client/v3/typed/x', { body })).json).toMatchObject({
      part: 'x',
    })
    expect((await ask('POST', '/_matrix/client/v3/typed', { body })).json).toMatchObject({
      part: '',
    })
  })
  it('answers M_UNRECOGNIZED with 404 for what it does not serve and 405 for another method', async () => {
    for (const path of [
      '/_matrix/client/v3/nothing',
      '/',
      '/_matrix/client/v3/rooms//echo/a',
      `/${'x/'.repeat(50)}`,
    ]) {
      expect(await ask('GET', path)).toMatchObject({
        status: 404,
        json: { errcode: 'M_UNRECOGNIZED' },
      })
    }
    expect(await ask('DELETE', '/_matrix/client/v3/typed')).toMatchObject({
      status: 405,
      json: { errcode: 'M_UNRECOGNIZED' },
    })
  })
  it('refuses NUL, which no database holds', async () => {
    for (const path of ['/_matrix/client/v3/typed/a%00b', '/_matrix/client/v3/typed/x?flag=%00']) {
      expect(await ask('POST', path, { body: '{"count":1}' })).toMatchObject({
        status: 400,
        json: { errcode: 'M_INVALID_PARAM' },
      })
    }
  })
  it('refuses malformed percent-encoding', async () => {
    expect(
      await ask('PUT', '/_matrix/client/v3/rooms/%E0%A4%A/echo/a', { ...asAlice, body: '{}' }),
    ).toMatchObject({
      status: 400,
      json: { errcode: 'M_INVALID_PARAM' },
    })
    expect((await ask('PUT', `${echoPath}?limit=%zz`, { ...asAlice, body: '{}' })).status).toBe(400)
  })
})

describe('browsers', () => {
  it('may read every answer', async () => {
    for (const path of [
      '/_matrix/client/v3/pieces',
      '/nothing',
      '/_matrix/client/v3/broken',
      '/_matrix/client/v3/limited',
    ]) {
      const { headers } = await ask('GET', path)
      expect(headers.get('access-control-allow-origin')).toBe('*')
      expect(headers.get('access-control-allow-headers')).toContain('Authorization')
    }
  })
  it('get an answer to OPTIONS without any logic being run', async () => {
    const { status, headers } = await ask('OPTIONS', '/_matrix/client/v3/broken')
    expect(status).toBe(204)
    expect(headers.get('access-control-allow-methods')).toContain('PUT')
  })
})

describe('tokens', () => {
  it('are taken from the header or the query', async () => {
    expect((await ask('PUT', echoPath, { ...asAlice, body: '{}' })).json.who).toEqual(alice)
    expect((await ask('PUT', `${echoPath}?access_token=alice`, { body: '{}' })).json.who).toEqual(
      alice,
    )
  })
  it('that are missing, unknown or expired answer 401', async () => {
    const body = '{}'
    expect(await ask('PUT', echoPath, { body })).toMatchObject({
      status: 401,
      json: { errcode: 'M_MISSING_TOKEN' },
    })
    expect(
      await ask('PUT', echoPath, { body, headers: { authorization: 'Bearer nobody' } }),
    ).toMatchObject({ status: 401, json: { errcode: 'M_UNKNOWN_TOKEN' } })
    expect(
      await ask('PUT', echoPath, { body, headers: { authorization: 'Bearer expired' } }),
    ).toMatchObject({ status: 401, json: { errcode: 'M_UNKNOWN_TOKEN', soft_logout: true } })
  })
  it('that are stale do no harm where none is needed', async () => {
    for (const token of ['nobody', 'expired']) {
      const headers = { authorization: `Bearer ${token}` }
      expect(await ask('POST', '/_matrix/client/v3/empty', { headers })).toMatchObject({
        status: 200,
        json: { user: null },
      })
    }
    const headers = { authorization: 'Bearer alice' }
    expect((await ask('POST', '/_matrix/client/v3/empty', { headers })).json.user).toBe(alice.user)
  })
  it('of guests are refused where guests may not', async () => {
    const headers = { authorization: 'Bearer guest' }
    expect(await ask('PUT', echoPath, { body: '{}', headers })).toMatchObject({
      status: 403,
      json: { errcode: 'M_GUEST_ACCESS_FORBIDDEN' },
    })
    expect((await ask('GET', '/_matrix/client/v3/pieces', { headers })).json).toEqual({ a: 1 })
  })
  it('of application services speak for the users in their namespaces only', async () => {
    const as = (user: string) =>
      ask('PUT', `${echoPath}?user_id=${encodeURIComponent(user)}&device_id=D`, {
        body: '{}',
        headers: { authorization: 'Bearer service' },
      })
    expect((await as(bridged)).json.who).toMatchObject({
      user: bridged,
      device: 'D',
      appservice: 'bridge',
    })
    expect(await as('@alice:example.org')).toMatchObject({
      status: 403,
      json: { errcode: 'M_FORBIDDEN' },
    })
  })
})

describe('bodies', () => {
  const put = (body: string | Uint8Array<ArrayBuffer>, headers: Record<string, string> = {}) =>
    ask('PUT', echoPath, { body, headers: { authorization: 'Bearer alice', ...headers } })

  it('are JSON whatever their Content-Type says', async () => {
    expect((await put('{"a":"ü"}', { 'content-type': 'text/plain' })).json.body).toEqual({ a: 'ü' })
  })
  it('that are not JSON answer M_NOT_JSON', async () => {
    const bytes = new Uint8Array([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])
    for (const body of ['{', 'nope', '{"a":NaN}', bytes, '']) {
      expect(await put(body)).toMatchObject({ status: 400, json: { errcode: 'M_NOT_JSON' } })
    }
  })
  it('of the wrong type answer M_BAD_JSON and name the field', async () => {
    const post = (body: string) => ask('POST', '/_matrix/client/v3/typed', { body })
    expect(await put('[]')).toMatchObject({
      status: 400,
      json: { errcode: 'M_BAD_JSON', error: expect.stringContaining('body') },
    })
    expect(await post('{"count":"1"}')).toMatchObject({
      status: 400,
      json: { errcode: 'M_BAD_JSON', error: expect.stringContaining('count') },
    })
    expect(await post('{"count":1,"deep":{"flag":1}}')).toMatchObject({
      json: { errcode: 'M_BAD_JSON', error: expect.stringContaining('deep.flag') },
    })
    expect(await post('{}')).toMatchObject({
      status: 400,
      json: { errcode: 'M_MISSING_PARAM', error: expect.stringContaining('count') },
    })
  })
  it('may be left out where they say nothing', async () => {
    expect((await ask('POST', '/_matrix/client/v3/empty')).json.body).toEqual({})
  })
  it('nested too deeply are refused', async () => {
    expect(await put(`${'{"a":'.repeat(6)}1${'}'.repeat(6)}`)).toMatchObject({
      status: 400,
      json: { errcode: 'M_BAD_JSON' },
    })
    expect((await put(`${'{"a":'.repeat(5)}1${'}'.repeat(5)}`)).status).toBe(200)
  })
  it('over the limit answer 413 and end the connection', async () => {
    const large = await put(JSON.stringify({ a: 'x'.repeat(1000) }))
    expect(large).toMatchObject({ status: 413, json: { errcode: 'M_TOO_LARGE' } })
    expect(large.headers.get('connection')).toBe('close')
  })
  it('over the limit without an announced length are refused while they come', async () => {
    const head = `PUT ${echoPath} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer alice\r\nTransfer-Encoding: chunked\r\n\r\n`
    const chunk = `200\r\n${'x'.repeat(0x200)}\r\n`
    expect(await rawExchange(head + chunk.repeat(3))).toMatch(/^HTTP\/1\.1 413 /)
  })
})

/** Sends bytes and answers what came back until the server closed. */
function rawExchange(text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(portOf(server.address()), '127.0.0.1', () => socket.write(text))
    let received = ''
    socket.on('data', (chunk) => {
      received += chunk.toString()
    })
    socket.on('close', () => resolve(received))
    socket.on('error', reject)
  })
}

describe('queries', () => {
  it('are checked, and name the parameter', async () => {
    const put = (query: string) => ask('PUT', `${echoPath}?${query}`, { ...asAlice, body: '{}' })
    expect((await put('limit=3&via=a.org&via=b.org')).json.query).toEqual({
      limit: 3,
      via: ['a.org', 'b.org'],
    })
    expect((await put('via=a.org')).json.query).toEqual({ via: ['a.org'] })
    for (const wrong of ['limit=x', 'limit=0', 'limit=1e1', 'limit=99', 'limit=1&limit=2']) {
      expect(await put(wrong)).toMatchObject({
        status: 400,
        json: { errcode: 'M_INVALID_PARAM', error: expect.stringContaining('limit') },
      })
    }
  })
})

describe('failures', () => {
  it('say nothing about their cause', async () => {
    const { status, json, headers } = await ask('GET', '/_matrix/client/v3/broken')
    expect(status).toBe(500)
    expect(json).toEqual({ errcode: 'M_UNKNOWN', error: 'Internal server error' })
    expect(headers.get('x-request-id')).toMatch(/^test-/)
  })
  it('of too many requests say how long to wait', async () => {
    let last = await ask('GET', '/_matrix/client/v3/limited')
    for (let i = 0; i < 30 && last.status === 200; i++)
      last = await ask('GET', '/_matrix/client/v3/limited')
    expect(last).toMatchObject({
      status: 429,
      json: { errcode: 'M_LIMIT_EXCEEDED', retry_after_ms: 5000 },
    })
    expect(last.headers.get('retry-after')).toBe('5')
    await clock.advance(5000)
    expect((await ask('GET', '/_matrix/client/v3/limited')).status).toBe(200)
  })
  it('believe a proxy about the address of its client', async () => {
    const headers = { 'x-forwarded-for': '6.6.6.6, 203.0.113.7' }
    expect((await ask('POST', '/_matrix/client/v3/empty', { headers })).json.ip).toBe('203.0.113.7')
  })
})
