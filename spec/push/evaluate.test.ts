import { describe, expect, it } from 'vitest'
import {
  alice,
  bob,
  carol,
  type Draft,
  furnishedRoom,
} from '../../conformance-tests/properties/room-builder.ts'
import { powerLevelsOf } from '../room/power-levels.ts'
import { evaluate, type PushContext, type PushVerdict } from './evaluate.ts'
import {
  mergeRules,
  noPushRules,
  type PushCondition,
  type PushRuleName,
  putRule,
  setRuleEnabled,
  type UserPushRules,
} from './rules.ts'

const room = furnishedRoom('11', { joined: [bob, carol] })
const context: PushContext = {
  userId: alice,
  displayName: 'Alice M. (she/her)',
  memberCount: 3,
  powerLevels: powerLevelsOf(room.rules, room.create, room.main.read('m.room.power_levels', '')),
}

function message(body: unknown, more: object = {}): Draft {
  const content = JSON.parse(JSON.stringify({ msgtype: 'm.text', body, ...more }))
  return { type: 'm.room.message', sender: bob, content }
}

function verdict(draft: Draft, user = noPushRules, change: Partial<PushContext> = {}): PushVerdict {
  const asked = { ...context, ...change }
  return evaluate(mergeRules(asked.userId, user), room.main.fork().send(draft), asked)
}

/** Does an override rule of this one condition match. */
function holds(condition: PushCondition, draft: Draft, change: Partial<PushContext> = {}): boolean {
  const user = putRule(
    noPushRules,
    { kind: 'override', ruleId: 'mine' },
    { actions: [], conditions: [condition] },
  )
  return verdict(draft, user, change).ruleId === 'mine'
}

describe('rules about threads', () => {
  const rule = (which: string): PushRuleName => ({
    ...{ kind: 'postcontent', ruleId: `.io.element.msc4306.rule.${which}_thread` },
  })
  const on = setRuleEnabled(
    setRuleEnabled(noPushRules, rule('subscribed'), true),
    rule('unsubscribed'),
    true,
  )
  const muted = putRule(on, { kind: 'room', ruleId: room.create.roomId }, { actions: [] })

  it('are off until they are turned on', () => {
    expect(verdict(message('hi'), noPushRules, { isSubscribed: false }).ruleId).toBe(
      '.m.rule.message',
    )
  })

  it('silence threads that the user did not subscribe to, but for mentions', () => {
    expect(verdict(message('hi'), on, { isSubscribed: false }).notify).toBe(false)
    const mention = message('hi', { 'm.mentions': { user_ids: [alice] } })
    expect(verdict(mention, on, { isSubscribed: false })).toMatchObject({ highlight: true })
  })

  it('tell of threads that the user subscribed to, whatever is set for the room', () => {
    expect(verdict(message('hi'), muted, { isSubscribed: true }).notify).toBe(true)
    expect(verdict(message('hi'), muted).notify).toBe(false)
  })

  it('cannot be made by users', () => {
    expect(() =>
      putRule(noPushRules, { kind: 'postcontent', ruleId: 'mine' }, { actions: [] }),
    ).toThrow('predefined rules only')
  })
})

