import { describe, expect, it } from 'vitest'
import { type Client, register } from '../harness/client.ts'
import { server } from '../harness/fixtures.ts'
import { path } from '../harness/http.ts'

const request = (asking: Client, user: string) =>
  asking.ask('POST', path('/_matrix/client/v3/user', user, 'openid', 'request_token'), { body: {} })

describe('an OpenID token', () => {
  it('is given to a user, for a while', async () => {
    const alice = await register(server)
    expect(await request(alice, alice.userId)).toMatchObject({
      status: 200,
      body: {
        ...{ token_type: 'Bearer', matrix_server_name: server.name },
        ...{ access_token: expect.any(String), expires_in: expect.any(Number) },
      },
    })
  })

  it('is not given for somebody else', async () => {
    const [alice, bob] = await Promise.all([register(server), register(server)])
    expect(await request(alice, bob.userId)).toMatchObject({
      status: 403,
      body: { errcode: 'M_FORBIDDEN' },
    })
  })

  it('opens nothing', async () => {
    const alice = await register(server)
    const token = String((await request(alice, alice.userId)).body['access_token'])
    const answer = await alice.ask('GET', '/_matrix/client/v3/account/whoami', { token })
    expect(answer).toMatchObject({ status: 401, body: { errcode: 'M_UNKNOWN_TOKEN' } })
  })
})
