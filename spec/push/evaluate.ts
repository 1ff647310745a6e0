import type { Pdu } from '../events/event.ts'
import { compileGlob } from '../glob.ts'
import type { Json } from '../json.ts'
import { parsePropertyPath, valueAtPath } from '../property-path.ts'
import { notificationLevel, type PowerLevels, userLevel } from '../room/power-levels.ts'
import {
  effectiveActions,
  type PushAction,
  type PushCondition,
  type PushRule,
  type PushRuleset,
} from './rules.ts'
import {
  type Budget,
  comparisonsMax,
  containsWord,
  matchesWords,
  wordPatternOf,
} from './word-match.ts'

/** What the conditions ask beside the event; memberships and levels are those of the room at the event. */
export interface PushContext {
  readonly userId: string
  /** The user's display name in the room. */
  readonly displayName?: string | undefined
  /** Joined members. */
  readonly memberCount: number
  readonly powerLevels: PowerLevels
  /** Is the user subscribed to the thread that the event is in; absent when it is in none. */
  readonly isSubscribed?: boolean
}

/** What is to be done about an event for a user. */
export interface PushVerdict {
  readonly notify: boolean
  readonly highlight: boolean
  /** Actions of the rule that matched. */
  readonly actions: readonly PushAction[]
  /** The rule that matched, if any. */
  readonly ruleId?: string
}

/**
 * Finds the first rule that matches the event and says what it asks for. The event's values are read once for all
 * users, and the rules of a ruleset are prepared once for all events: keep both objects where they are used again.
 * {@link https://spec.matrix.org/v1.19/client-server-api/#push-rules}
 */
export function evaluate(rules: PushRuleset, event: Pdu, context: PushContext): PushVerdict {
  // Nobody is notified of what they did themselves.
  if (event.sender === context.userId) return silence
  const subject: Subject = { facts: factsOf(event), context, budget: { spent: 0 } }
  const prepared = preparedOf(rules)
  const rule =
    firstMatch(prepared.override, subject) ??
    firstMatch(prepared.content, subject) ??
    firstMatch(prepared.postcontent, subject) ??
    prepared.room.get(event.roomId) ??
    prepared.sender.get(event.sender) ??
    firstMatch(prepared.underride, subject)
  return rule?.verdict ?? silence
}

const silence: PushVerdict = { notify: false, highlight: false, actions: [] }

/** Most properties of one event that are remembered; others are read each time. */
const valuesMax = 1_000

/** What was read of an event. */
interface Facts {
  readonly event: Pdu
  readonly values: Map<string, Json | undefined>
  readonly lowered: Map<string, string | undefined>
  /** Which of the rules that many users share matched. */
  readonly matched: Map<PreparedRule, boolean>
}

interface Subject {
  readonly facts: Facts
  readonly context: PushContext
  readonly budget: Budget
}

type Test = (subject: Subject) => boolean

interface PreparedRule {
  readonly tests: readonly Test[]
  readonly verdict: PushVerdict
  /** Do the tests ask for nothing but the event. */
  readonly isOfEvent: boolean
  /** Is it in more rulesets than one, as most predefined rules are; then its answer is kept with the event. */
  isShared: boolean
}

interface PreparedRuleset {
  readonly override: readonly PreparedRule[]
  readonly content: readonly PreparedRule[]
  readonly postcontent: readonly PreparedRule[]
  readonly room: ReadonlyMap<string, PreparedRule>
  readonly sender: ReadonlyMap<string, PreparedRule>
  readonly underride: readonly PreparedRule[]
}

const factsCache = new WeakMap<Pdu, Facts>()
const rulesetCache = new WeakMap<PushRuleset, PreparedRuleset>()
const ruleCache = new WeakMap<PushRule, PreparedRule>()

function firstMatch(rules: readonly PreparedRule[], subject: Subject): PreparedRule | undefined {
  for (const rule of rules) if (matchesRule(rule, subject)) return rule
  return undefined
}

function matchesRule(rule: PreparedRule, subject: Subject): boolean {
  if (!rule.isShared || !rule.isOfEvent) return runTests(rule, subject)
  const { matched } = subject.facts
  const known = matched.get(rule)
  if (known !== undefined) return known
  const answer = runTests(rule, subject)
  matched.set(rule, answer)
  return answer
}

function runTests({ tests }: PreparedRule, subject: Subject): boolean {
  for (const test of tests) if (!test(subject)) return false
  return true
}

function factsOf(event: Pdu): Facts {
  const facts = factsCache.get(event) ?? newFacts(event)
  factsCache.set(event, facts)
  return facts
}

function newFacts(event: Pdu): Facts {
  return { event, values: new Map(), lowered: new Map(), matched: new Map() }
}

function preparedOf(rules: PushRuleset): PreparedRuleset {
  const prepared = rulesetCache.get(rules) ?? {
    override: enabled(rules.override).map(prepare),
    content: enabled(rules.content).map(prepare),
    postcontent: enabled(rules.postcontent).map(prepare),
    room: byId(rules.room),
    sender: byId(rules.sender),
    underride: enabled(rules.underride).map(prepare),
  }
  rulesetCache.set(rules, prepared)
  return prepared
}

function enabled(rules: readonly PushRule[]): PushRule[] {
  return rules.filter((rule) => rule.enabled)
}

function byId(rules: readonly PushRule[]): Map<string, PreparedRule> {
  return new Map(enabled(rules).map((rule) => [rule.rule_id, prepare(rule)]))
}

