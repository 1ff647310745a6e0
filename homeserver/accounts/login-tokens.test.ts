import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { UserId } from '../../spec/ids.ts'
import { systemRandom } from '../platform/random.ts'
import { createLoginTokens, type LoginTokens, loginTokenLimits } from './login-tokens.ts'
import { type TestAccounts, testAccounts } from './test-accounts.ts'

let test: TestAccounts
let tokens: LoginTokens
let alice: UserId
beforeAll(async () => {
  test = await testAccounts()
  tokens = createLoginTokens({ db: test.database.db, clock: test.clock, random: systemRandom })
  alice = await test.accounts.register({ localpart: 'alice' })
})
afterAll(() => test[Symbol.asyncDispose]())

describe('a login token', () => {
  it('is good once', async () => {
    const { token } = await tokens.issue(alice)
    const taken = await Promise.all([tokens.take(token), tokens.take(token)])
    expect(taken.filter((user) => user !== undefined)).toEqual([alice])
    expect(await tokens.take(token)).toBeUndefined()
  })

  it('is good for a while only', async () => {
    const { token, expiresInMs } = await tokens.issue(alice)
    await test.clock.advance(expiresInMs)
    expect(await tokens.take(token)).toBeUndefined()
  })

  it('makes room for newer ones', async () => {
    const { token: oldest } = await tokens.issue(alice)
    await test.clock.advance(1)
    for (let more = 0; more < loginTokenLimits.tokensPerUser; more++) await tokens.issue(alice)
    expect(await tokens.take(oldest)).toBeUndefined()
  })

  it('ends with the account', async () => {
    const bob = await test.accounts.register({ localpart: 'bob' })
    const { token } = await tokens.issue(bob)
    await test.accounts.deactivate(bob, { erase: false })
    expect(await tokens.take(token)).toBeUndefined()
  })
})
