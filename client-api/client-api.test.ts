import { createServer as createHttpServer } from 'node:http'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createLoginTokens } from '../homeserver/accounts/login-tokens.ts'
import { createOpenid } from '../homeserver/accounts/openid.ts'
import {
  testServer as serverName,
  type TestAccounts,
  testAccounts,
} from '../homeserver/accounts/test-accounts.ts'
import { createAdministration } from '../homeserver/destinations/administration.ts'
import { createDeviceLists } from '../homeserver/encryption/device-lists.ts'
import { createEncryption } from '../homeserver/encryption/encryption.ts'
import { createKeyBackup } from '../homeserver/encryption/key-backup.ts'
import { createToDevice } from '../homeserver/encryption/to-device.ts'
import { createPushRules } from '../homeserver/notifications/push-rules.ts'
import { createPushers } from '../homeserver/notifications/pushers.ts'
import { quietPushing } from '../homeserver/notifications/test-pushing.ts'
import { silentLogger } from '../homeserver/platform/log.ts'
import { systemRandom } from '../homeserver/platform/random.ts'
import { createPresence } from '../homeserver/presence/presence.ts'
import { createReceipts } from '../homeserver/receipts/receipts.ts'
import { createTyping } from '../homeserver/receipts/typing.ts'
import { testMemberships } from '../homeserver/rooms/test-memberships.ts'
import { clientEndpoints } from '../spec/api/index.ts'
import { fillPath } from '../spec/endpoint.ts'
import { notFound } from '../spec/errors.ts'
import type { Json, JsonObject } from '../spec/json.ts'
import { createClientApi } from './client-api.ts'
import {
  noAddresses,
  noDelays,
  noMedia,
  noNetworks,
  noNotices,
  noneOfThese,
  noPreviews,
  noPurges,
  noReports,
  noRooms,
  noSpaces,
  noThreads,
} from './test-rooms.ts'

/** Without rooms nobody finds anybody. */
const nobody = async () => ({ limited: false, people: [] })

/** The whole border over the slices of users; there are no rooms. */
async function start() {
  const slices = await testAccounts()
  const { db } = slices.database
  const memberships = testMemberships(serverName)
  // One process: rows of others, for which there are loaders, do not come.
  const tail = {
    subscribe: slices.log.tail.subscribe,
    loader: () => {},
    get position() {
      return slices.log.tail.position
    },
  }
  const bus = { publish: () => {}, subscribe: () => ({ [Symbol.dispose]: () => {} }) }
  const remote = {
    queryKeys: async () => ({}),
    claimKeys: async () => ({}),
    userDevices: async () => ({}),
    publicRooms: async () => ({ chunk: [] }),
  }
  const common = {
    ...slices,
    db,
    log: slices.log.writer,
    tail,
    random: systemRandom,
    memberships,
    serverName,
    bus,
    remote,
  }
  const deviceNames = slices.sessions.deviceNames
  const deviceLists = createDeviceLists(common)
  const presence = createPresence({ ...common, enabled: true, self: 'test' })
  const typing = createTyping(common)
  const api = createClientApi({
    ...slices,
    log: silentLogger,
    random: systemRandom,
    encryption: createEncryption({
      ...{ ...common, deviceLists, deviceNames },
      logger: silentLogger,
    }),
    toDevice: createToDevice({ ...common, deviceNames }),
    keyBackup: createKeyBackup(common),
    receipts: createReceipts({ ...common, events: { get: async () => new Map() } }),
    typing,
    presence,
    notifications: {
      rules: createPushRules(common),
      pushers: createPushers({ ...common, ...quietPushing }),
      notified: async () => ({ notifications: [] }),
    },
    rooms: noRooms,
    purges: noPurges,
    deletions: { begin: async () => '' },
    reports: noReports,
    spaces: noSpaces,
    search: { messages: () => Promise.reject(notFound('room')), people: nobody },
    threadSubscriptions: noThreads,
    media: noMedia,
    ...noneOfThese,
    addresses: noAddresses,
    delays: noDelays,
    notices: noNotices,
    telling: { ping: async () => 0 },
    networks: noNetworks,
    previews: noPreviews,
    openid: createOpenid({ ...common, random: systemRandom }),
    loginTokens: createLoginTokens({ ...common, random: systemRandom }),
    memberships,
    remote,
    destinations: createAdministration({
      db,
      backoff: { succeeded: () => {}, flush: async () => {} },
    }),
    sync: {
      slidingSync: async () => '{}',
      sync: async () => {
        throw notFound('sync')
      },
    },
    version: '1.2.3',
    config: {
      serverName,
      publicBaseUrl: '',
      registration: 'open',
      registrationSharedSecret: 'secret',
      guests: true,
      presence: true,
      rendezvous: 'open',
      rateLimits: true,
      defaultRoomVersion: '12',
      bodySizeBytes: 1_048_576,
      jsonDepth: 100,
      syncTimeoutMs: 120_000,
      trustedProxies: [],
      federationAddress: 'here.test:443',
      adminContact: 'root@here.test',
      policyServerKey: '6yhHGKhCiXTSEN2ksjV7kX_N6rBQZ3Xb-M7LlC6NS-s',
    },
  })
  const server = createHttpServer(api.callback())
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const url = `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`
  return {
    slices,
    url,
    stop: async () => {
      server.closeAllConnections()
      server.close()
      typing[Symbol.dispose]()
      await presence[Symbol.asyncDispose]()
      await slices[Symbol.asyncDispose]()
    },
  }
}

