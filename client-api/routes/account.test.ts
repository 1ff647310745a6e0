import { createHmac } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createAccounts } from '../../homeserver/accounts/accounts.ts'
import { createInteractiveAuth } from '../../homeserver/accounts/interactive-auth.ts'
import { createLoginTokens } from '../../homeserver/accounts/login-tokens.ts'
import { createSessions } from '../../homeserver/accounts/sessions.ts'
import { testDatabase } from '../../homeserver/database/test-database.ts'
import { createJobs } from '../../homeserver/jobs/jobs.ts'
import { systemClock } from '../../homeserver/platform/clock.ts'
import { silentLogger } from '../../homeserver/platform/log.ts'
import { systemRandom } from '../../homeserver/platform/random.ts'
import { openTestLog } from '../../homeserver/stream/test-log.ts'
import { parseServerName, parseUserId } from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import { createAuthenticate } from '../authenticate.ts'
import { createInteractive } from '../interactive-auth.ts'
import type { ClientApiConfig } from '../needs.ts'
import { noAddresses } from '../test-rooms.ts'
import { testServer } from '../test-server.ts'
import { accountRoutes } from './account.ts'
import { adminRoutes } from './admin.ts'
import { deviceRoutes } from './devices.ts'
import { loginTokenRoutes } from './login-tokens.ts'
import { sessionRoutes } from './session.ts'

const serverName = parseServerName('example.org')
const sharedSecret = 'between us'
const bridge = {
  id: 'bridge',
  sender: parseUserId('@bridge:example.org'),
  rateLimited: true,
  covers: (user: string) => user.startsWith('@_irc_'),
}
const appservices = {
  byToken: (token: string) => (token === 'as' ? bridge : undefined),
  byId: (id: string) => (id === 'bridge' ? bridge : undefined),
}

/** The account part of the border over real slices. */
async function start(changed: Partial<ClientApiConfig> = {}) {
  const database = await testDatabase()
  const log = await openTestLog(database.db)
  const needs = {
    db: database.db,
    log: log.writer,
    tail: log.tail,
    clock: systemClock,
    random: systemRandom,
    serverName,
  }
  const deviceLists = { deleted: async () => [], renamed: async () => [] }
  const jobs = createJobs({ ...needs, writer: log.writer, log: silentLogger })
  const none = { deviceLists, jobs, leaveRooms: async () => {} }
  const accounts = createAccounts({
    ...needs,
    ...none,
    exclusiveOwner: (user) => (bridge.covers(user) ? 'bridge' : undefined),
  })
  const sessions = createSessions({ ...needs, ...none })
  const config: ClientApiConfig = {
    serverName,
    publicBaseUrl: '',
    registration: 'open',
    registrationSharedSecret: sharedSecret,
    guests: true,
    presence: true,
    rendezvous: 'off',
    rateLimits: false,
    defaultRoomVersion: '12',
    bodySizeBytes: 65_536,
    jsonDepth: 20,
    syncTimeoutMs: 120_000,
    trustedProxies: [],
    ...changed,
  }
  const takeBudget = () => {}
  const interactive = createInteractive({
    sessions: createInteractiveAuth(needs),
    accounts,
    addresses: noAddresses,
    serverName,
    registrationTokens: config.registrationTokens ?? [],
    takeBudget,
  })
  const profiles = { set: async () => {} }
  const all = {
    accounts,
    addresses: noAddresses,
    sessions,
    config,
    interactive,
    takeBudget,
    appservices,
    version: '1',
    profiles,
    loginTokens: createLoginTokens(needs),
  }
  const server = await testServer(
    [
      ...sessionRoutes(all),
      ...loginTokenRoutes(all),
      ...accountRoutes(all),
      ...deviceRoutes(all),
      ...adminRoutes(all),
    ],
    { authenticate: createAuthenticate({ accounts, sessions, appservices, tokenInQuery: true }) },
  )
  return {
    ...server,
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]()
      await sessions[Symbol.asyncDispose]()
      await log[Symbol.asyncDispose]()
      await database[Symbol.asyncDispose]()
    },
  }
}