describe('the predefined rules', () => {
  it.each<[string, Draft, string | undefined, boolean, boolean]>([
    ['a message', message('hi'), '.m.rule.message', true, false],
    ['a notice', message('hi', { msgtype: 'm.notice' }), '.m.rule.suppress_notices', false, false],
    [
      'an encrypted event',
      { type: 'm.room.encrypted', sender: bob },
      '.m.rule.encrypted',
      true,
      false,
    ],
    ['a call', { type: 'm.call.invite', sender: bob }, '.m.rule.call', true, false],
    [
      'a mention',
      message('hi', { 'm.mentions': { user_ids: [carol, alice] } }),
      '.m.rule.is_user_mention',
      true,
      true,
    ],
    [
      'a mention of another',
      message('hi', { 'm.mentions': { user_ids: [carol] } }),
      '.m.rule.message',
      true,
      false,
    ],
    [
      'a mention in a wrong shape',
      message('hi', { 'm.mentions': { user_ids: alice } }),
      '.m.rule.message',
      true,
      false,
    ],
    [
      'a room mention without the power',
      message('hi', { 'm.mentions': { room: true } }),
      '.m.rule.message',
      true,
      false,
    ],
    [
      'an invite of the user',
      { type: 'm.room.member', sender: bob, stateKey: alice, content: { membership: 'invite' } },
      '.m.rule.invite_for_me',
      true,
      false,
    ],
    [
      'an invite of another',
      { type: 'm.room.member', sender: bob, stateKey: carol, content: { membership: 'invite' } },
      '.m.rule.member_event',
      false,
      false,
    ],
    [
      'a tombstone',
      { type: 'm.room.tombstone', sender: bob, stateKey: '' },
      '.m.rule.tombstone',
      true,
      true,
    ],
    [
      'a tombstone that is no state',
      { type: 'm.room.tombstone', sender: bob },
      undefined,
      false,
      false,
    ],
    ['a reaction', { type: 'm.reaction', sender: bob }, '.m.rule.reaction', false, false],
    [
      'a server ACL',
      { type: 'm.room.server_acl', sender: bob, stateKey: '' },
      '.m.rule.room.server_acl',
      false,
      false,
    ],
    [
      'an edit',
      message('* hi', { 'm.relates_to': { rel_type: 'm.replace' } }),
      '.m.rule.suppress_edits',
      false,
      false,
    ],
    [
      'an edit that mentions',
      message('* hi', {
        'm.relates_to': { rel_type: 'm.replace' },
        'm.mentions': { user_ids: [alice] },
      }),
      '.m.rule.is_user_mention',
      true,
      true,
    ],
    ['a topic', { type: 'm.room.topic', sender: bob, stateKey: '' }, undefined, false, false],
  ])('of %s', (_, draft, ruleId, notify, highlight) => {
    const { actions: _actions, ...answer } = verdict(draft)
    expect(answer).toEqual({ notify, highlight, ...(ruleId === undefined ? {} : { ruleId }) })
  })

  it('let those mention the room who have the power', () => {
    const mention = message('hi', { 'm.mentions': { room: true } })
    const asked = verdict({ ...mention, sender: alice }, noPushRules, { userId: carol })
    expect(asked).toMatchObject({
      ruleId: '.m.rule.is_room_mention',
      notify: true,
      highlight: true,
    })
  })

  it('sound in rooms of two', () => {
    expect(verdict(message('hi'), noPushRules, { memberCount: 2 })).toEqual({
      notify: true,
      highlight: false,
      actions: ['notify', { set_tweak: 'sound', value: 'default' }],
      ruleId: '.m.rule.room_one_to_one',
    })
  })

  it('are all off under the master rule', () => {
    const off = setRuleEnabled(noPushRules, { kind: 'override', ruleId: '.m.rule.master' }, true)
    expect(verdict(message('hi'), off)).toMatchObject({ notify: false, ruleId: '.m.rule.master' })
  })

  it('notify nobody of their own events', () => {
    expect(verdict(message('hi'), noPushRules, { userId: bob })).toEqual({
      notify: false,
      highlight: false,
      actions: [],
    })
  })
})