let running: { slices: TestAccounts; url: string; stop: () => Promise<void> }
beforeAll(async () => {
  running = await start()
})
afterAll(async () => await running.stop())

async function ask(method: string, path: string, token?: string, body?: Json) {
  const answer = await fetch(running.url + path, {
    method,
    ...(token !== undefined && { headers: { authorization: `Bearer ${token}` } }),
    ...(body !== undefined && { body: JSON.stringify(body) }),
  })
  const json: JsonObject = JSON.parse((await answer.text()) || '{}')
  return { status: answer.status, json }
}

const v3 = '/_matrix/client/v3'
let accounts = 0

/** A new user: asks with their token. */
async function person() {
  const name = `person${accounts++}`
  const user = await running.slices.accounts.register({ localpart: name, password: 'pw' })
  const { accessToken, deviceId } = await running.slices.sessions.login({ user })
  return {
    user,
    deviceId,
    ask: (method: string, path: string, body?: Json) =>
      ask(method, `${v3}${path}`, accessToken, body),
  }
}

/** Well-formed things that are not there. */
const samples: Record<string, string> = {
  roomId: '!nowhere:here.test',
  roomIdOrAlias: '!nowhere:here.test',
  roomAlias: '#nowhere:here.test',
  userId: '@nobody:here.test',
  eventId: '$nothing',
  receiptType: 'm.read',
  kind: 'override',
  ruleId: '.m.rule.master',
}

describe('every declared endpoint', () => {
  it('is served, wants its token and never fails for lack of anything', async () => {
    const { ask: asPerson } = await person()
    for (const endpoint of clientEndpoints) {
      const params = Object.fromEntries(
        [...endpoint.paths.join('').matchAll(/\{(\w+)\}/g)].map(([, name = '']) => [
          name,
          samples[name] ?? 'sample',
        ]),
      )
      for (const path of endpoint.paths.map((one) => fillPath(one, params))) {
        const body = endpoint.readsBody ? {} : undefined
        const open = await ask(endpoint.method, path, undefined, body)
        expect(open.json['errcode'], `${endpoint.method} ${path}`).not.toBe('M_UNRECOGNIZED')
        if (!['none', 'optional'].includes(endpoint.auth)) expect(open.status, path).toBe(401)
        if (endpoint.name.startsWith('logout') || !path.startsWith(v3)) continue
        const known = await asPerson(endpoint.method, path.slice(v3.length), body)
        expect(known.status, `${endpoint.method} ${path}`).toBeLessThan(500)
        if (known.status >= 400 && known.json['session'] === undefined) {
          expect(known.json, path).toMatchObject({
            errcode: expect.stringMatching(/^M_/),
            error: expect.any(String),
          })
        }
      }
    }
  })
})

describe('what the server says of itself', () => {
  it('is for anybody', async () => {
    const { json } = await ask('GET', '/_matrix/client/versions')
    expect(json['versions']).toEqual(expect.arrayContaining(['r0.6.1', 'v1.1', 'v1.12']))
    expect(await ask('GET', '/.well-known/matrix/client')).toMatchObject({
      json: { 'm.homeserver': { base_url: running.url } },
    })
    expect(await ask('GET', '/.well-known/matrix/server')).toMatchObject({
      json: { 'm.server': 'here.test:443' },
    })
    expect(await ask('GET', '/.well-known/matrix/policy_server')).toMatchObject({
      json: { public_keys: { ed25519: '6yhHGKhCiXTSEN2ksjV7kX_N6rBQZ3Xb-M7LlC6NS-s' } },
    })
    expect(await ask('GET', '/.well-known/matrix/support')).toMatchObject({
      json: { contacts: [{ email_address: 'root@here.test' }] },
    })
    expect(await ask('GET', '/_synapse/admin/v1/server_version')).toMatchObject({
      json: { server_version: 'Folkmoot 1.2.3' },
    })
  })
  it('names the room versions that can be made', async () => {
    const alice = await person()
    const { json } = await alice.ask('GET', '/capabilities')
    expect(json).toMatchObject({
      capabilities: {
        'm.room_versions': {
          default: '12',
          available: { 10: 'stable', 11: 'stable', 12: 'stable' },
        },
      },
    })
  })
})

