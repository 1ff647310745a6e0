/** What a user has set for a room, copied to the room that replaces it: tags, push rules, whether it is a direct chat. */
import { MatrixError } from '../../spec/errors.ts'
import type { RoomId, UserId } from '../../spec/ids.ts'
import { isObject, type Json } from '../../spec/json.ts'
import type {
  PushRule,
  PushRuleBody,
  PushRuleKind,
  PushRuleName,
  PushRuleset,
} from '../../spec/push/rules.ts'
import type { AccountData } from './account-data.ts'

interface Needs {
  readonly accountData: Pick<AccountData, 'tags' | 'setTag' | 'get' | 'set'>
  readonly pushRules: {
    ruleset(user: UserId): Promise<PushRuleset>
    put(user: UserId, name: PushRuleName, body: PushRuleBody): Promise<void>
    setEnabled(user: UserId, name: PushRuleName, enabled: boolean): Promise<void>
  }
}

/** Rules of one user that are copied. */
const rulesMax = 100
const directType = 'm.direct'
const kindsWithConditions = ['override', 'underride'] as const

/** Copies what is not there yet; the second time it does nothing. */
export type CarryOver = (user: UserId, from: RoomId, to: RoomId) => Promise<void>

export function createCarryOver(needs: Needs): CarryOver {
  return async (user, from, to) => {
    await carryTags(needs, user, from, to)
    await carryDirect(needs, user, from, to)
    await carryPushRules(needs, user, from, to)
  }
}

async function carryTags({ accountData }: Needs, user: UserId, from: RoomId, to: RoomId) {
  const there = await accountData.tags(user, to)
  for (const [tag, content] of Object.entries(await accountData.tags(user, from))) {
    if (Object.hasOwn(there, tag)) continue
    await accountData.setTag(user, to, tag, isObject(content) ? content : {})
  }
}

async function carryDirect({ accountData }: Needs, user: UserId, from: RoomId, to: RoomId) {
  const chats = await accountData.get(user, directType).catch((error: unknown) => {
    if (error instanceof MatrixError) return {}
    throw error
  })
  const changed: Record<string, Json> = {}
  for (const [person, rooms] of Object.entries(chats)) {
    if (!Array.isArray(rooms) || !rooms.includes(from) || rooms.includes(to)) continue
    changed[person] = [...rooms, to]
  }
  if (Object.keys(changed).length === 0) return
  await accountData.set(user, directType, { ...chats, ...changed })
}

async function carryPushRules({ pushRules }: Needs, user: UserId, from: RoomId, to: RoomId) {
  const rules = await pushRules.ruleset(user)
  for (const { name, rule, body } of aboutRoom(rules, from, to).slice(0, rulesMax)) {
    if (rules[name.kind].some(({ rule_id: id }) => id === name.ruleId)) continue
    await pushRules.put(user, name, body)
    if (!rule.enabled) await pushRules.setEnabled(user, name, false)
  }
}

interface Copy {
  readonly name: PushRuleName
  readonly rule: PushRule
  readonly body: PushRuleBody
}

/** The user's own rules for one room, as they are for another; the least important first, since each goes to the top. */
function aboutRoom(rules: PushRuleset, from: RoomId, to: RoomId): Copy[] {
  const copies: Copy[] = []
  const add = (kind: PushRuleKind, ruleId: string, rule: PushRule) => {
    const conditions = rule.conditions?.map((one) =>
      isCondition(one, from) ? { ...one, pattern: to } : one,
    )
    const body = { actions: [...rule.actions], ...(conditions && { conditions }) }
    copies.unshift({ name: { kind, ruleId }, rule, body })
  }
  for (const rule of rules.room) if (rule.rule_id === from) add('room', to, rule)
  for (const kind of kindsWithConditions) {
    for (const rule of rules[kind]) {
      if (rule.default || !rule.conditions?.some((one) => isCondition(one, from))) continue
      const ruleId = rule.rule_id.includes(from)
        ? rule.rule_id.replaceAll(from, to)
        : `${rule.rule_id} ${to}`
      add(kind, ruleId, rule)
    }
  }
  return copies
}

function isCondition(
  condition: NonNullable<PushRule['conditions']>[number],
  room: RoomId,
): boolean {
  const { kind, key, pattern } = condition
  return kind === 'event_match' && key === 'room_id' && pattern === room
}
