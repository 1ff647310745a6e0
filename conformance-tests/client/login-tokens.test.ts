/** Letting another device in by a token. */
import { describe, expect, it } from 'vitest'
import { type Client, password, register } from '../harness/client.ts'
import { server } from '../harness/fixtures.ts'
import { ask, type Body } from '../harness/http.ts'
import { flowsAnswer } from '../harness/shapes.ts'

const v3 = '/_matrix/client/v3'
const where = '/_matrix/client/v1/login/get_token'

const request = (who: Client, session: string, secret = password) => {
  const identifier = { type: 'm.id.user', user: who.userId }
  const auth = { type: 'm.login.password', identifier, password: secret, session }
  return who.ask('POST', where, { body: { auth } })
}

async function sessionOf(who: Client): Promise<string> {
  const first = await who.ask('POST', where, { body: {} })
  expect(first.status).toBe(401)
  return flowsAnswer.parse(first.body).session
}

const login = (body: Body) =>
  ask(server.clientUrl, 'POST', `${v3}/login`, { body: { type: 'm.login.token', ...body } })

const refused = { status: 403, body: { errcode: 'M_FORBIDDEN' } }

describe('a login token', () => {
  it('is announced', async () => {
    const alice = await register(server)
    const flows = await ask(server.clientUrl, 'GET', `${v3}/login`)
    const flow = expect.objectContaining({ type: 'm.login.token', get_login_token: true })
    expect(flows.body['flows']).toContainEqual(flow)
    expect(await alice.call('GET', `${v3}/capabilities`)).toMatchObject({
      capabilities: { 'm.get_login_token': { enabled: true } },
    })
  })

  it('lets one device in, once', async () => {
    const alice = await register(server)
    const answer = await request(alice, await sessionOf(alice))
    expect(answer).toMatchObject({
      status: 200,
      body: { login_token: expect.any(String), expires_in_ms: expect.any(Number) },
    })
    const token = answer.body['login_token']
    expect(await login({ token, device_id: 'ANOTHER' })).toMatchObject({
      status: 200,
      body: { user_id: alice.userId, device_id: 'ANOTHER', access_token: expect.any(String) },
    })
    expect(await login({ token })).toMatchObject(refused)
  })

  it('is confirmed by the password, each time', async () => {
    const alice = await register(server)
    const session = await sessionOf(alice)
    expect((await request(alice, session, 'wrong')).status).not.toBe(200)
    const again = await sessionOf(alice)
    expect(again).not.toBe(session)
  })

  it('that nobody was given lets nobody in', async () => {
    expect(await login({ token: 'nonsense' })).toMatchObject(refused)
  })
})