describe('what users keep here', () => {
  it('is a profile that others can read', async () => {
    const alice = await person()
    expect(
      (await alice.ask('PUT', `/profile/${alice.user}/displayname`, { displayname: 'Alice' }))
        .status,
    ).toBe(200)
    expect((await ask('GET', `${v3}/profile/${alice.user}`)).json).toEqual({ displayname: 'Alice' })
    expect((await ask('GET', `${v3}/profile/${alice.user}/displayname`)).json).toEqual({
      displayname: 'Alice',
    })
    const bob = await person()
    expect(
      await bob.ask('PUT', `/profile/${alice.user}/displayname`, { displayname: 'Bob' }),
    ).toMatchObject({ status: 403, json: { errcode: 'M_FORBIDDEN' } })
    expect(await alice.ask('PUT', `/profile/${alice.user}/displayname`, {})).toMatchObject({
      status: 400,
      json: { errcode: 'M_MISSING_PARAM' },
    })
    expect((await alice.ask('DELETE', `/profile/${alice.user}/displayname`)).status).toBe(200)
    expect((await ask('GET', `${v3}/profile/${alice.user}/displayname`)).status).toBe(404)
    expect(
      await bob.ask('POST', '/user_directory/search', { search_term: alice.user }),
    ).toMatchObject({ json: { limited: false, results: [] } })
  })
  it('is account data, tags and filters of their own', async () => {
    const alice = await person()
    const bob = await person()
    const mine = `/user/${alice.user}`
    expect((await alice.ask('PUT', `${mine}/account_data/a.b`, { c: [1] })).status).toBe(200)
    expect((await alice.ask('GET', `${mine}/account_data/a.b`)).json).toEqual({ c: [1] })
    expect((await alice.ask('GET', `${mine}/account_data/m.push_rules`)).json).toMatchObject({
      global: { override: expect.any(Array) },
    })
    expect((await bob.ask('GET', `${mine}/account_data/a.b`)).status).toBe(403)
    const tags = `${mine}/rooms/!r:here.test/tags`
    expect((await alice.ask('PUT', `${tags}/u.x`, { order: 0.5 })).status).toBe(200)
    expect((await alice.ask('GET', tags)).json).toEqual({ tags: { 'u.x': { order: 0.5 } } })
    expect((await alice.ask('DELETE', `${tags}/u.x`)).status).toBe(200)
    expect((await alice.ask('GET', tags)).json).toEqual({ tags: {} })
    const filter = { room: { timeline: { limit: 5 } } }
    const made = await alice.ask('POST', `${mine}/filter`, filter)
    expect((await alice.ask('GET', `${mine}/filter/${made.json['filter_id']}`)).json).toEqual(
      filter,
    )
    expect((await alice.ask('POST', `${mine}/filter`, { room: 1 })).status).toBe(400)
  })
  it('is push rules and pushers', async () => {
    const alice = await person()
    const rule = '/pushrules/global/content/mine'
    expect((await alice.ask('PUT', rule, { actions: ['notify'], pattern: 'tea' })).status).toBe(200)
    expect((await alice.ask('GET', rule)).json).toMatchObject({
      rule_id: 'mine',
      enabled: true,
      pattern: 'tea',
    })
    expect((await alice.ask('PUT', `${rule}/enabled`, { enabled: false })).status).toBe(200)
    expect((await alice.ask('GET', `${rule}/enabled`)).json).toEqual({ enabled: false })
    expect((await alice.ask('PUT', `${rule}/actions`, { actions: [] })).status).toBe(200)
    expect((await alice.ask('GET', `${rule}/actions`)).json).toEqual({ actions: [] })
    expect((await alice.ask('GET', '/pushrules/')).json).toMatchObject({
      global: { content: expect.arrayContaining([expect.objectContaining({ rule_id: 'mine' })]) },
    })
    expect((await alice.ask('DELETE', rule)).status).toBe(200)
    expect((await alice.ask('GET', rule)).status).toBe(404)
    const pusher = {
      app_id: 'a',
      pushkey: 'k',
      kind: 'http',
      app_display_name: 'A',
      device_display_name: 'D',
      lang: 'en',
      data: { url: 'https://push.example.org/_matrix/push/v1/notify' },
    }
    expect((await alice.ask('POST', '/pushers/set', pusher)).status).toBe(200)
    expect((await alice.ask('GET', '/pushers')).json).toMatchObject({ pushers: [pusher] })
    expect(
      await alice.ask('POST', '/pushers/set', { app_id: 'a', pushkey: 'k', kind: 'http' }),
    ).toMatchObject({ status: 400, json: { errcode: 'M_MISSING_PARAM' } })
    expect(
      (await alice.ask('POST', '/pushers/set', { app_id: 'a', pushkey: 'k', kind: null })).status,
    ).toBe(200)
    expect((await alice.ask('GET', '/pushers')).json).toEqual({ pushers: [] })
  })
  it('is whether they are there', async () => {
    const alice = await person()
    const bob = await person()
    expect(
      (
        await alice.ask('PUT', `/presence/${alice.user}/status`, {
          presence: 'unavailable',
          status_msg: 'tea',
        })
      ).status,
    ).toBe(200)
    expect((await alice.ask('GET', `/presence/${alice.user}/status`)).json).toMatchObject({
      status_msg: 'tea',
    })
    expect((await bob.ask('GET', `/presence/${alice.user}/status`)).status).toBe(403)
    expect(
      (await bob.ask('PUT', `/presence/${alice.user}/status`, { presence: 'online' })).status,
    ).toBe(403)
    expect(
      (await alice.ask('PUT', `/presence/${alice.user}/status`, { presence: 'asleep' })).status,
    ).toBe(400)
  })
})