describe('rules of each kind', () => {
  const mine = (name: PushRuleName, user: UserPushRules = noPushRules) =>
    putRule(user, name, { actions: [], pattern: 'cake' })

  it('are tried in the order override, content, room, sender, underride', () => {
    const names: PushRuleName[] = [
      { kind: 'underride', ruleId: 'u' },
      { kind: 'sender', ruleId: bob },
      { kind: 'room', ruleId: room.create.roomId },
      { kind: 'content', ruleId: 'c' },
      { kind: 'override', ruleId: 'o' },
    ]
    let user = noPushRules
    for (const name of names) {
      user = mine(name, user)
      expect(verdict(message('cake'), user).ruleId).toBe(name.ruleId)
    }
    for (const name of names.toReversed()) {
      expect(verdict(message('cake'), user).ruleId).toBe(name.ruleId)
      user = setRuleEnabled(user, name, false)
    }
    expect(verdict(message('cake'), user).ruleId).toBe('.m.rule.message')
  })

  it('of other rooms, other senders and other words do not match', () => {
    let user = mine({ kind: 'room', ruleId: '!other:a.example' })
    user = mine({ kind: 'sender', ruleId: carol }, user)
    user = mine({ kind: 'content', ruleId: 'c' }, user)
    expect(verdict(message('tea'), user).ruleId).toBe('.m.rule.message')
  })

  it('highlight only when they notify, and not when the tweak is false', () => {
    const highlightOf = (actions: Parameters<typeof putRule>[2]['actions']) =>
      verdict(message('x'), putRule(noPushRules, { kind: 'override', ruleId: 'o' }, { actions }))
    expect(highlightOf(['notify', { set_tweak: 'highlight' }]).highlight).toBe(true)
    expect(highlightOf(['notify', { set_tweak: 'highlight', value: true }]).highlight).toBe(true)
    expect(highlightOf(['notify', { set_tweak: 'highlight', value: false }]).highlight).toBe(false)
    expect(highlightOf([{ set_tweak: 'highlight' }])).toMatchObject({
      highlight: false,
      notify: false,
    })
  })
})

