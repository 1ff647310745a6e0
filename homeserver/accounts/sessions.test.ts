import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseDeviceId, type UserId } from '../../spec/ids.ts'
import { systemRandom } from '../platform/random.ts'
import { openTestLog } from '../stream/test-log.ts'
import { createSessions } from './sessions.ts'
import { type TestAccounts, testAccounts } from './test-accounts.ts'

let test: TestAccounts
let alice: UserId
beforeAll(async () => {
  test = await testAccounts()
  alice = await test.accounts.register({ localpart: 'alice' })
})
afterAll(() => test[Symbol.asyncDispose]())

describe('a login', () => {
  it('makes a device and a token that stands for it', async () => {
    const { accessToken, deviceId } = await test.sessions.login({
      user: alice,
      initialDisplayName: 'Phone',
    })
    expect(deviceId).toMatch(/^[A-Z]{10}$/)
    expect(await test.sessions.authenticate(accessToken)).toEqual({
      user: alice,
      device: deviceId,
      guest: false,
      admin: false,
    })
    expect(await test.sessions.device(alice, deviceId)).toMatchObject({
      deviceId,
      displayName: 'Phone',
    })
  })

  it('ends the tokens that the device had', async () => {
    const deviceId = parseDeviceId('LAPTOP')
    const first = await test.sessions.login({ user: alice, deviceId, initialDisplayName: 'Laptop' })
    expect(await test.sessions.authenticate(first.accessToken)).toBeDefined()
    const second = await test.sessions.login({ user: alice, deviceId, initialDisplayName: 'Other' })
    expect(await test.sessions.authenticate(first.accessToken)).toBeUndefined()
    expect(await test.sessions.authenticate(second.accessToken)).toMatchObject({ device: 'LAPTOP' })
    expect((await test.sessions.device(alice, deviceId)).displayName).toBe('Laptop')
  })

  it('does not know tokens it did not give', async () => {
    expect(await test.sessions.authenticate('fm_nonsense')).toBeUndefined()
  })

  it('refuses what cannot be a device', async () => {
    const initialDisplayName = 'a\0b'
    await expect(test.sessions.login({ user: alice, initialDisplayName })).rejects.toMatchObject({
      errcode: 'M_INVALID_PARAM',
    })
  })
})

describe('the end of a session', () => {
  it('ends the device with its token', async () => {
    const { accessToken, deviceId } = await test.sessions.login({ user: alice })
    const who = await test.sessions.authenticate(accessToken)
    if (who) await test.sessions.logout(who)
    expect(await test.sessions.authenticate(accessToken)).toBeUndefined()
    await expect(test.sessions.device(alice, deviceId)).rejects.toMatchObject({
      errcode: 'M_NOT_FOUND',
    })
    expect(test.deletedDevices).toContainEqual({ user: alice, devices: [deviceId] })
  })

  it('ends all sessions but one', async () => {
    const user = await test.accounts.register({ localpart: 'many' })
    const kept = await test.sessions.login({ user })
    const other = await test.sessions.login({ user })
    await test.sessions.logoutAll(user, kept.deviceId)
    expect(await test.sessions.authenticate(kept.accessToken)).toBeDefined()
    expect(await test.sessions.authenticate(other.accessToken)).toBeUndefined()
    expect((await test.sessions.devices(user)).map((device) => device.deviceId)).toEqual([
      kept.deviceId,
    ])
  })

  it('is known to another process that had the token cached', async () => {
    const log = await openTestLog(test.database.db)
    const elsewhere = createSessions({
      db: test.database.db,
      log: log.writer,
      tail: log.tail,
      clock: test.clock,
      random: systemRandom,
      deviceLists: { deleted: async () => [], renamed: async () => [] },
    })
    const { accessToken, deviceId } = await test.sessions.login({ user: alice })
    expect(await elsewhere.authenticate(accessToken)).toBeDefined()
    await test.sessions.deleteDevices(alice, [deviceId])
    await log.tail.reached(test.log.tail.position, 5_000)
    expect(await elsewhere.authenticate(accessToken)).toBeUndefined()
    await elsewhere[Symbol.asyncDispose]()
    await log[Symbol.asyncDispose]()
  })
})

