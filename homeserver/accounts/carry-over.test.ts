import { beforeEach, expect, it } from 'vitest'
import { notFound } from '../../spec/errors.ts'
import { parseRoomId, parseUserId } from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import {
  mergeRules,
  noPushRules,
  putRule,
  setRuleEnabled,
  type UserPushRules,
} from '../../spec/push/rules.ts'
import { createCarryOver } from './carry-over.ts'

const alice = parseUserId('@alice:here.test')
const old = parseRoomId('!old:here.test')
const next = parseRoomId('!next:here.test')

/** One user's settings, in memory. */
let rules: UserPushRules
let tags: Map<string, JsonObject>
let direct: JsonObject | undefined
let writes = 0
beforeEach(() => {
  rules = noPushRules
  tags = new Map()
  direct = undefined
  writes = 0
})

const carryOver = createCarryOver({
  accountData: {
    tags: async (_, room) => tags.get(room) ?? {},
    async setTag(_, room, tag, content) {
      writes++
      tags.set(room, { ...tags.get(room), [tag]: content })
    },
    async get() {
      if (direct === undefined) throw notFound('account data')
      return direct
    },
    async set(_user, _type, content) {
      writes++
      direct = content
    },
  },
  pushRules: {
    ruleset: async () => mergeRules(alice, rules),
    async put(_, name, body) {
      writes++
      rules = putRule(rules, name, body)
    },
    async setEnabled(_, name, enabled) {
      rules = setRuleEnabled(rules, name, enabled)
    },
  },
})

const isRoom = (room: string) => ({ kind: 'event_match', key: 'room_id', pattern: room })

it('copies tags, direct chats and push rules of the old room, and does it once', async () => {
  tags.set(old, { 'm.favourite': { order: 0.5 }, 'u.work': {} })
  tags.set(next, { 'u.work': { order: 1 } })
  direct = { '@bob:here.test': [old], '@carol:here.test': ['!other:here.test'] }
  const body = { actions: ['dont_notify' as const] }
  rules = putRule(rules, { kind: 'room', ruleId: old }, body)
  rules = putRule(rules, { kind: 'room', ruleId: '!other:here.test' }, body)
  const conditions = [isRoom(old), { kind: 'contains_display_name' }]
  rules = putRule(rules, { kind: 'override', ruleId: old }, { ...body, conditions })
  rules = putRule(rules, { kind: 'underride', ruleId: 'mine' }, { ...body, conditions })
  rules = setRuleEnabled(rules, { kind: 'underride', ruleId: 'mine' }, false)

  await carryOver(alice, old, next)
  expect(tags.get(next)).toEqual({ 'm.favourite': { order: 0.5 }, 'u.work': { order: 1 } })
  expect(direct).toEqual({
    '@bob:here.test': [old, next],
    '@carol:here.test': ['!other:here.test'],
  })
  expect(rules.own.room?.map(({ rule_id: id }) => id).sort()).toEqual(
    [old, next, '!other:here.test'].sort(),
  )
  const moved = [isRoom(next), { kind: 'contains_display_name' }]
  expect(rules.own.override).toContainEqual(
    expect.objectContaining({ rule_id: next, conditions: moved, ...body }),
  )
  expect(rules.own.underride).toContainEqual(
    expect.objectContaining({ rule_id: `mine ${next}`, enabled: false, conditions: moved }),
  )

  const before = writes
  await carryOver(alice, old, next)
  expect(writes).toBe(before)
})

it('does nothing for somebody who has set nothing', async () => {
  await carryOver(alice, old, next)
  expect(writes).toBe(0)
})
