import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { type Client, inTimeline, login, register } from '../harness/client.ts'
import { joinedRoom, server } from '../harness/fixtures.ts'
import { path } from '../harness/http.ts'

const rules = '/_matrix/client/v3/pushrules'
const rule = z.looseObject({
  rule_id: z.string(),
  default: z.boolean(),
  enabled: z.boolean(),
  actions: z.array(z.unknown()),
})
const ruleset = z.object({
  global: z.object({
    override: z.array(rule),
    content: z.array(rule),
    room: z.array(rule),
    sender: z.array(rule),
    underride: z.array(rule),
  }),
})

const readRules = async (client: Client) =>
  ruleset.parse(await client.call('GET', `${rules}/`)).global

describe('push rules', () => {
  it('are there from the beginning', async () => {
    const alice = await register(server)
    const { override, underride, content, room, sender } = await readRules(alice)
    const ids = (list: { rule_id: string }[]) => list.map(({ rule_id: id }) => id)
    expect(ids(override)).toEqual(
      expect.arrayContaining([
        '.m.rule.master',
        '.m.rule.suppress_notices',
        '.m.rule.invite_for_me',
        '.m.rule.member_event',
        '.m.rule.is_user_mention',
        '.m.rule.is_room_mention',
        '.m.rule.tombstone',
        '.m.rule.reaction',
        '.m.rule.room.server_acl',
        '.m.rule.suppress_edits',
      ]),
    )
    expect(ids(override)[0]).toBe('.m.rule.master')
    expect(override[0]).toMatchObject({ enabled: false, default: true, actions: [] })
    expect(ids(underride)).toEqual(
      expect.arrayContaining([
        '.m.rule.call',
        '.m.rule.encrypted_room_one_to_one',
        '.m.rule.room_one_to_one',
        '.m.rule.message',
        '.m.rule.encrypted',
      ]),
    )
    expect(room).toEqual([])
    expect(sender).toEqual([])
    expect(content.every((one) => one.default)).toBe(true)
  })

  it('are in an initial sync', async () => {
    const alice = await register(server)
    const { account_data: data } = await alice.sync()
    const event = data.events.find(({ type }) => type === 'm.push_rules')
    expect(ruleset.parse(event?.content).global.override.length).toBeGreaterThan(5)
  })

  it('are made, read, switched, changed and deleted', async () => {
    const alice = await register(server)
    const where = path(`${rules}/global/content`, 'my rule')
    await alice.call('PUT', where, { body: { pattern: 'cake', actions: ['notify'] } })
    expect(await alice.call('GET', where)).toMatchObject({
      rule_id: 'my rule',
      pattern: 'cake',
      actions: ['notify'],
      enabled: true,
      default: false,
    })
    await alice.call('PUT', `${where}/enabled`, { body: { enabled: false } })
    expect(await alice.call('GET', `${where}/enabled`)).toEqual({ enabled: false })
    await alice.call('PUT', `${where}/actions`, { body: { actions: [] } })
    expect(await alice.call('GET', `${where}/actions`)).toEqual({ actions: [] })
    await alice.call('DELETE', where)
    expect(await alice.ask('GET', where)).toMatchObject({
      status: 404,
      body: { errcode: 'M_NOT_FOUND' },
    })
  })

  it('stand in the order that was asked for', async () => {
    const alice = await register(server)
    const put = (id: string, query: Record<string, string> = {}) =>
      alice.call('PUT', path(`${rules}/global/override`, id), {
        body: { conditions: [], actions: ['notify'] },
        query,
      })
    await put('b')
    await put('a', { before: 'b' })
    await put('c', { after: 'b' })
    const mine = (await readRules(alice)).override.filter((one) => !one.default)
    expect(mine.map(({ rule_id: id }) => id)).toEqual(['a', 'b', 'c'])
  })

  it('reach every device by sync', async () => {
    const alice = await register(server)
    const phone = await login(server, alice.userId)
    const { next_batch: since } = await phone.sync()
    await alice.call('PUT', path(`${rules}/global/override`, 'x'), {
      body: { conditions: [], actions: [] },
    })
    await phone.syncUntil(
      ({ account_data: data }) =>
        data.events.some(
          ({ type, content }) => type === 'm.push_rules' && JSON.stringify(content).includes('"x"'),
        ),
      { since },
    )
  })

  it('of the server cannot be deleted, but switched off', async () => {
    const alice = await register(server)
    const where = `${rules}/global/override/.m.rule.suppress_notices`
    expect((await alice.ask('DELETE', where)).status).toBeGreaterThanOrEqual(400)
    await alice.call('PUT', `${where}/enabled`, { body: { enabled: false } })
    expect(await alice.call('GET', `${where}/enabled`)).toEqual({ enabled: false })
  })

  it.each([
    ['a name that begins with a dot', '.mine', { conditions: [], actions: [] }],
    ['no actions', 'x', { conditions: [] }],
    ['actions that do not exist', 'x', { conditions: [], actions: ['dance'] }],
  ])('are refused with %s', async (_, id, body) => {
    const alice = await register(server)
    const answer = await alice.ask('PUT', path(`${rules}/global/override`, id), { body })
    expect(answer.status).toBe(400)
  })

  it('show the actions that were set, also the historical ones', async () => {
    const alice = await register(server)
    const where = path(`${rules}/global/sender`, alice.userId)
    await alice.call('PUT', where, { body: { actions: ['dont_notify'] } })
    const { sender } = await readRules(alice)
    expect(sender).toEqual([
      expect.objectContaining({
        rule_id: alice.userId,
        default: false,
        enabled: true,
        actions: ['dont_notify'],
      }),
    ])
  })

  it('tell of polls, and not of the answers to them', async () => {
    const alice = await register(server)
    const { override, underride } = await readRules(alice)
    const ofType = (name: string) => ({
      kind: 'event_match',
      key: 'type',
      pattern: `org.matrix.msc3381.poll.${name}`,
    })
    const inPairs = { kind: 'room_member_count', is: '2' }
    const sound = { set_tweak: 'sound', value: 'default' }
    const common = { default: true, enabled: true }
    const id = (name: string) => `.org.matrix.msc3930.rule.poll_${name}`
    const wanted = (name: string, conditions: object[], actions: unknown[]) =>
      expect.objectContaining({ ...common, rule_id: id(name), conditions, actions })
    expect(override).toContainEqual(wanted('response', [ofType('response')], []))
    for (const name of ['start', 'end']) {
      expect(underride).toContainEqual(wanted(name, [ofType(name)], ['notify']))
      expect(underride).toContainEqual(
        wanted(`${name}_one_to_one`, [inPairs, ofType(name)], ['notify', sound]),
      )
    }
  })

  it('that nobody made are not found', async () => {
    const alice = await register(server)
    for (const where of [
      `${rules}/global/override/none`,
      `${rules}/global/override/none/enabled`,
      `${rules}/global/sender/none/actions`,
    ]) {
      expect((await alice.ask('GET', where)).status).toBe(404)
    }
    const answer = await alice.ask('PUT', `${rules}/global/override/none/enabled`, {
      body: { enabled: true },
    })
    expect(answer.status).toBe(404)
  })
})