describe('event_match', () => {
  const matches = (key: string, pattern: string, draft: Draft) =>
    holds({ kind: 'event_match', key, pattern }, draft)

  it.each([
    ['cake', 'I like CAKE!', true],
    ['cake', 'cakes', false],
    ['cake', 'pan-cake', true],
    ['cake', 'pan_cake', false],
    ['cake*', 'cakes', true],
    ['*cake', 'pancake', true],
    ['ex*ple', 'An example event.', true],
    ['ex*ple', 'exple', true],
    ['ex*ple', 'An exciting triple-whammy', true],
    ['ex*ple', 'examples', false],
    ['c?ke', 'coke', true],
    ['c?ke', 'ckke or ck', true],
    ['c?ke', 'cke', false],
    ['c?ke', 'a c🎂ke b', true],
    ['?', 'ab', false],
    ['@room', 'hey @room', true],
    ['@room', 'hey @roomy', false],
    ['über', 'ÜBER alles', true],
    ['a*b*c', 'c b a b c', true],
    ['a*b*c', 'a c b', false],
    ['cake', 'cakes cakery cake', true],
    ['.*', 'anything', false],
    ['(a+)+$', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', false],
    ['*', '', true],
  ])('finds %j in the body %j: %s', (pattern, body, expected) => {
    expect(matches('content.body', pattern, message(body))).toBe(expected)
  })

  it.each([
    ['content.topic', 'lunc?*', { topic: 'Lunch plans' }, true],
    ['content.topic', 'lunc?*', { topic: 'LUNCH' }, true],
    ['content.topic', 'lunc?*', { topic: ' lunch' }, false],
    ['content.topic', 'lunc?*', { topic: 'lunc' }, false],
    ['content.topic', '*', { topic: null }, false],
    ['content.topic', '*', {}, false],
    ['content.topic', '*', { topic: 5 }, false],
    ['content.topic', 'plans', { topic: 'Lunch plans' }, false],
    ['content.m\\.x.y', 'z', { 'm.x': { y: 'Z' } }, true],
    ['content.m.x.y', 'z', { 'm.x': { y: 'Z' } }, false],
    ['state_key', '', {}, true],
    ['sender', '@bob:*', {}, true],
    ['room_id', '!room:a.example', {}, true],
    ['event_id', '$mine', {}, true],
    ['content.constructor.name', '*', {}, false],
  ])('compares the whole of %s with %j in %j: %s', (key, pattern, content, expected) => {
    const draft = { type: 'm.room.topic', sender: bob, stateKey: '', content, id: 'mine' }
    expect(matches(key, pattern, draft)).toBe(expected)
  })

  it('does not match a state key that is absent', () => {
    expect(matches('state_key', '*', message('x'))).toBe(false)
  })

  it('gives up on patterns that would take all the time of the server', () => {
    const nasty = Array.from({ length: 200 }, (_, at) => ({ pattern: `${'a?'.repeat(200)}${at}` }))
    const user = nasty.reduce(
      (all, { pattern }, at) =>
        putRule(all, { kind: 'content', ruleId: `${at}` }, { actions: [], pattern }),
      noPushRules,
    )
    const started = performance.now()
    expect(verdict(message('a'.repeat(60_000)), user).ruleId).toBe('.m.rule.message')
    expect(performance.now() - started).toBeLessThan(5_000)
  })
})

describe('other conditions', () => {
  it.each([
    ['content.a', true, { a: true }, true],
    ['content.a', true, { a: 'true' }, false],
    ['content.a', true, { a: 1 }, false],
    ['content.a', null, { a: null }, true],
    ['content.a', null, {}, false],
    ['content.a', 5, { a: 5 }, true],
    ['content.a', 'X', { a: 'x' }, false],
    ['content.a', 'x', { a: ['x'] }, false],
  ])('event_property_is %s %j in %j: %s', (key, value, content, expected) => {
    expect(
      holds({ kind: 'event_property_is', key, value }, { type: 'x', sender: bob, content }),
    ).toBe(expected)
  })

  it.each([
    ['x', ['y', 'x'], true],
    ['x', ['xy'], false],
    ['x', 'x', false],
    [1, ['1'], false],
    [null, [null], true],
    ['x', [['x']], false],
  ])('event_property_contains %j in %j: %s', (value, list, expected) => {
    const draft = { type: 'x', sender: bob, content: { list } }
    expect(holds({ kind: 'event_property_contains', key: 'content.list', value }, draft)).toBe(
      expected,
    )
  })

  it.each([
    ['3', true],
    ['==3', true],
    ['==2', false],
    ['>2', true],
    ['>3', false],
    ['>=3', true],
    ['<3', false],
    ['<4', true],
    ['<=3', true],
    ['=3', false],
    ['three', false],
    ['', false],
    ['3 ', false],
  ])('room_member_count %j of three: %s', (is, expected) => {
    expect(holds({ kind: 'room_member_count', is }, message('x'))).toBe(expected)
  })

  it.each([
    ['hello alice m. (she/her)!', 'Alice M. (she/her)', true],
    ['hello alice', 'Alice M. (she/her)', false],
    ['halice', 'alice', false],
    ['a*b', 'a*b', true],
    ['axb', 'a*b', false],
    ['a?b', 'a?b', true],
    ['axb', 'a?b', false],
    ['hello', undefined, false],
    ['hello', '', false],
  ])('contains_display_name in %j of %j: %s', (body, displayName, expected) => {
    expect(holds({ kind: 'contains_display_name' }, message(body), { displayName })).toBe(expected)
  })

  it('sender_notification_permission follows the notification levels', () => {
    const condition = { kind: 'sender_notification_permission', key: 'room' }
    expect(holds(condition, message('x'))).toBe(false)
    expect(holds(condition, { ...message('x'), sender: alice }, { userId: carol })).toBe(true)
  })

  it.each<PushCondition>([
    { kind: 'org.example.unknown' },
    { kind: 'event_match', key: 'type' },
    { kind: 'event_match', pattern: '*' },
    { kind: 'event_property_is', key: 'content.nothing' },
    { kind: 'event_property_contains', key: 'content.list' },
    { kind: 'room_member_count' },
    { kind: 'sender_notification_permission' },
  ])('%j matches nothing', (condition) => {
    expect(holds(condition, { ...message('x'), sender: alice }, { userId: carol })).toBe(false)
  })
})
