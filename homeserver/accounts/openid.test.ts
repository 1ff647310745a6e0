import { afterAll, beforeAll, expect, it } from 'vitest'
import { parseUserId } from '../../spec/ids.ts'
import { type TestDatabase, testDatabase } from '../database/test-database.ts'
import { FakeClock } from '../platform/fake-clock.ts'
import { seededRandom } from '../platform/random.ts'
import { createOpenid, openidLimits } from './openid.ts'
import { insertUser } from './queries.ts'

let database: TestDatabase
const clock = new FakeClock()
const alice = parseUserId('@alice:here.test')
const bob = parseUserId('@bob:here.test')
const random = seededRandom('openid')
const open = () => createOpenid({ db: database.db, clock, random })

beforeAll(async () => {
  database = await testDatabase()
  for (const user of [alice, bob]) {
    await insertUser(database.db, {
      ...{ user_id: user, password_hash: null, created_at: 0 },
      ...{ admin: false, guest: false, appservice: null },
    })
  }
}, 60_000)
afterAll(() => database[Symbol.asyncDispose]())

it('tells whose token it is, for an hour', async () => {
  const openid = open()
  const { token, expiresInMs } = await openid.issue(alice)
  expect(await openid.userOf(token)).toBe(alice)
  expect(await openid.userOf(`${token}x`)).toBeUndefined()
  await clock.advance(expiresInMs - 1)
  expect(await openid.userOf(token)).toBe(alice)
  await clock.advance(1)
  expect(await openid.userOf(token)).toBeUndefined()
})

it('keeps no token, but its hash', async () => {
  const { token } = await open().issue(alice)
  const rows = await database.db<{ token_hash: string }>`select token_hash from openid_tokens`
  expect(rows.length).toBeGreaterThan(0)
  expect(rows.map(({ token_hash }) => token_hash)).not.toContain(token)
})

it('forgets the oldest token of a user who asks for many', async () => {
  const openid = open()
  const first = await openid.issue(bob)
  const tokens: string[] = []
  for (let count = 0; count < openidLimits.tokensPerUser; count++) {
    await clock.advance(1)
    tokens.push((await openid.issue(bob)).token)
  }
  expect(await openid.userOf(first.token)).toBeUndefined()
  expect(await openid.userOf(tokens[0] ?? '')).toBe(bob)
})

it('tells nothing of a user who is gone', async () => {
  const openid = open()
  const { token } = await openid.issue(bob)
  await database.db`update users set deactivated_at = 1 where user_id = ${bob}`
  expect(await openid.userOf(token)).toBeUndefined()
})
