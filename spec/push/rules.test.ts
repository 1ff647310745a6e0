import { describe, expect, it } from 'vitest'
import { MatrixError } from '../errors.ts'
import { defaultRules } from './predefined.ts'
import {
  deleteRule,
  effectiveActions,
  getRule,
  mergeRules,
  noPushRules,
  type PushRuleBody,
  type PushRuleKind,
  type PushRulePlace,
  pushRuleBodySchema,
  pushRulesetSchema,
  pushRulesMax,
  putRule,
  setRuleActions,
  setRuleEnabled,
  type UserPushRules,
  userPushRulesSchema,
} from './rules.ts'

const alice = '@alice:a.example'
const notify: PushRuleBody = { actions: ['notify'] }
const override = (ruleId: string) => ({ kind: 'override' as const, ruleId })

function put(user: UserPushRules, ruleId: string, place: PushRulePlace = {}, body = notify) {
  return putRule(user, override(ruleId), body, place)
}

function ids(user: UserPushRules, kind: PushRuleKind = 'override'): string[] {
  return mergeRules(alice, user)[kind].map((rule) => rule.rule_id)
}

/** The user's own, which stand between the master rule and the other predefined ones. */
function ownIds(user: UserPushRules): string[] {
  return ids(user).filter((id) => !id.startsWith('.'))
}

function errorOf(action: () => unknown): { errcode: string; status: number } | undefined {
  try {
    action()
  } catch (error) {
    if (error instanceof MatrixError) return { errcode: error.errcode, status: error.status }
    throw error
  }
  return undefined
}

describe('the predefined rules', () => {
  it('are those of the specification, in its order', () => {
    expect(ids(noPushRules)).toEqual([
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
      '.org.matrix.msc3930.rule.poll_response',
    ])
    expect(ids(noPushRules, 'underride')).toEqual([
      '.m.rule.call',
      '.m.rule.encrypted_room_one_to_one',
      '.m.rule.room_one_to_one',
      '.m.rule.message',
      '.m.rule.encrypted',
      '.org.matrix.msc3930.rule.poll_start_one_to_one',
      '.org.matrix.msc3930.rule.poll_start',
      '.org.matrix.msc3930.rule.poll_end_one_to_one',
      '.org.matrix.msc3930.rule.poll_end',
    ])
    for (const kind of ['content', 'room', 'sender'] as const)
      expect(ids(noPushRules, kind)).toEqual([])
  })

  it('have the shape that clients expect, and name the user where they are about one', () => {
    const rules = mergeRules(alice, noPushRules)
    expect(pushRulesetSchema.parse(rules)).toEqual(rules)
    expect(getRule(rules, override('.m.rule.is_user_mention'))).toEqual({
      rule_id: '.m.rule.is_user_mention',
      default: true,
      enabled: true,
      conditions: [
        { kind: 'event_property_contains', key: 'content.m\\.mentions.user_ids', value: alice },
      ],
      actions: ['notify', { set_tweak: 'sound', value: 'default' }, { set_tweak: 'highlight' }],
    })
    expect(getRule(rules, override('.m.rule.master'))).toMatchObject({
      enabled: false,
      actions: [],
    })
  })

  it('are shared between users where they name none', () => {
    expect(defaultRules(alice).underride).toBe(defaultRules('@bob:b.example').underride)
  })

  it('can be disabled and given other actions, and not be removed', () => {
    const name = { kind: 'underride' as const, ruleId: '.m.rule.message' }
    const quiet = setRuleActions(noPushRules, name, ['dont_notify'])
    expect(getRule(mergeRules(alice, quiet), name)).toMatchObject({
      ...{ actions: ['dont_notify'], enabled: true },
    })
    const off = setRuleEnabled(quiet, name, false)
    expect(getRule(mergeRules(alice, off), name)).toMatchObject({
      ...{ actions: ['dont_notify'], enabled: false },
    })
    expect(userPushRulesSchema.parse(JSON.parse(JSON.stringify(off)))).toEqual(off)
    expect(errorOf(() => deleteRule(off, name))).toEqual({ errcode: 'M_NOT_FOUND', status: 404 })
  })
})