type Api = Awaited<ReturnType<typeof start>>
let api: Api
beforeAll(async () => {
  api = await start()
})
afterAll(async () => await api[Symbol.asyncDispose]())

const dummy = { type: 'm.login.dummy' }
const register = (body: JsonObject, path = '/v3/register') => api.ask('POST', path, { body })
const login = (body: JsonObject, token?: string) =>
  api.ask('POST', '/v3/login', {
    body: { type: 'm.login.password', ...body },
    ...(token && { token }),
  })
const tokenOf = ({ json }: { json: JsonObject }) => String(json['access_token'])

describe('a login token', () => {
  const get = (from: Api, token: string, auth?: JsonObject) =>
    from.ask('POST', '/v1/login/get_token', { token, body: auth === undefined ? {} : { auth } })

  it('is not there unless it is turned on', async () => {
    const one = await register({ username: 'plain', password: 'pw', auth: dummy })
    expect(await get(api, tokenOf(one))).toMatchObject({ status: 404 })
    expect((await api.ask('GET', '/v3/login')).json['flows']).toHaveLength(2)
    const answer = await login({ type: 'm.login.token', token: 'x' })
    expect(answer).toMatchObject({ status: 400, json: { errcode: 'M_UNKNOWN' } })
  })

  it('wants a confirmation of its own, and needs no second for the login', async () => {
    await using turnedOn = await start({ loginTokens: true })
    const body = { username: 'giver', password: 'pw', auth: dummy }
    const token = tokenOf(await turnedOn.ask('POST', '/v3/register', { body }))
    const { session = '' } = (await get(turnedOn, token)).json
    const auth = { type: 'm.login.password', password: 'pw', session }
    const given = await get(turnedOn, token, auth)
    expect(given).toMatchObject({ status: 200, json: { expires_in_ms: 120_000 } })
    expect(await get(turnedOn, token, auth)).toMatchObject({ status: 403 })
    const entry = { type: 'm.login.token', token: given.json['login_token'] ?? '' }
    const entered = await turnedOn.ask('POST', '/v3/login', { body: entry })
    expect(entered).toMatchObject({ status: 200, json: { user_id: '@giver:example.org' } })
    expect(await turnedOn.ask('POST', '/v3/login', { body: entry })).toMatchObject({ status: 403 })
    const without = { type: 'm.login.token' }
    expect(await turnedOn.ask('POST', '/v3/login', { body: without })).toMatchObject({
      status: 400,
      json: { errcode: 'M_MISSING_PARAM' },
    })
  })
})

