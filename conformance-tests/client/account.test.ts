import { createHmac } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { clientOf, login, password, register, unique } from '../harness/client.ts'
import { itSynapseBreaks } from '../harness/exceptions.ts'
import { server } from '../harness/fixtures.ts'
import { ask, path, send } from '../harness/http.ts'
import { flowsAnswer, sessionAnswer } from '../harness/shapes.ts'

const v3 = '/_matrix/client/v3'
const post = (where: string, body: unknown, token?: string) =>
  ask(server.clientUrl, 'POST', `${v3}${where}`, {
    body,
    ...(token === undefined ? {} : { token }),
  })
const get = (where: string, token?: string) =>
  ask(server.clientUrl, 'GET', where, token === undefined ? {} : { token })

describe('what a server says of itself', () => {
  it('lists the versions of the specification it speaks', async () => {
    const { body } = await get('/_matrix/client/versions')
    expect(body['versions']).toEqual(expect.arrayContaining([expect.stringMatching(/^v1\.\d+$/)]))
  })

  it('tells capabilities, with room versions, to a signed-in user only', async () => {
    const alice = await register(server)
    const { capabilities } = await alice.call('GET', `${v3}/capabilities`)
    expect(capabilities).toMatchObject({
      'm.room_versions': {
        default: expect.any(String),
        available: { '10': 'stable', '11': 'stable' },
      },
      'm.change_password': { enabled: expect.any(Boolean) },
    })
    expect(await get(`${v3}/capabilities`)).toMatchObject({
      status: 401,
      body: { errcode: 'M_MISSING_TOKEN' },
    })
  })

  it('allows every origin, as browsers ask first', async () => {
    const answer = await ask(server.clientUrl, 'OPTIONS', `${v3}/login`)
    expect(answer.status).toBeLessThan(300)
    expect(answer.headers.get('access-control-allow-origin')).toBe('*')
    expect(answer.headers.get('access-control-allow-methods')).toContain('PUT')
    expect(answer.headers.get('access-control-allow-headers')?.toLowerCase()).toContain(
      'authorization',
    )
  })

  it('tells clients where it is', async () => {
    const { status, body } = await get('/.well-known/matrix/client')
    expect(status).toBe(200)
    expect(body).toMatchObject({ 'm.homeserver': { base_url: expect.stringMatching(/^https?:/) } })
  })

  it('sends the CORS header with errors too', async () => {
    const answer = await get(`${v3}/account/whoami`)
    expect(answer.headers.get('access-control-allow-origin')).toBe('*')
  })
})

describe('registration', () => {
  it('asks for a stage first and names its flows and session', async () => {
    const answer = await post('/register', { username: unique('u'), password })
    expect(answer.status).toBe(401)
    const { flows, session } = flowsAnswer.parse(answer.body)
    expect(flows).toContainEqual(expect.objectContaining({ stages: ['m.login.dummy'] }))
    expect(session).not.toBe('')
  })

  it('makes an account once the dummy stage is done', async () => {
    const username = unique('alice')
    const first = await post('/register', { username, password })
    const auth = { type: 'm.login.dummy', session: flowsAnswer.parse(first.body).session }
    const second = await post('/register', { username, password, auth })
    expect(second.status).toBe(200)
    expect(sessionAnswer.parse(second.body).user_id).toBe(`@${username}:${server.name}`)
  })

  it('takes the device id and display name that the client chose', async () => {
    const alice = await register(server, 'alice', {
      device_id: 'CHOSEN',
      initial_device_display_name: 'my phone',
    })
    expect(alice.deviceId).toBe('CHOSEN')
    expect(await alice.call('GET', `${v3}/devices/CHOSEN`)).toMatchObject({
      display_name: 'my phone',
    })
  })

  it('gives no token when the client wants none', async () => {
    const username = unique('u')
    const first = await post('/register', { username, password, inhibit_login: true })
    const auth = { type: 'm.login.dummy', session: flowsAnswer.parse(first.body).session }
    const { body } = await post('/register', { username, password, inhibit_login: true, auth })
    expect(body['user_id']).toBe(`@${username}:${server.name}`)
    expect(body['access_token']).toBeUndefined()
  })

  it('chooses a user name when none is given', async () => {
    const first = await post('/register', { password })
    const auth = { type: 'm.login.dummy', session: flowsAnswer.parse(first.body).session }
    const { body } = await post('/register', { password, auth })
    expect(body['user_id']).toMatch(new RegExp(`^@.+:${server.name}$`))
  })

  it('lowers capitals in a user name', async () => {
    const name = unique('Upper')
    const alice = await register(server, 'x', { username: name })
    expect(alice.userId).toBe(`@${name.toLowerCase()}:${server.name}`)
  })

  it.each(['with space', 'ümlaut', 'a:b', 'a@b', 'a#b', '"', 'a\u0000b', 'a?b', 'a,b', 'a&b'])(
    'refuses the user name %j',
    async (username) => {
      const body = { username, password, auth: { type: 'm.login.dummy' } }
      expect(await post('/register', body)).toMatchObject({
        status: 400,
        body: { errcode: 'M_INVALID_USERNAME' },
      })
    },
  )

  it.each(['q', '3', '.', '_', '=', '-', '/'])('accepts %j in a user name', async (character) => {
    const username = `${unique('chr')}${character}x`
    const alice = await register(server, 'x', { username })
    expect(alice.userId).toBe(`@${username}:${server.name}`)
  })

  it('refuses a user name that is taken', async () => {
    const alice = await register(server)
    const username = alice.userId.slice(1, alice.userId.indexOf(':'))
    const body = { username, password, auth: { type: 'm.login.dummy' } }
    expect(await post('/register', body)).toMatchObject({
      status: 400,
      body: { errcode: 'M_USER_IN_USE' },
    })
  })

  it('refuses a kind of account that does not exist', async () => {
    const answer = await post('/register?kind=robot', { password })
    expect(answer.status).toBeGreaterThanOrEqual(400)
    expect(answer.status).toBeLessThan(500)
  })

  it('says whether a user name is free', async () => {
    const alice = await register(server)
    const name = alice.userId.slice(1, alice.userId.indexOf(':'))
    expect(await get(`${v3}/register/available?username=${unique('free')}`)).toMatchObject({
      status: 200,
      body: { available: true },
    })
    expect(await get(`${v3}/register/available?username=${name}`)).toMatchObject({
      status: 400,
      body: { errcode: 'M_USER_IN_USE' },
    })
    expect(
      await get(`${v3}/register/available?username=${encodeURIComponent('Not valid')}`),
    ).toMatchObject({
      status: 400,
      body: { errcode: 'M_INVALID_USERNAME' },
    })
  })
})

