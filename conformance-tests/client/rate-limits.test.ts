import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { register } from '../harness/client.ts'
import { ask } from '../harness/http.ts'
import { type Federation, startFederation } from '../harness/pair.ts'
import { launcherUnderTest, urlUnderTest } from '../harness/settings.ts'

const attempts = 200

describe.skipIf(urlUnderTest !== undefined)('with its default limits a server', () => {
  let federation: Federation | undefined
  beforeAll(async () => {
    federation = await startFederation([
      { launcher: launcherUnderTest, env: { HS_RATELIMIT: 'on' } },
    ])
  })
  afterAll(() => federation?.[Symbol.asyncDispose]())

  it('slows down who guesses passwords, and says for how long', async () => {
    const [server] = federation?.servers ?? []
    if (!server) throw new Error('no server')
    const alice = await register(server)
    const body = {
      type: 'm.login.password',
      identifier: { type: 'm.id.user', user: alice.userId },
      password: 'a guess',
    }
    for (let i = 0; i < attempts; i++) {
      const answer = await ask(server.clientUrl, 'POST', '/_matrix/client/v3/login', { body })
      if (answer.status === 403) continue
      expect(answer).toMatchObject({
        status: 429,
        body: { errcode: 'M_LIMIT_EXCEEDED', retry_after_ms: expect.any(Number) },
      })
      expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0)
      return
    }
    throw new Error(`${attempts} guesses were allowed`)
  })
})