describe('registration', () => {
  it('asks for authentication and then makes the account', async () => {
    const first = await register({ username: 'alice', password: 'wonderland' })
    expect(first).toMatchObject({ status: 401, json: { flows: [{ stages: ['m.login.dummy'] }] } })
    const session = first.json['session'] ?? ''
    const done = await register({ auth: { ...dummy, session } })
    expect(done).toMatchObject({
      status: 200,
      json: { user_id: '@alice:example.org', home_server: 'example.org' },
    })
    const again = await register({ auth: { ...dummy, session } })
    expect(again).toMatchObject({ status: 200, json: { user_id: '@alice:example.org' } })
    expect(await api.ask('GET', '/v3/account/whoami', { token: tokenOf(again) })).toMatchObject({
      json: { user_id: '@alice:example.org', is_guest: false },
    })
  })
  it('keeps the device that the client names, and may start no session', async () => {
    const named = await register({
      username: 'dev',
      password: 'pw',
      device_id: 'LAPTOP',
      initial_device_display_name: 'Laptop',
      auth: dummy,
    })
    expect(named.json).toMatchObject({ device_id: 'LAPTOP' })
    expect(await api.ask('GET', '/v3/devices/LAPTOP', { token: tokenOf(named) })).toMatchObject({
      json: { device_id: 'LAPTOP', display_name: 'Laptop' },
    })
    const quiet = await register({
      username: 'quiet',
      password: 'pw',
      inhibit_login: true,
      auth: dummy,
    })
    expect(quiet.json).toEqual({ user_id: '@quiet:example.org' })
  })
  it('refuses names that are taken, wrong or reserved, before any authentication', async () => {
    await register({ username: 'taken', password: 'pw', auth: dummy })
    expect(await register({ username: 'Taken', password: 'pw' })).toMatchObject({
      status: 400,
      json: { errcode: 'M_USER_IN_USE' },
    })
    expect(await register({ username: 'a b', password: 'pw' })).toMatchObject({
      status: 400,
      json: { errcode: 'M_INVALID_USERNAME' },
    })
    expect(await register({ username: '_irc_x', password: 'pw' })).toMatchObject({
      status: 400,
      json: { errcode: 'M_EXCLUSIVE' },
    })
    expect(await register({ username: 7, password: 'pw' })).toMatchObject({
      status: 400,
      json: { errcode: 'M_BAD_JSON' },
    })
    expect(await register({ username: 'nopassword', auth: dummy })).toMatchObject({
      status: 400,
      json: { errcode: 'M_MISSING_PARAM' },
    })
    expect(await api.ask('GET', '/v3/register/available?username=taken')).toMatchObject({
      status: 400,
      json: { errcode: 'M_USER_IN_USE' },
    })
    expect(await api.ask('GET', '/v3/register/available?username=free')).toMatchObject({
      json: { available: true },
    })
  })
  it('admits guests', async () => {
    const guest = await register({}, '/v3/register?kind=guest')
    expect(guest.status).toBe(200)
    expect(await api.ask('GET', '/v3/account/whoami', { token: tokenOf(guest) })).toMatchObject({
      json: { is_guest: true },
    })
    expect(
      await api.ask('POST', '/v3/account/password', { token: tokenOf(guest), body: {} }),
    ).toMatchObject({ status: 403, json: { errcode: 'M_GUEST_ACCESS_FORBIDDEN' } })
  })
  it('lets an application service make its users and log in as them', async () => {
    const body = { type: 'm.login.application_service', username: '_irc_bob' }
    expect(await api.ask('POST', '/v3/register', { body, token: 'as' })).toMatchObject({
      status: 200,
      json: { user_id: '@_irc_bob:example.org' },
    })
    expect(await register(body)).toMatchObject({
      status: 401,
      json: { errcode: 'M_MISSING_TOKEN' },
    })
    const asService = {
      type: 'm.login.application_service',
      identifier: { type: 'm.id.user', user: '_irc_bob' },
    }
    expect(await login(asService, 'as')).toMatchObject({
      status: 200,
      json: { user_id: '@_irc_bob:example.org' },
    })
    expect(
      await login({ ...asService, identifier: { type: 'm.id.user', user: 'alice' } }, 'as'),
    ).toMatchObject({ json: { errcode: 'M_EXCLUSIVE' } })
    const whoami = (name: string) =>
      api.ask('GET', `/v3/account/whoami?user_id=@${name}:example.org`, { token: 'as' })
    expect((await whoami('_irc_bob')).json).toMatchObject({ user_id: '@_irc_bob:example.org' })
    expect(await whoami('_irc_nobody')).toMatchObject({
      status: 403,
      json: { errcode: 'M_FORBIDDEN' },
    })
  })
  it('can be closed, or open to who has a token', async () => {
    await using closed = await start({ registration: 'closed', guests: false })
    expect(
      await closed.ask('POST', '/v3/register', { body: { username: 'x', password: 'y' } }),
    ).toMatchObject({ status: 403, json: { errcode: 'M_FORBIDDEN' } })
    expect(await closed.ask('POST', '/v3/register?kind=guest', { body: {} })).toMatchObject({
      status: 403,
    })
    await using tokens = await start({ registration: 'token', registrationTokens: ['friends'] })
    expect(
      await tokens.ask('GET', '/v1/register/m.login.registration_token/validity?token=friends'),
    ).toMatchObject({ json: { valid: true } })
    const ask = (token: string) =>
      tokens.ask('POST', '/v3/register', {
        body: { username: 'x', password: 'y', auth: { type: 'm.login.registration_token', token } },
      })
    expect(await ask('strangers')).toMatchObject({
      status: 401,
      json: { errcode: 'M_UNAUTHORIZED' },
    })
    expect(await ask('friends')).toMatchObject({ status: 200, json: { user_id: '@x:example.org' } })
  })
})