describe('a restriction', () => {
  it('is in force in other processes, refuses new tokens, and can be taken back', async () => {
    const carol = await test.accounts.register({ localpart: 'carol' })
    const log = await openTestLog(test.database.db)
    const elsewhere = createSessions({
      ...{ db: test.database.db, log: log.writer, tail: log.tail, clock: test.clock },
      random: systemRandom,
      deviceLists: { deleted: async () => [], renamed: async () => [] },
    })
    const session = await test.sessions.login({ user: carol, refreshToken: true })
    const there = async () => {
      await log.tail.reached(test.log.tail.position, 5_000)
      return (await elsewhere.authenticate(session.accessToken))?.restriction
    }
    expect(await there()).toBeUndefined()
    await test.accounts.restrict(carol, { suspended: true })
    expect(await there()).toBe('suspended')
    await test.accounts.restrict(carol, { locked: true })
    expect(await there()).toBe('locked')
    const refused = { errcode: 'M_USER_LOCKED', fields: { soft_logout: true } }
    await expect(test.sessions.login({ user: carol })).rejects.toMatchObject(refused)
    const { refreshToken = '' } = session
    await expect(test.sessions.refresh(refreshToken)).rejects.toMatchObject(refused)
    await test.accounts.restrict(carol, { locked: false })
    expect(await there()).toBe('suspended')
    await test.accounts.restrict(carol, { suspended: false })
    expect(await there()).toBeUndefined()
    await elsewhere[Symbol.asyncDispose]()
    await log[Symbol.asyncDispose]()
  })
})

describe('refreshing', () => {
  it('lets the old tokens live until a new one is used', async () => {
    const first = await test.sessions.login({ user: alice, refreshToken: true })
    expect(first.expiresInMs).toBe(300_000)
    const second = await test.sessions.refresh(first.refreshToken ?? '')
    expect(await test.sessions.authenticate(first.accessToken)).toBeDefined()
    expect(await test.sessions.authenticate(second.accessToken)).toMatchObject({
      device: first.deviceId,
    })
    expect(await test.sessions.authenticate(first.accessToken)).toBeUndefined()
    await expect(test.sessions.refresh(first.refreshToken ?? '')).rejects.toMatchObject({
      errcode: 'M_UNKNOWN_TOKEN',
    })
  })

  it('answers a repetition with new tokens and ends those it gave before', async () => {
    const first = await test.sessions.login({ user: alice, refreshToken: true })
    const lost = await test.sessions.refresh(first.refreshToken ?? '')
    const again = await test.sessions.refresh(first.refreshToken ?? '')
    expect(await test.sessions.authenticate(lost.accessToken)).toBeUndefined()
    expect(await test.sessions.authenticate(again.accessToken)).toBeDefined()
    const next = await test.sessions.refresh(again.refreshToken ?? '')
    expect(await test.sessions.authenticate(next.accessToken)).toBeDefined()
  })

  it('asks for a refresh once the access token has expired', async () => {
    const { accessToken, refreshToken } = await test.sessions.login({
      user: alice,
      refreshToken: true,
    })
    await test.clock.advance(300_001)
    await expect(test.sessions.authenticate(accessToken)).rejects.toMatchObject({
      errcode: 'M_UNKNOWN_TOKEN',
      fields: { soft_logout: true },
    })
    const fresh = await test.sessions.refresh(refreshToken ?? '')
    expect(await test.sessions.authenticate(fresh.accessToken)).toBeDefined()
  })
})

describe('devices', () => {
  it('are renamed, and remember when they were seen', async () => {
    const { accessToken, deviceId } = await test.sessions.login({ user: alice })
    const who = await test.sessions.authenticate(accessToken)
    await test.sessions.renameDevice(alice, deviceId, 'Kitchen')
    if (who) test.sessions.seen(who, { ip: '127.0.0.9', agent: 'test' })
    const seen = {
      deviceId,
      displayName: 'Kitchen',
      lastSeenIp: '127.0.0.9',
      lastSeenTs: test.clock.now(),
    }
    expect(await test.sessions.device(alice, deviceId)).toEqual(seen)
    await test.clock.advance(60_000)
    await expect.poll(() => test.sessions.device(alice, deviceId)).toEqual(seen)
    const names = await test.sessions.deviceNames([alice])
    expect(names.get(alice)?.get(deviceId)).toBe('Kitchen')
  })

  it('that do not exist are not renamed', async () => {
    const unknown = parseDeviceId('UNKNOWN')
    await expect(test.sessions.renameDevice(alice, unknown, 'x')).rejects.toMatchObject({
      errcode: 'M_NOT_FOUND',
    })
    await test.sessions.deleteDevices(alice, [unknown])
  })
})