describe('keys', () => {
  it('are uploaded, asked for and claimed', async () => {
    const alice = await person()
    const bob = await person()
    const one_time_keys = { 'signed_curve25519:A': { key: 'k', signatures: {} } }
    expect(await alice.ask('POST', '/keys/upload', { one_time_keys })).toMatchObject({
      status: 200,
      json: { one_time_key_counts: { signed_curve25519: 1 } },
    })
    expect(
      await bob.ask('POST', '/keys/query', { device_keys: { [alice.user]: [] } }),
    ).toMatchObject({ status: 200, json: { device_keys: expect.any(Object) } })
    expect(
      await bob.ask('POST', '/keys/query', { device_keys: { [alice.user]: { a: 1 } } }),
    ).toMatchObject({ status: 400, json: { errcode: 'M_BAD_JSON' } })
    const claim = { one_time_keys: { [alice.user]: { [alice.deviceId]: 'signed_curve25519' } } }
    expect(await bob.ask('POST', '/keys/claim', claim)).toMatchObject({
      json: { one_time_keys: { [alice.user]: { [alice.deviceId]: one_time_keys } } },
    })
    expect(
      (
        await bob.ask('PUT', '/sendToDevice/m.x/1', {
          messages: { [alice.user]: { '*': { a: 1 } } },
        })
      ).status,
    ).toBe(200)
    expect((await bob.ask('PUT', '/sendToDevice/m.x/2', { messages: [] })).status).toBe(400)
  })
  it('are backed up', async () => {
    const alice = await person()
    const made = await alice.ask('POST', '/room_keys/version', {
      algorithm: 'm.megolm_backup.v1',
      auth_data: { a: 1 },
    })
    const version = made.json['version']
    const session = {
      first_message_index: 1,
      forwarded_count: 0,
      is_verified: true,
      session_data: { x: 'y' },
    }
    const keys = '/room_keys/keys'
    const at = `?version=${version}`
    expect(await alice.ask('PUT', `${keys}/!r:here.test/s${at}`, session)).toMatchObject({
      status: 200,
      json: { count: 1 },
    })
    expect((await alice.ask('GET', `${keys}/!r:here.test/s${at}`)).json).toEqual(session)
    expect((await alice.ask('GET', `${keys}${at}`)).json).toEqual({
      rooms: { '!r:here.test': { sessions: { s: session } } },
    })
    expect(await alice.ask('GET', '/room_keys/version')).toMatchObject({
      json: { version, count: 1, auth_data: { a: 1 } },
    })
    expect(await alice.ask('PUT', `${keys}/!r:here.test/s?version=99`, session)).toMatchObject({
      json: { errcode: expect.stringMatching(/M_/) },
    })
    expect((await alice.ask('DELETE', `${keys}${at}`)).json).toMatchObject({ count: 0 })
    expect((await alice.ask('DELETE', `/room_keys/version/${version}`)).status).toBe(200)
    expect(await alice.ask('GET', '/room_keys/version')).toMatchObject({
      status: 404,
      json: { errcode: 'M_NOT_FOUND' },
    })
  })
})