describe('a rule of the user’s own', () => {
  it('comes first of its kind, after the master rule, and is enabled', () => {
    const user = put(put(noPushRules, 'one'), 'two')
    expect(ids(user).slice(0, 4)).toEqual([
      '.m.rule.master',
      'two',
      'one',
      '.m.rule.suppress_notices',
    ])
    expect(getRule(mergeRules(alice, user), override('one'))).toEqual({
      rule_id: 'one',
      default: false,
      enabled: true,
      actions: ['notify'],
      conditions: [],
    })
  })

  it('goes right above `before` and right below `after`', () => {
    const user = ['c', 'b', 'a'].reduce((all, id) => put(all, id), noPushRules)
    expect(ownIds(put(user, 'x', { before: 'b' }))).toEqual(['a', 'x', 'b', 'c'])
    expect(ownIds(put(user, 'x', { after: 'b' }))).toEqual(['a', 'b', 'x', 'c'])
    expect(ownIds(put(user, 'x', { before: 'c', after: 'a' }))).toEqual(['a', 'b', 'x', 'c'])
    expect(ownIds(put(user, 'a', { after: 'c' }))).toEqual(['b', 'c', 'a'])
    expect(ownIds(put(user, 'c', { before: 'a' }))).toEqual(['c', 'a', 'b'])
  })

  it.each(['unknown', '.m.rule.master', 'x'])('cannot be placed by %s', (anchor) => {
    expect(errorOf(() => put(noPushRules, 'x', { before: anchor }))).toEqual({
      errcode: 'M_UNKNOWN',
      status: 400,
    })
    expect(errorOf(() => put(noPushRules, 'x', { after: anchor }))).toEqual({
      errcode: 'M_UNKNOWN',
      status: 400,
    })
  })

  it('is replaced where it stands, as enabled as it was', () => {
    const user = setRuleEnabled(put(put(noPushRules, 'b'), 'a'), override('b'), false)
    const changed = put(
      user,
      'b',
      {},
      { actions: [], conditions: [{ kind: 'contains_display_name' }] },
    )
    expect(ownIds(changed)).toEqual(['a', 'b'])
    expect(getRule(mergeRules(alice, changed), override('b'))).toMatchObject({
      enabled: false,
      actions: [],
    })
  })

  it('can be removed', () => {
    expect(ownIds(deleteRule(put(put(noPushRules, 'b'), 'a'), override('b')))).toEqual(['a'])
  })

  it('has the same id in different kinds without harm', () => {
    const user = putRule(put(noPushRules, 'a'), { kind: 'room', ruleId: 'a' }, notify)
    expect(ids(deleteRule(user, override('a')), 'room')).toEqual(['a'])
  })

  it('has conditions or a pattern only where its kind has them', () => {
    const body = { actions: [], conditions: [{ kind: 'contains_display_name' }], pattern: 'cake' }
    const made = (kind: PushRuleKind) =>
      putRule(noPushRules, { kind, ruleId: 'x' }, body).own[kind]?.[0]
    expect(made('content')).toMatchObject({ pattern: 'cake' })
    expect(made('content')).not.toHaveProperty('conditions')
    expect(made('room')).not.toHaveProperty('pattern')
    expect(made('sender')).not.toHaveProperty('conditions')
    expect(made('underride')).toMatchObject({ conditions: body.conditions })
  })

  it('keeps the historical actions for its owner, to whom they do nothing', () => {
    const body = { actions: ['coalesce', 'notify', 'dont_notify'] as const }
    const user = put(noPushRules, 'x', {}, { actions: [...body.actions] })
    const { actions } = getRule(mergeRules(alice, user), override('x'))
    expect(actions).toEqual(body.actions)
    expect(effectiveActions(actions)).toEqual(['notify'])
  })

  it.each(['', '.own', '.m.rule.master', 'a/b', 'a\\b'])('cannot be named %j', (ruleId) => {
    expect(errorOf(() => put(noPushRules, ruleId))).toEqual({
      errcode: 'M_INVALID_PARAM',
      status: 400,
    })
  })

  it('on content needs a pattern', () => {
    const name = { kind: 'content' as const, ruleId: 'x' }
    expect(errorOf(() => putRule(noPushRules, name, notify))?.errcode).toBe('M_MISSING_PARAM')
  })

  it('is of limited size, and one of a limited number', () => {
    const large = {
      ...notify,
      conditions: [{ kind: 'event_match', key: 'x', pattern: 'é'.repeat(500) }],
    }
    expect(errorOf(() => put(noPushRules, 'x', {}, large))?.errcode).toBe('M_TOO_LARGE')
    const [rule] = put(noPushRules, 'x').own.override ?? []
    if (rule === undefined) throw new Error('the rule is missing')
    const many = Array.from({ length: pushRulesMax }, (_, at) => ({ ...rule, rule_id: `${at}` }))
    const full = { own: { room: many }, changed: {} }
    expect(errorOf(() => put(full, 'x'))?.errcode).toBe('M_TOO_LARGE')
    expect(errorOf(() => putRule(full, { kind: 'room', ruleId: '5' }, notify))).toBeUndefined()
  })
})

describe('a rule that does not exist', () => {
  it('cannot be read, changed or removed', () => {
    const missing = { errcode: 'M_NOT_FOUND', status: 404 }
    for (const ruleId of ['x', '.x', 'constructor']) {
      expect(errorOf(() => getRule(mergeRules(alice, noPushRules), override(ruleId)))).toEqual(
        missing,
      )
      expect(errorOf(() => setRuleEnabled(noPushRules, override(ruleId), true))).toEqual(missing)
      expect(errorOf(() => setRuleActions(noPushRules, override(ruleId), []))).toEqual(missing)
      expect(errorOf(() => deleteRule(noPushRules, override(ruleId)))).toEqual(missing)
    }
  })
})

describe('what a client sends', () => {
  it.each([
    [{ actions: ['notify', { set_tweak: 'sound', value: 'cake.wav' }] }, true],
    [{ actions: [], conditions: [{ kind: 'org.example.unknown', extra: 1 }] }, true],
    [{ actions: ['shout'] }, false],
    [{ actions: [{ sound: 1 }] }, false],
    [{ actions: 'notify' }, false],
    [{}, false],
    [{ actions: [], conditions: [{ key: 'x' }] }, false],
    [{ actions: [], pattern: 5 }, false],
  ])('%j is a rule: %s', (body, expected) => {
    expect(pushRuleBodySchema.safeParse(body).success).toBe(expected)
  })
})