describe('unread counts', () => {
  it('grow with messages and fall with a receipt', async () => {
    const { alice, bob, room } = await joinedRoom()
    const first = await alice.sendText(room, 'one')
    await bob.call('POST', bob.room(room, 'receipt', 'm.read', first), { body: {} })
    await alice.sendText(room, 'two')
    const last = await alice.sendText(room, 'three')
    const counts = async (wanted: object) => {
      const answer = await bob.syncUntil(({ rooms }) => {
        const found = rooms.join[room]?.unread_notifications
        return Object.entries(wanted).every(([key, value]) => found?.[key] === value)
      })
      return answer.next_batch
    }
    const since = await counts({ notification_count: 2, highlight_count: 0 })
    await bob.call('POST', bob.room(room, 'receipt', 'm.read', last), { body: {} })
    await counts({ notification_count: 0 })
    expect(since).not.toBe('')
  })

  it('highlight a mention', async () => {
    const { alice, bob, room } = await joinedRoom()
    await alice.sendEvent(room, 'm.room.message', {
      msgtype: 'm.text',
      body: 'you there',
      'm.mentions': { user_ids: [bob.userId] },
    })
    await bob.syncUntil(
      ({ rooms }) => rooms.join[room]?.unread_notifications['highlight_count'] === 1,
    )
  })

  it('do not count one’s own messages', async () => {
    const { alice, room } = await joinedRoom()
    const id = await alice.sendText(room, 'mine')
    const answer = await alice.syncUntil(inTimeline(room, ({ event_id }) => event_id === id))
    expect(answer.rooms.join[room]?.unread_notifications['notification_count'] ?? 0).toBe(0)
  })
})