describe.skipIf(server.sharedSecret === undefined)('registration with the shared secret', () => {
  const where = '/_synapse/admin/v1/register'

  async function sharedSecret(user: string, admin: boolean, secret = server.sharedSecret ?? '') {
    const { nonce } = await send(server.clientUrl, 'GET', where)
    const parts = [nonce, user, password, admin ? 'admin' : 'notadmin']
    const mac = createHmac('sha1', secret).update(parts.join('\0')).digest('hex')
    const body = { nonce, username: user, password, admin, mac }
    return { answer: await ask(server.clientUrl, 'POST', where, { body }), body }
  }

  it('makes a user with a nonce and an HMAC', async () => {
    const user = unique('shared')
    const { answer } = await sharedSecret(user, false)
    expect(answer).toMatchObject({ status: 200, body: { user_id: `@${user}:${server.name}` } })
  })

  it('makes an admin', async () => {
    const { answer } = await sharedSecret(unique('admin'), true)
    const admin = clientOf(server, sessionAnswer.parse(answer.body))
    const whois = path(`${v3}/admin/whois`, admin.userId)
    expect(await admin.ask('GET', whois)).toMatchObject({
      status: 200,
      body: { user_id: admin.userId },
    })
  })

  it('writes capitals small', async () => {
    const user = unique('Shared-CAPITALS')
    const { answer } = await sharedSecret(user, false)
    const user_id = `@${user.toLowerCase()}:${server.name}`
    expect(answer).toMatchObject({ status: 200, body: { user_id } })
    expect(answer.body['access_token']).toEqual(expect.any(String))
  })

  it('refuses symbols', async () => {
    const { answer } = await sharedSecret('us,er', false)
    expect(answer).toMatchObject({ status: 400, body: { errcode: 'M_INVALID_USERNAME' } })
  })

  it('refuses a wrong HMAC', async () => {
    const { answer } = await sharedSecret(unique('shared'), true, 'another secret')
    expect(answer).toMatchObject({ status: 403, body: { errcode: expect.any(String) } })
  })

  it('takes a nonce only once', async () => {
    const { body } = await sharedSecret(unique('shared'), false)
    const again = await ask(server.clientUrl, 'POST', where, { body })
    expect(again.status).toBe(400)
  })
})

