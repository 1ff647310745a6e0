import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseDeviceId, parseUserId } from '../../spec/ids.ts'
import { type TestDatabase, testDatabase } from '../database/test-database.ts'
import { FakeClock } from '../platform/fake-clock.ts'
import { openTestLog } from '../stream/test-log.ts'
import { createPushers, type Pusher, type Pushers } from './pushers.ts'
import { quietPushing } from './test-pushing.ts'

let database: TestDatabase
let log: Awaited<ReturnType<typeof openTestLog>>
let pushers: Pushers
beforeAll(async () => {
  database = await testDatabase()
  log = await openTestLog(database.db)
  pushers = create()
})
afterAll(async () => {
  await log[Symbol.asyncDispose]()
  await database[Symbol.asyncDispose]()
})

const create = () =>
  createPushers({
    ...quietPushing,
    ...{ db: database.db, log: log.writer, tail: log.tail, clock: new FakeClock() },
    pushGateways: { accepts: (url) => url.startsWith('https:') },
  })
const pusher = (pushkey: string, more: Partial<Pusher> = {}): Pusher => ({
  appId: 'app',
  pushkey,
  kind: 'http',
  appDisplayName: 'App',
  deviceDisplayName: 'Phone',
  lang: 'en',
  data: { url: 'https://push.test/_matrix/push/v1/notify' },
  enabled: true,
  ...more,
})
const device = parseDeviceId('D')
const who = (name: string) => ({
  user: parseUserId(`@${name}:here.test`),
  ...{ device, guest: false, admin: false },
})

describe('pushers', () => {
  it('are kept by app and key, and taken over by the next user of a device', async () => {
    const [ann, ben] = [who('ann'), who('ben')]
    await pushers.set(ann, pusher('k1'), false)
    await pushers.set(ann, pusher('k1', { lang: 'de', profileTag: 'x' }), false)
    expect(await pushers.list(ann.user)).toEqual([
      { ...pusher('k1', { lang: 'de', profileTag: 'x' }), device, updatedAt: expect.any(Number) },
    ])
    await pushers.set(ben, pusher('k1'), true)
    expect(await pushers.list(ann.user)).toHaveLength(1)
    await pushers.set(ben, pusher('k1'), false)
    expect(await pushers.list(ann.user)).toHaveLength(0)
    await pushers.delete(ben.user, 'app', 'k1')
    expect(await pushers.list(ben.user)).toHaveLength(0)
  })

  it('are known to every process, with their users', async () => {
    const other = create()
    const cleo = who('cleo')
    expect([...(await other.users())]).not.toContain(cleo.user)
    expect(await other.list(cleo.user)).toEqual([])
    await pushers.set(cleo, pusher('k2'), false)
    expect([...(await other.users())]).toContain(cleo.user)
    expect(await other.list(cleo.user)).toHaveLength(1)
    expect([...(await create().users())]).toContain(cleo.user)
  })

  it.each([
    ['a long app id', { appId: 'x'.repeat(65) }, 'M_INVALID_PARAM'],
    ['a long key', { pushkey: 'x'.repeat(513) }, 'M_INVALID_PARAM'],
    ['another kind', { kind: 'pigeon' }, 'M_INVALID_PARAM'],
    ['no address', { data: {} }, 'M_MISSING_PARAM'],
    ['an address that is not for pushing', { data: { url: 'http://x' } }, 'M_INVALID_PARAM'],
    ['too much data', { data: { url: 'https://x', more: 'x'.repeat(20_000) } }, 'M_BAD_JSON'],
  ])('are refused with %s', async (_, more, errcode) => {
    const dan = who('dan')
    await expect(pushers.set(dan, pusher('k3', more), false)).rejects.toMatchObject({ errcode })
    expect(await pushers.list(dan.user)).toEqual([])
  })

  it('are not looked for under what the database cannot hold', async () => {
    const { user } = who('fay')
    for (const [app, key] of [
      ['a\0', 'k'],
      ['a', 'k\ud800'],
    ] as const) {
      await expect(pushers.delete(user, app, key)).rejects.toMatchObject({
        errcode: 'M_INVALID_PARAM',
      })
    }
  })

  it('are at most 100 of a user, of which each can be changed', async () => {
    const eve = who('eve')
    for (let n = 0; n < 100; n++) await pushers.set(eve, pusher(`many ${n}`), false)
    await expect(pushers.set(eve, pusher('one more'), false)).rejects.toMatchObject({
      errcode: 'M_LIMIT_EXCEEDED',
    })
    await pushers.set(eve, pusher('many 7', { lang: 'fr' }), false)
    expect(await pushers.list(eve.user)).toHaveLength(100)
  })
})