describe('log-in', () => {
  beforeAll(async () => {
    await register({ username: 'bob', password: 'builder', auth: dummy, inhibit_login: true })
  })
  it('takes the name in all its forms', async () => {
    for (const name of [
      { user: 'bob' },
      { user: 'Bob' },
      { user: '@bob:example.org' },
      { identifier: { type: 'm.id.user', user: 'bob' } },
    ]) {
      expect(await login({ ...name, password: 'builder' })).toMatchObject({
        status: 200,
        json: { user_id: '@bob:example.org' },
      })
    }
  })
  it('says the same about a wrong password and an unknown user', async () => {
    const wrong = await login({ user: 'bob', password: 'wrong' })
    const unknown = await login({ user: 'nobody', password: 'builder' })
    const elsewhere = await login({ user: '@bob:elsewhere.org', password: 'builder' })
    expect(wrong).toMatchObject({ status: 403, json: { errcode: 'M_FORBIDDEN' } })
    expect(unknown.json).toEqual(wrong.json)
    expect(elsewhere.json).toEqual(wrong.json)
  })
  it('knows no other ways', async () => {
    expect(await login({ type: 'm.login.magic' })).toMatchObject({
      status: 400,
      json: { errcode: 'M_UNKNOWN' },
    })
    expect(await login({ user: 'bob' })).toMatchObject({
      status: 400,
      json: { errcode: 'M_MISSING_PARAM' },
    })
  })
  it('ends with log-out', async () => {
    const token = tokenOf(await login({ user: 'bob', password: 'builder' }))
    expect((await api.ask('POST', '/v3/logout', { token })).status).toBe(200)
    expect(await api.ask('GET', '/v3/account/whoami', { token })).toMatchObject({
      status: 401,
      json: { errcode: 'M_UNKNOWN_TOKEN' },
    })
  })
  it('can be refreshed', async () => {
    const first = await login({ user: 'bob', password: 'builder', refresh_token: true })
    const next = await api.ask('POST', '/v3/refresh', {
      body: { refresh_token: first.json['refresh_token'] ?? '' },
    })
    expect(next.json).toMatchObject({
      access_token: expect.any(String),
      refresh_token: expect.any(String),
      expires_in_ms: expect.any(Number),
    })
  })
})

