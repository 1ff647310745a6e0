import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseRoomId, parseUserId, type UserId } from '../../spec/ids.ts'
import { type TestAccounts, testAccounts } from './test-accounts.ts'

let test: TestAccounts
let alice: UserId
const room = parseRoomId('!room:here.test')
beforeAll(async () => {
  test = await testAccounts()
  alice = await test.accounts.register({ localpart: 'alice' })
})
afterAll(() => test[Symbol.asyncDispose]())

describe('a profile', () => {
  it('is empty, not missing, for a user without one', async () => {
    expect(await test.profiles.get(alice)).toEqual({})
    await expect(test.profiles.get(parseUserId('@nobody:here.test'))).rejects.toMatchObject({
      errcode: 'M_NOT_FOUND',
    })
  })

  it('holds any field, and carries name and avatar into rooms', async () => {
    await test.profiles.set(alice, 'displayname', 'Alice')
    await test.profiles.set(alice, 'm.tz', 'Europe/Vienna')
    await test.profiles.set(alice, 'org.example.pets', [{ name: 'Dinah' }])
    expect(await test.profiles.get(alice)).toEqual({
      displayname: 'Alice',
      'm.tz': 'Europe/Vienna',
      'org.example.pets': [{ name: 'Dinah' }],
    })
    expect(await test.profiles.field(alice, 'm.tz')).toBe('Europe/Vienna')
    expect(test.propagated).toEqual([{ user: alice, profile: { displayname: 'Alice' } }])
    await test.profiles.delete(alice, 'displayname')
    await expect(test.profiles.field(alice, 'displayname')).rejects.toMatchObject({
      errcode: 'M_NOT_FOUND',
    })
    await expect(test.profiles.field(alice, 'constructor')).rejects.toMatchObject({
      errcode: 'M_NOT_FOUND',
    })
    expect(test.propagated).toHaveLength(2)
  })

  it('refuses names and values that are none, and more than 64 KiB', async () => {
    await expect(test.profiles.set(alice, 'nodots', 'x')).rejects.toMatchObject({
      errcode: 'M_INVALID_PARAM',
    })
    await expect(test.profiles.set(alice, 'displayname', 5)).rejects.toMatchObject({
      errcode: 'M_BAD_JSON',
    })
    await expect(test.profiles.set(alice, `a.${'b'.repeat(254)}`, 1)).rejects.toMatchObject({
      errcode: 'M_KEY_TOO_LARGE',
    })
    await test.profiles.set(alice, 'org.example.a', 'x'.repeat(40_000))
    await expect(
      test.profiles.set(alice, 'org.example.b', 'x'.repeat(40_000)),
    ).rejects.toMatchObject({
      errcode: 'M_PROFILE_TOO_LARGE',
    })
    await test.profiles.set(alice, 'org.example.a', 'y'.repeat(60_000))
  })

  it('of another server is asked for', async () => {
    expect(await test.profiles.get(parseUserId('@bob:far.test'))).toEqual({
      displayname: 'Far away',
    })
  })
})

