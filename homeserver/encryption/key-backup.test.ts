import { afterAll, beforeAll, expect, it } from 'vitest'
import { parseUserId } from '../../spec/ids.ts'
import { type TestDatabase, testDatabase } from '../database/test-database.ts'
import { createKeyBackup, type KeyBackup } from './key-backup.ts'

let test: TestDatabase
let backup: KeyBackup
beforeAll(async () => {
  test = await testDatabase()
  backup = createKeyBackup({ db: test.db })
})
afterAll(() => test[Symbol.asyncDispose]())

const session = (index: number, forwarded: number, verified: boolean, data = 'x') => ({
  first_message_index: index,
  forwarded_count: forwarded,
  is_verified: verified,
  session_data: { data },
})

it('counts versions up, and answers the newest that is not deleted', async () => {
  const user = parseUserId('@versions:here.test')
  await expect(backup.version(user)).rejects.toMatchObject({ errcode: 'M_NOT_FOUND' })
  expect(await backup.createVersion(user, 'a', { k: 1 })).toBe('1')
  expect(await backup.createVersion(user, 'a', { k: 2 })).toBe('2')
  expect(await backup.version(user)).toEqual({
    version: '2',
    algorithm: 'a',
    authData: { k: 2 },
    count: 0,
    etag: '0',
  })
  await backup.updateVersion(user, '2', 'a', { k: 3 })
  await expect(backup.updateVersion(user, '2', 'b', {})).rejects.toMatchObject({
    errcode: 'M_INVALID_PARAM',
  })
  expect((await backup.version(user, '2')).authData).toEqual({ k: 3 })
  await backup.deleteVersion(user, '2')
  expect((await backup.version(user)).version).toBe('1')
  await expect(backup.version(user, '2')).rejects.toMatchObject({ errcode: 'M_NOT_FOUND' })
  expect(await backup.createVersion(user, 'a', {})).toBe('3')
})

it('stores keys one by one, by room and all at once', async () => {
  const user = parseUserId('@keys:here.test')
  const version = await backup.createVersion(user, 'a', {})
  const room = '!a:here.test'
  expect(await backup.put(user, version, { room, session: 's1' }, session(1, 0, true))).toEqual({
    count: 1,
    etag: '1',
  })
  expect(
    await backup.put(user, version, { room }, { sessions: { s2: session(1, 0, true) } }),
  ).toEqual({ count: 2, etag: '2' })
  const rooms = { '!b:here.test': { sessions: { s3: session(1, 0, true) } } }
  expect(await backup.put(user, version, {}, { rooms })).toEqual({ count: 3, etag: '3' })
  expect(await backup.get(user, version, { room, session: 's1' })).toEqual(session(1, 0, true))
  expect(await backup.get(user, version, { room })).toEqual({
    sessions: { s1: session(1, 0, true), s2: session(1, 0, true) },
  })
  expect(await backup.get(user, version, {})).toMatchObject({ rooms })
  await expect(backup.get(user, version, { room, session: 'none' })).rejects.toMatchObject({
    errcode: 'M_NOT_FOUND',
  })
  expect(await backup.get(user, version, { room: '!none:here.test' })).toEqual({ sessions: {} })
  expect(await backup.delete(user, version, { room })).toEqual({ count: 1, etag: '4' })
  expect(await backup.delete(user, version, { room })).toEqual({ count: 1, etag: '4' })
  expect(await backup.delete(user, version, {})).toEqual({ count: 0, etag: '5' })
})

it.each([
  ['a verified one replaces an unverified one', session(0, 0, false), session(9, 9, true), true],
  [
    'an unverified one does not replace a verified one',
    session(9, 9, true),
    session(0, 0, false),
    false,
  ],
  ['a lower first index replaces', session(5, 0, true), session(4, 9, true), true],
  ['a higher first index does not', session(5, 5, true), session(6, 0, true), false],
  ['fewer forwards replace', session(5, 5, true), session(5, 4, true), true],
  ['the same does not', session(5, 5, true), session(5, 5, true, 'y'), false],
])('of two keys of a session, %s', async (name, stored, offered, replaces) => {
  const user = parseUserId(`@better${name.length}:here.test`)
  const version = await backup.createVersion(user, 'a', {})
  const part = { room: '!a:here.test', session: 's' }
  await backup.put(user, version, part, stored)
  expect(await backup.put(user, version, part, offered)).toEqual({
    count: 1,
    etag: replaces ? '2' : '1',
  })
  expect(await backup.get(user, version, part)).toEqual(replaces ? offered : stored)
})

it('refuses keys for a version that is not the current one', async () => {
  const user = parseUserId('@wrong:here.test')
  await backup.createVersion(user, 'a', {})
  await backup.createVersion(user, 'a', {})
  const put = (version: string) =>
    backup.put(user, version, { room: '!a:here.test', session: 's' }, session(1, 1, true))
  await expect(put('1')).rejects.toMatchObject({
    errcode: 'M_WRONG_ROOM_KEYS_VERSION',
    status: 403,
    fields: { current_version: '2' },
  })
  await expect(put('9')).rejects.toMatchObject({ errcode: 'M_NOT_FOUND' })
  await expect(put('x')).rejects.toMatchObject({ errcode: 'M_NOT_FOUND' })
})

it('names the part of a body that is wrong', async () => {
  const user = parseUserId('@bad:here.test')
  const version = await backup.createVersion(user, 'a', {})
  const bad = { errcode: 'M_BAD_JSON' }
  await expect(backup.put(user, version, {}, {})).rejects.toMatchObject(bad)
  await expect(
    backup.put(user, version, { room: '!a:here.test' }, { sessions: 5 }),
  ).rejects.toMatchObject(bad)
  const part = { room: '!a:here.test', session: 's' }
  await expect(
    backup.put(user, version, part, { ...session(1, 1, true), session_data: 'x' }),
  ).rejects.toMatchObject(bad)
  await expect(
    backup.put(user, version, part, { ...session(1, 1, true), first_message_index: -1 }),
  ).rejects.toMatchObject(bad)
})