describe('an account', () => {
  it('gets another password, which ends the other sessions', async () => {
    const kept = tokenOf(await register({ username: 'carol', password: 'old', auth: dummy }))
    const ended = tokenOf(await login({ user: 'carol', password: 'old' }))
    const auth = {
      type: 'm.login.password',
      identifier: { type: 'm.id.user', user: 'carol' },
      password: 'old',
    }
    const change = (body: JsonObject) =>
      api.ask('POST', '/v3/account/password', { token: kept, body })
    expect((await change({ new_password: 'new' })).status).toBe(401)
    expect(
      await change({ new_password: 'new', auth: { ...auth, password: 'guess' } }),
    ).toMatchObject({ status: 401, json: { errcode: 'M_FORBIDDEN' } })
    expect((await change({ new_password: 'new', auth })).status).toBe(200)
    expect((await login({ user: 'carol', password: 'old' })).status).toBe(403)
    expect((await login({ user: 'carol', password: 'new' })).status).toBe(200)
    expect((await api.ask('GET', '/v3/account/whoami', { token: kept })).status).toBe(200)
    expect((await api.ask('GET', '/v3/account/whoami', { token: ended })).status).toBe(401)
  })
  it('loses devices only by its password', async () => {
    const token = tokenOf(
      await register({ username: 'dave', password: 'pw', device_id: 'ONE', auth: dummy }),
    )
    await login({ user: 'dave', password: 'pw', device_id: 'TWO' })
    await login({ user: 'dave', password: 'pw', device_id: 'THREE' })
    const auth = { type: 'm.login.password', user: 'dave', password: 'pw' }
    const first = await api.ask('DELETE', '/v3/devices/TWO', { token })
    expect(first.status).toBe(401)
    const session = first.json['session'] ?? ''
    expect(
      (
        await api.ask('DELETE', '/v3/devices/THREE', {
          token,
          body: { auth: { ...auth, session } },
        })
      ).status,
    ).toBe(403)
    expect(
      (await api.ask('DELETE', '/v3/devices/TWO', { token, body: { auth: { ...auth, session } } }))
        .status,
    ).toBe(200)
    expect(
      (
        await api.ask('POST', '/v3/delete_devices', {
          token,
          body: { devices: ['THREE', 'GONE'], auth },
        })
      ).status,
    ).toBe(200)
    expect(await api.ask('GET', '/v3/devices', { token })).toMatchObject({
      json: { devices: [{ device_id: 'ONE' }] },
    })
    expect((await api.ask('GET', '/v3/devices/TWO', { token })).status).toBe(404)
  })
  it('can be closed for ever', async () => {
    const token = tokenOf(await register({ username: 'erin', password: 'pw', auth: dummy }))
    const auth = { type: 'm.login.password', user: 'erin', password: 'pw' }
    expect(
      await api.ask('POST', '/v3/account/deactivate', { token, body: { auth } }),
    ).toMatchObject({ status: 200, json: { id_server_unbind_result: 'no-support' } })
    expect((await api.ask('GET', '/v3/account/whoami', { token })).status).toBe(401)
    expect((await login({ user: 'erin', password: 'pw' })).status).toBe(403)
    expect(await register({ username: 'erin', password: 'pw' })).toMatchObject({
      json: { errcode: 'M_USER_IN_USE' },
    })
  })
})

describe('registration with the shared secret', () => {
  const path = '/_synapse/admin/v1/register'
  async function body(
    fields: { username: string; password: string; admin: boolean },
    secret = sharedSecret,
  ) {
    const { nonce } = (await api.ask('GET', path)).json
    const { username, password, admin } = fields
    const text = [nonce, username, password, admin ? 'admin' : 'notadmin'].join('\0')
    return {
      nonce: nonce ?? '',
      ...fields,
      mac: createHmac('sha1', secret).update(text).digest('hex'),
    }
  }
  const fields = { username: 'root', password: 'pw', admin: true }

  it('makes accounts, once per nonce', async () => {
    const request = await body(fields)
    expect(await api.ask('POST', path, { body: request })).toMatchObject({
      status: 200,
      json: { user_id: '@root:example.org', access_token: expect.any(String) },
    })
    expect(await api.ask('POST', path, { body: { ...request, username: 'root2' } })).toMatchObject({
      status: 400,
    })
  })
  it('refuses who does not know the secret, and is not there without one', async () => {
    expect(
      await api.ask('POST', path, { body: await body({ ...fields, username: 'eve' }, 'guess') }),
    ).toMatchObject({ status: 403, json: { errcode: 'M_FORBIDDEN' } })
    await using without = await start({ registrationSharedSecret: '' })
    expect(await without.ask('GET', path)).toMatchObject({
      status: 404,
      json: { errcode: 'M_UNRECOGNIZED' },
    })
  })
})