describe('login', () => {
  it('offers password login', async () => {
    const { body } = await get(`${v3}/login`)
    expect(body['flows']).toContainEqual(expect.objectContaining({ type: 'm.login.password' }))
  })

  it('signs in by full user id and by local part', async () => {
    const alice = await register(server)
    const second = await login(server, alice.userId)
    const third = await login(server, alice.userId.slice(1, alice.userId.indexOf(':')))
    expect(second.userId).toBe(alice.userId)
    expect(third.userId).toBe(alice.userId)
    expect(new Set([alice.token, second.token, third.token]).size).toBe(3)
    expect(new Set([alice.deviceId, second.deviceId, third.deviceId]).size).toBe(3)
  })

  it('signs in by the deprecated top-level user', async () => {
    const alice = await register(server)
    const answer = await post('/login', { type: 'm.login.password', user: alice.userId, password })
    expect(answer).toMatchObject({ status: 200, body: { user_id: alice.userId } })
  })

  itSynapseBreaks(
    'If the client sets the device_id, the server will invalidate any access token previously assigned to that device.',
  )('reuses the device that is named and ends its old token', async () => {
    const alice = await register(server)
    const again = await login(server, alice.userId, { device_id: alice.deviceId })
    expect(again.deviceId).toBe(alice.deviceId)
    expect(await alice.ask('GET', `${v3}/account/whoami`)).toMatchObject({
      status: 401,
      body: { errcode: 'M_UNKNOWN_TOKEN' },
    })
    expect(await again.call('GET', `${v3}/account/whoami`)).toMatchObject({ user_id: alice.userId })
  })

  it('refuses a wrong password and an unknown user alike', async () => {
    const alice = await register(server)
    const identifier = (user: string) => ({ type: 'm.id.user', user })
    const wrong = await post('/login', {
      type: 'm.login.password',
      identifier: identifier(alice.userId),
      password: 'no',
    })
    const unknown = await post('/login', {
      type: 'm.login.password',
      identifier: identifier(unique('none')),
      password: 'no',
    })
    expect(wrong).toMatchObject({ status: 403, body: { errcode: 'M_FORBIDDEN' } })
    expect(unknown).toMatchObject({ status: 403, body: { errcode: 'M_FORBIDDEN' } })
    expect(unknown.body['error']).toBe(wrong.body['error'])
  })

  it('refuses a kind of login that it does not know', async () => {
    const answer = await post('/login', { type: 'm.login.carrier_pigeon' })
    expect(answer.status).toBe(400)
    expect(answer.body['errcode']).toMatch(/^M_(UNKNOWN|UNRECOGNIZED|INVALID_PARAM)$/)
  })

  it('knows who asks', async () => {
    const alice = await register(server)
    expect(await alice.call('GET', `${v3}/account/whoami`)).toMatchObject({
      user_id: alice.userId,
      device_id: alice.deviceId,
    })
  })
})

describe('logout', () => {
  it('ends the token and the device', async () => {
    const alice = await register(server)
    const phone = await login(server, alice.userId)
    await phone.call('POST', `${v3}/logout`, { body: {} })
    expect(await phone.ask('GET', `${v3}/account/whoami`)).toMatchObject({
      status: 401,
      body: { errcode: 'M_UNKNOWN_TOKEN' },
    })
    expect(await alice.ask('GET', `${v3}/devices/${phone.deviceId}`)).toMatchObject({
      status: 404,
      body: { errcode: 'M_NOT_FOUND' },
    })
    await alice.call('GET', `${v3}/account/whoami`)
  })

  it('ends all tokens of a user and nobody else', async () => {
    const [alice, bob] = await Promise.all([register(server), register(server)])
    const phone = await login(server, alice.userId)
    await alice.call('POST', `${v3}/logout/all`, { body: {} })
    for (const client of [alice, phone]) {
      expect(await client.ask('GET', `${v3}/account/whoami`)).toMatchObject({ status: 401 })
    }
    await bob.call('GET', `${v3}/account/whoami`)
  })

  it('can be asked without a body', async () => {
    const alice = await register(server)
    expect(await alice.ask('POST', `${v3}/logout`)).toMatchObject({ status: 200 })
  })
})

describe('access tokens', () => {
  it('are asked for and checked', async () => {
    expect(await get(`${v3}/account/whoami`)).toMatchObject({
      status: 401,
      body: { errcode: 'M_MISSING_TOKEN' },
    })
    expect(await get(`${v3}/account/whoami`, 'nonsense')).toMatchObject({
      status: 401,
      body: { errcode: 'M_UNKNOWN_TOKEN' },
    })
  })

  it('may stand in the query, as old clients do', async () => {
    const alice = await register(server)
    expect(await get(`${v3}/account/whoami?access_token=${alice.token}`)).toMatchObject({
      status: 200,
      body: { user_id: alice.userId },
    })
  })
})

describe('a session that is refreshed', () => {
  it('has the same device: its transaction ids are still known', async () => {
    const { userId } = await register(server)
    const { session, ...phone } = await login(server, userId, { refresh_token: true })
    const room = await phone.createRoom()
    const id = await phone.sendText(room, 'first', 'abcdef')
    const refreshed = await post('/refresh', { refresh_token: session['refresh_token'] })
    expect(refreshed.status).toBe(200)
    const renewed = clientOf(server, sessionAnswer.parse({ ...session, ...refreshed.body }))
    expect(renewed.token).not.toBe(phone.token)
    const shown = await renewed.syncUntil((answer) => answer.rooms.join[room] !== undefined)
    const event = shown.rooms.join[room]?.timeline.events.find(({ event_id }) => event_id === id)
    expect(event?.unsigned).toMatchObject({ transaction_id: 'abcdef' })
    expect(await renewed.sendText(room, 'first', 'abcdef')).toBe(id)
  })
})