describe('account data', () => {
  it('is kept globally and by room, and told by the log', async () => {
    const before = test.log.tail.position
    await test.accountData.set(alice, 'org.example', { a: 1 })
    await test.accountData.setRoom(alice, room, 'org.example', { a: 2 })
    const middle = test.log.tail.position
    await test.accountData.set(alice, 'org.example', { a: 3 })
    expect(await test.accountData.get(alice, 'org.example')).toEqual({ a: 3 })
    expect(await test.accountData.getRoom(alice, room, 'org.example')).toEqual({ a: 2 })
    const changed = await test.accountData.changedSince(alice, before, test.log.tail.position)
    expect(changed).toEqual([
      { room, type: 'org.example', content: '{"a":2}', position: middle },
      { type: 'org.example', content: '{"a":3}', position: test.log.tail.position },
    ])
    expect(await test.accountData.changedSince(alice, middle, test.log.tail.position)).toHaveLength(
      1,
    )
  })

  it('always has the push rules, which only the server sets', async () => {
    const all = await test.accountData.all(alice)
    expect(all.find((datum) => datum.type === 'm.push_rules')?.content).toContain('.m.rule.master')
    expect(await test.accountData.get(alice, 'm.push_rules')).toHaveProperty('global.override')
    for (const type of ['m.push_rules', 'm.fully_read']) {
      await expect(test.accountData.set(alice, type, {})).rejects.toMatchObject({
        errcode: 'M_BAD_JSON',
        status: 405,
      })
    }
  })

  it('that was never set is not found, and what is too large is refused', async () => {
    await expect(test.accountData.get(alice, 'unset')).rejects.toMatchObject({
      errcode: 'M_NOT_FOUND',
    })
    await expect(
      test.accountData.set(alice, 'big', { x: 'x'.repeat(70_000) }),
    ).rejects.toMatchObject({
      errcode: 'M_TOO_LARGE',
    })
    await expect(test.accountData.set(alice, 'a\0b', {})).rejects.toMatchObject({
      errcode: 'M_INVALID_PARAM',
    })
  })

  it('keeps text that Postgres could not keep as JSON', async () => {
    const content = { nul: 'a\0b', half: '\ud800', big: 2 ** 53 - 1 }
    await test.accountData.set(alice, 'strange', content)
    expect(await test.accountData.get(alice, 'strange')).toEqual(content)
  })

  it('that is deleted is not found, and makes room when there is too much', async () => {
    const hoarder = await test.accounts.register({ localpart: 'hoarder' })
    const { accountData, database } = test
    await accountData.set(hoarder, 'deleted', { a: 1 })
    await accountData.delete(hoarder, 'deleted')
    await accountData.delete(hoarder, 'never there')
    await expect(accountData.get(hoarder, 'deleted')).rejects.toMatchObject({
      errcode: 'M_NOT_FOUND',
    })
    const types = async () => (await accountData.all(hoarder)).map(({ type }) => type)
    expect(await types()).toEqual(['m.push_rules'])
    await database.db`
      insert into account_data (user_id, type, content, position)
      select ${hoarder}, 'type ' || n, '{"a":1}', 1 from generate_series(1, 9999) n`
    await accountData.set(hoarder, 'one more', { a: 1 })
    const full = accountData.set(hoarder, 'too much', { a: 1 })
    await expect(full).rejects.toMatchObject({ errcode: 'M_TOO_LARGE' })
  })

  it('knows whom a user ignores, from the moment that is set', async () => {
    expect(await test.accountData.ignoredUsers(alice)).toEqual(new Set())
    await test.accountData.set(alice, 'm.ignored_user_list', {
      ignored_users: { '@troll:far.test': {}, nonsense: {} },
    })
    expect(await test.accountData.ignoredUsers(alice)).toEqual(new Set(['@troll:far.test']))
  })

  it('has tags, each of which survives the others being set at the same time', async () => {
    await Promise.all([
      test.accountData.setTag(alice, room, 'm.favourite', { order: 0.5 }),
      test.accountData.setTag(alice, room, 'u.work', {}),
    ])
    expect(await test.accountData.tags(alice, room)).toEqual({
      'm.favourite': { order: 0.5 },
      'u.work': {},
    })
    await test.accountData.deleteTag(alice, room, 'u.work')
    await test.accountData.deleteTag(alice, room, 'u.none')
    expect(await test.accountData.tags(alice, room)).toEqual({ 'm.favourite': { order: 0.5 } })
  })
})

describe('filters', () => {
  it('keep their id when they are stored again', async () => {
    const [first, second] = await Promise.all([
      test.accountData.createFilter(alice, { room: { timeline: { limit: 1 } } }),
      test.accountData.createFilter(alice, { room: { timeline: { limit: 2 } } }),
    ])
    expect(first).not.toBe(second)
    expect(await test.accountData.createFilter(alice, { room: { timeline: { limit: 1 } } })).toBe(
      first,
    )
    expect(await test.accountData.filter(alice, first)).toEqual({
      room: { timeline: { limit: 1 } },
    })
    for (const id of ['99', 'x', '-1', '1e5']) {
      await expect(test.accountData.filter(alice, id)).rejects.toMatchObject({
        errcode: 'M_NOT_FOUND',
      })
    }
  })
})