function prepare(rule: PushRule): PreparedRule {
  const known = ruleCache.get(rule)
  if (known !== undefined) {
    known.isShared = true
    return known
  }
  const isOfEvent = (rule.conditions ?? []).every(({ kind }) => !kindsOfContext.has(kind))
  const prepared = { tests: testsOf(rule), verdict: verdictOf(rule), isOfEvent, isShared: false }
  ruleCache.set(rule, prepared)
  return prepared
}

function testsOf({ conditions, pattern }: PushRule): Test[] {
  // A content rule is a condition on the body.
  if (pattern !== undefined) return [eventMatch({ kind: 'event_match', key: bodyKey, pattern })]
  return (conditions ?? []).map(testOf)
}

function verdictOf({ actions: given, rule_id: ruleId }: PushRule): PushVerdict {
  const actions = effectiveActions(given)
  const notify = actions.includes('notify')
  const highlight = actions.some(
    // A highlight without value is one.
    (action) =>
      typeof action === 'object' && action.set_tweak === 'highlight' && action.value !== false,
  )
  return { notify, highlight: notify && highlight, actions, ruleId }
}

/** Conditions that ask for more than the event. */
const kindsOfContext: ReadonlySet<string> = new Set([
  'contains_display_name',
  'room_member_count',
  'sender_notification_permission',
  'io.element.msc4306.thread_subscription',
])

/** Conditions that are not known, or lack what they need, match nothing. */
function testOf(condition: PushCondition): Test {
  switch (condition.kind) {
    case 'event_match':
      return eventMatch(condition)
    case 'event_property_is':
      return eventPropertyIs(condition)
    case 'event_property_contains':
      return eventPropertyContains(condition)
    case 'contains_display_name':
      return containsDisplayName
    case 'room_member_count':
      return roomMemberCount(condition)
    case 'sender_notification_permission':
      return senderNotificationPermission(condition)
    case 'io.element.msc4306.thread_subscription':
      return threadSubscription(condition)
    default:
      return never
  }
}

const never: Test = () => false

const bodyKey = 'content.body'

function eventMatch({ key, pattern }: PushCondition): Test {
  if (key === undefined || pattern === undefined) return never
  const path = parsePropertyPath(key)
  const lowered = pattern.toLowerCase()
  if (key === bodyKey) {
    const words = wordPatternOf(lowered)
    return ({ facts, budget }) => {
      const body = loweredAt(facts, key, path)
      return body !== undefined && matchesWords(words, body, budget)
    }
  }
  if (!/[*?]/.test(pattern)) return ({ facts }) => loweredAt(facts, key, path) === lowered
  const matches = compileGlob(lowered)
  const steps = lowered.includes('?') ? lowered.length : 1
  return ({ facts, budget }) => {
    const value = loweredAt(facts, key, path)
    if (value === undefined) return false
    budget.spent += value.length * steps
    return budget.spent <= comparisonsMax && matches(value)
  }
}

function eventPropertyIs({ key, value }: PushCondition): Test {
  if (key === undefined || value === undefined) return never
  const path = parsePropertyPath(key)
  return ({ facts }) => valueAt(facts, key, path) === value
}

function eventPropertyContains({ key, value }: PushCondition): Test {
  if (key === undefined || value === undefined) return never
  const path = parsePropertyPath(key)
  return ({ facts }) => {
    const list = valueAt(facts, key, path)
    return Array.isArray(list) && list.includes(value)
  }
}

function containsDisplayName({ facts, context, budget }: Subject): boolean {
  if (!context.displayName) return false
  const body = loweredAt(facts, bodyKey, ['content', 'body'])
  return body !== undefined && containsWord(context.displayName.toLowerCase(), body, budget)
}

function roomMemberCount({ is = '' }: PushCondition): Test {
  const [, operator = '==', digits] = /^(==|<=|>=|<|>)?([0-9]{1,15})$/.exec(is) ?? []
  if (digits === undefined) return never
  const wanted = Number(digits)
  switch (operator) {
    case '<':
      return ({ context }) => context.memberCount < wanted
    case '>':
      return ({ context }) => context.memberCount > wanted
    case '<=':
      return ({ context }) => context.memberCount <= wanted
    case '>=':
      return ({ context }) => context.memberCount >= wanted
    default:
      return ({ context }) => context.memberCount === wanted
  }
}

function senderNotificationPermission({ key }: PushCondition): Test {
  if (key === undefined) return never
  return ({ facts, context: { powerLevels } }) =>
    userLevel(powerLevels, facts.event.sender) >= notificationLevel(powerLevels, key)
}

/** {@link https://github.com/matrix-org/matrix-spec-proposals/pull/4306} */
function threadSubscription({ subscribed }: PushCondition): Test {
  if (subscribed === undefined) return never
  return ({ context }) => context.isSubscribed === subscribed
}

function valueAt(facts: Facts, key: string, path: readonly string[]): Json | undefined {
  const { event, values } = facts
  // Events of room version 3 on do not carry their id, and the create event of version 12 not its room's.
  if (key === 'event_id') return event.eventId
  if (key === 'room_id') return event.roomId
  const known = values.get(key)
  if (known !== undefined || values.has(key)) return known
  const value = valueAtPath(event.json, path)
  if (values.size < valuesMax) values.set(key, value)
  return value
}

/** The value in lower case; undefined when it is not a string. */
function loweredAt(facts: Facts, key: string, path: readonly string[]): string | undefined {
  const known = facts.lowered.get(key)
  if (known !== undefined || facts.lowered.has(key)) return known
  const value = valueAt(facts, key, path)
  const lowered = typeof value === 'string' ? value.toLowerCase() : undefined
  if (facts.lowered.size < valuesMax) facts.lowered.set(key, lowered)
  return lowered
}
