import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseUserId } from '../../spec/ids.ts'
import { type TestAccounts, testAccounts } from './test-accounts.ts'

let test: TestAccounts
beforeAll(async () => {
  test = await testAccounts()
})
afterAll(() => test[Symbol.asyncDispose]())

describe('registration', () => {
  it('makes an account whose password is the one given', async () => {
    const alice = await test.accounts.register({ localpart: 'alice', password: 'wonderland' })
    expect(alice).toBe('@alice:here.test')
    expect(await test.accounts.verifyPassword(alice, 'wonderland')).toBe(true)
    expect(await test.accounts.verifyPassword(alice, 'Wonderland')).toBe(false)
    expect(await test.accounts.find(alice)).toMatchObject({
      user: alice,
      admin: false,
      hasPassword: true,
    })
  })

  it('refuses a name that is taken, also in capitals', async () => {
    await test.accounts.register({ localpart: 'bob' })
    const taken = { errcode: 'M_USER_IN_USE' }
    await expect(test.accounts.register({ localpart: 'bob' })).rejects.toMatchObject(taken)
    await expect(test.accounts.register({ localpart: 'BOB' })).rejects.toMatchObject(taken)
    await expect(test.accounts.checkAvailable('bob')).rejects.toMatchObject(taken)
    await expect(test.accounts.checkAvailable('bobby')).resolves.toBeUndefined()
  })

  it('gives one of two who ask for the same name at once the name', async () => {
    const both = await Promise.allSettled([
      test.accounts.register({ localpart: 'twin' }),
      test.accounts.register({ localpart: 'twin' }),
    ])
    expect(both.map((one) => one.status).sort()).toEqual(['fulfilled', 'rejected'])
  })

  it.each(['', 'white space', 'umläut', '1234', 'x'.repeat(250)])(
    'refuses the name %j',
    async (localpart) => {
      const invalid = { errcode: 'M_INVALID_USERNAME' }
      await expect(test.accounts.register({ localpart })).rejects.toMatchObject(invalid)
    },
  )

  it('keeps the namespace of an application service for it', async () => {
    const localpart = '_bridge_carol'
    await expect(test.accounts.register({ localpart })).rejects.toMatchObject({
      errcode: 'M_EXCLUSIVE',
    })
    expect(await test.accounts.register({ localpart, appservice: 'bridge' })).toBe(
      '@_bridge_carol:here.test',
    )
  })

  it('numbers guests and makes up names for others', async () => {
    expect(await test.accounts.register({ guest: true })).toMatch(/^@[0-9]+:here\.test$/)
    expect(await test.accounts.register({})).toMatch(/^@[a-z]{12}:here\.test$/)
  })

  it('refuses a password that is too long to hash', async () => {
    const password = 'x'.repeat(513)
    await expect(test.accounts.register({ localpart: 'long', password })).rejects.toMatchObject({
      errcode: 'M_INVALID_PARAM',
    })
  })
})

describe('an account', () => {
  it('gives an unknown user no password', async () => {
    const nobody = parseUserId('@nobody:here.test')
    expect(await test.accounts.verifyPassword(nobody, '')).toBe(false)
  })

  it('changes its password', async () => {
    const user = await test.accounts.register({ localpart: 'changing', password: 'old' })
    await test.accounts.setPassword(user, 'new')
    expect(await test.accounts.verifyPassword(user, 'old')).toBe(false)
    expect(await test.accounts.verifyPassword(user, 'new')).toBe(true)
  })

  it('becomes an admin at once, also for tokens in use', async () => {
    const user = await test.accounts.register({ localpart: 'promoted' })
    const { accessToken } = await test.sessions.login({ user })
    expect(await test.sessions.authenticate(accessToken)).toMatchObject({ admin: false })
    await test.accounts.setAdmin(user, true)
    expect(await test.accounts.isAdmin(user)).toBe(true)
    expect(await test.sessions.authenticate(accessToken)).toMatchObject({ admin: true })
  })

  it('is closed for good', async () => {
    const user = await test.accounts.register({ localpart: 'leaving', password: 'secret' })
    const { accessToken, deviceId } = await test.sessions.login({ user })
    await test.profiles.set(user, 'displayname', 'Leaving')
    await test.accounts.deactivate(user, { erase: true })
    expect(await test.sessions.authenticate(accessToken)).toBeUndefined()
    expect(await test.accounts.verifyPassword(user, 'secret')).toBe(false)
    expect(await test.accounts.find(user)).toMatchObject({
      deactivated: true,
      erased: true,
      hasPassword: false,
    })
    await expect.poll(() => test.leftRooms).toContain(user)
    expect(test.deletedDevices).toContainEqual({ user, devices: [deviceId] })
    await expect.poll(() => test.profiles.local(user)).toEqual({})
    await expect(test.profiles.get(user)).rejects.toMatchObject({ errcode: 'M_NOT_FOUND' })
    await expect(test.accounts.register({ localpart: 'leaving' })).rejects.toMatchObject({
      errcode: 'M_USER_IN_USE',
    })
  })
})

describe('one-time secrets', () => {
  it('takes a nonce once, and only for a minute', async () => {
    const nonce = await test.accounts.createNonce()
    expect(await test.accounts.takeNonce(nonce)).toBe(true)
    expect(await test.accounts.takeNonce(nonce)).toBe(false)
    const late = await test.accounts.createNonce()
    await test.clock.advance(60_001)
    expect(await test.accounts.takeNonce(late)).toBe(false)
  })

  it("takes the first admin's link once", async () => {
    const token = await test.accounts.createAdminInvite()
    expect(await test.accounts.checkAdminInvite(token)).toBe(true)
    expect(await test.accounts.takeAdminInvite('another')).toBe(false)
    expect(await test.accounts.takeAdminInvite(token)).toBe(true)
    expect(await test.accounts.takeAdminInvite(token)).toBe(false)
  })
})

describe('interactive authentication', () => {
  it('remembers stages and forgets the session after an hour', async () => {
    const { id } = await test.interactiveAuth.create({
      flows: [['m.login.dummy'], ['m.login.password', 'x']],
      params: { a: 1 },
      request: { path: '/register' },
    })
    expect(await test.interactiveAuth.complete(id, 'm.login.password')).toEqual([
      'm.login.password',
    ])
    expect(await test.interactiveAuth.complete(id, 'm.login.password')).toEqual([
      'm.login.password',
    ])
    expect(await test.interactiveAuth.complete(id, 'x')).toEqual(['m.login.password', 'x'])
    await test.interactiveAuth.setResult(id, { user_id: '@a:b' })
    expect(await test.interactiveAuth.get(id)).toEqual({
      id,
      flows: [['m.login.dummy'], ['m.login.password', 'x']],
      params: { a: 1 },
      request: { path: '/register' },
      completed: ['m.login.password', 'x'],
      result: { user_id: '@a:b' },
    })
    await test.clock.advance(3_600_001)
    expect(await test.interactiveAuth.get(id)).toBeUndefined()
    await expect(test.interactiveAuth.complete('unknown', 'x')).rejects.toMatchObject({
      errcode: 'M_NOT_FOUND',
    })
  })
})
