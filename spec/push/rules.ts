import { z } from 'zod'
import { invalidParam, MatrixError, notFound } from '../errors.ts'
import { utf8Length } from '../ids.ts'
import type { Json } from '../json.ts'
import { defaultRules, masterRuleId } from './predefined.ts'

/** Most rules that a user can define. */
export const pushRulesMax = 10_000
/** Largest rule, as JSON in bytes of UTF-8. */
const pushRuleBytesMax = 1_024

/** Kinds of rule, in the order in which they are tried. */
const pushRuleKinds = [
  'override',
  'content',
  // {@link https://github.com/matrix-org/matrix-spec-proposals/pull/4306}
  'postcontent',
  'room',
  'sender',
  'underride',
] as const
export type PushRuleKind = (typeof pushRuleKinds)[number]
export const pushRuleKindSchema = z.enum(pushRuleKinds)

const jsonSchema: z.ZodType<Json> = z.json()

/** `notify`, or a tweak with its value; what else older clients send is read and left out. */
export const pushActionSchema = z.union([
  z.enum(['notify', 'dont_notify', 'coalesce']),
  z.looseObject({ set_tweak: z.string(), value: jsonSchema.optional() }),
])

/** A condition of any kind; one of an unknown kind is kept and matches nothing. */
const pushConditionSchema = z.looseObject({
  kind: z.string(),
  key: z.string().optional(),
  pattern: z.string().optional(),
  is: z.string().optional(),
  value: z.union([z.string(), z.number(), z.boolean(), z.null()]).optional(),
  subscribed: z.boolean().optional(),
})

/** What a client sends to make a rule. {@link https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3pushrulesglobalkindruleid} */
export const pushRuleBodySchema = z.looseObject({
  actions: z.array(pushActionSchema),
  conditions: z.array(pushConditionSchema).optional(),
  pattern: z.string().optional(),
})

/** A rule as clients see it. */
export const pushRuleSchema = z.looseObject({
  rule_id: z.string(),
  default: z.boolean(),
  enabled: z.boolean(),
  actions: z.array(pushActionSchema).readonly(),
  conditions: z.array(pushConditionSchema).readonly().optional(),
  pattern: z.string().optional(),
})

const rulesOfKind = z.array(pushRuleSchema).readonly()

/** A whole ruleset as clients see it. {@link https://spec.matrix.org/v1.19/client-server-api/#mpush_rules} */
export const pushRulesetSchema = z.object({
  override: rulesOfKind,
  content: rulesOfKind,
  postcontent: rulesOfKind,
  room: rulesOfKind,
  sender: rulesOfKind,
  underride: rulesOfKind,
})

/** What is stored of a user: rules of their own, the most important first, and what they changed of the predefined ones. */
export const userPushRulesSchema = z.object({
  own: z.partialRecord(pushRuleKindSchema, rulesOfKind),
  /** By `kind/rule_id`. */
  changed: z.record(
    z.string(),
    z.object({
      enabled: z.boolean().optional(),
      actions: z.array(pushActionSchema).readonly().optional(),
    }),
  ),
})

export type PushAction = z.output<typeof pushActionSchema>
export type PushCondition = z.output<typeof pushConditionSchema>
export type PushRuleBody = z.output<typeof pushRuleBodySchema>
export type PushRule = z.output<typeof pushRuleSchema>
export type PushRuleset = z.output<typeof pushRulesetSchema>
export type UserPushRules = z.output<typeof userPushRulesSchema>

/** A rule's name: its kind and its id within the kind. */
export interface PushRuleName {
  readonly kind: PushRuleKind
  readonly ruleId: string
}

/** Where a rule goes: right above `before` or right below `after`, both ids of the user's own rules of its kind. */
export interface PushRulePlace {
  readonly before?: string | undefined
  readonly after?: string | undefined
}

/** A user who changed nothing. */
export const noPushRules: UserPushRules = { own: {}, changed: {} }

/**
 * All rules that hold for a user, in the order in which they are tried within their kinds: the master rule, the
 * user's own, the other predefined ones. {@link https://spec.matrix.org/v1.19/client-server-api/#predefined-rules}
 */
export function mergeRules(userId: string, user: UserPushRules): PushRuleset {
  const defaults = defaultRules(userId)
  const merge = (kind: PushRuleKind): PushRule[] => {
    const predefined = defaults[kind].map((rule) => withChanges(rule, user, kind))
    const masters = predefined.filter((rule) => rule.rule_id === masterRuleId)
    const others = predefined.filter((rule) => rule.rule_id !== masterRuleId)
    return [...masters, ...ownRules(user, kind), ...others]
  }
  return {
    override: merge('override'),
    content: merge('content'),
    postcontent: merge('postcontent'),
    room: merge('room'),
    sender: merge('sender'),
    underride: merge('underride'),
  }
}

/** @throws MatrixError M_NOT_FOUND */
export function getRule(rules: PushRuleset, { kind, ruleId }: PushRuleName): PushRule {
  const rule = rules[kind].find((each) => each.rule_id === ruleId)
  if (rule === undefined) throw notFound('Push rule')
  return rule
}

/**
 * Adds a rule of the user's own, as the most important of its kind unless a place is given, or replaces the one of
 * that name, which then stays where it is and as enabled as it is.
 * @throws MatrixError M_INVALID_PARAM for a name that users cannot give, M_MISSING_PARAM without a pattern,
 *   M_UNKNOWN when the place does not exist, M_TOO_LARGE past the limits
 */
export function putRule(
  user: UserPushRules,
  name: PushRuleName,
  body: PushRuleBody,
  place: PushRulePlace = {},
): UserPushRules {
  if (name.kind === 'postcontent') throw invalidParam('kind', 'has predefined rules only')
  checkName(name.ruleId)
  const rules = ownRules(user, name.kind)
  const old = rules.find((rule) => rule.rule_id === name.ruleId)
  const rule = ruleFrom(name, body, old?.enabled ?? true)
  checkSize(rule)
  if (old === undefined) checkCount(user)
  const others = rules.filter((each) => each !== old)
  const at = indexFor(others, place) ?? (old === undefined ? 0 : rules.indexOf(old))
  return withRules(user, name.kind, others.toSpliced(at, 0, rule))
}

/** Removes a rule of the user's own. @throws MatrixError M_NOT_FOUND, also for predefined rules */
export function deleteRule(user: UserPushRules, { kind, ruleId }: PushRuleName): UserPushRules {
  const rules = ownRules(user, kind)
  const others = rules.filter((rule) => rule.rule_id !== ruleId)
  if (others.length === rules.length) throw notFound('Push rule')
  return withRules(user, kind, others)
}

/** Enables or disables a rule, the user's own or predefined. @throws MatrixError M_NOT_FOUND */
export function setRuleEnabled(
  user: UserPushRules,
  name: PushRuleName,
  enabled: boolean,
): UserPushRules {
  return changeRule(user, name, { enabled })
}

/** Sets the actions of a rule, the user's own or predefined. @throws MatrixError M_NOT_FOUND, M_TOO_LARGE */
export function setRuleActions(
  user: UserPushRules,
  name: PushRuleName,
  actions: readonly PushAction[],
): UserPushRules {
  return changeRule(user, name, { actions })
}

type Change = { readonly enabled?: boolean; readonly actions?: readonly PushAction[] }

function changeRule(
  user: UserPushRules,
  { kind, ruleId }: PushRuleName,
  change: Change,
): UserPushRules {
  const rules = ownRules(user, kind)
  const at = rules.findIndex((rule) => rule.rule_id === ruleId)
  const own = rules[at]
  if (own !== undefined) {
    const changed = { ...own, ...change }
    checkSize(changed)
    return withRules(user, kind, rules.with(at, changed))
  }
  const predefined = defaultRules('')[kind].find((rule) => rule.rule_id === ruleId)
  if (predefined === undefined) throw notFound('Push rule')
  checkSize({ ...predefined, ...change })
  const key = changeKey(kind, ruleId)
  return { ...user, changed: { ...user.changed, [key]: { ...user.changed[key], ...change } } }
}

function withChanges(rule: PushRule, user: UserPushRules, kind: PushRuleKind): PushRule {
  const change = user.changed[changeKey(kind, rule.rule_id)]
  if (change === undefined) return rule
  const { enabled = rule.enabled, actions = rule.actions } = change
  return { ...rule, enabled, actions }
}

function changeKey(kind: PushRuleKind, ruleId: string): string {
  return `${kind}/${ruleId}`
}

function ownRules(user: UserPushRules, kind: PushRuleKind): readonly PushRule[] {
  return user.own[kind] ?? []
}

function withRules(
  user: UserPushRules,
  kind: PushRuleKind,
  rules: readonly PushRule[],
): UserPushRules {
  return { ...user, own: { ...user.own, [kind]: rules } }
}

/** Only what its kind can have is taken over: conditions of override and underride, the pattern of content. */
function ruleFrom({ kind, ruleId }: PushRuleName, body: PushRuleBody, enabled: boolean): PushRule {
  const rule = { rule_id: ruleId, default: false, enabled, actions: body.actions }
  if (kind === 'override' || kind === 'underride') {
    return { ...rule, conditions: body.conditions ?? [] }
  }
  if (kind !== 'content') return rule
  if (body.pattern === undefined) throw new MatrixError('M_MISSING_PARAM', 'pattern is missing')
  return { ...rule, pattern: body.pattern }
}

/**
 * Without the historical actions, which mean nothing. A client is shown the actions that it has set.
 * {@link https://spec.matrix.org/v1.19/client-server-api/#historical-actions}
 */
export function effectiveActions(actions: readonly PushAction[]): PushAction[] {
  return actions.filter((action) => action !== 'dont_notify' && action !== 'coalesce')
}

function checkName(ruleId: string): void {
  if (ruleId === '') throw invalidParam('ruleId', 'is empty')
  if (ruleId.startsWith('.')) throw invalidParam('ruleId', 'a leading dot is for predefined rules')
  if (/[/\\]/.test(ruleId)) throw invalidParam('ruleId', 'slashes are not allowed')
}

function checkSize(rule: PushRule): void {
  if (utf8Length(JSON.stringify(rule)) <= pushRuleBytesMax) return
  throw new MatrixError('M_TOO_LARGE', `a push rule is at most ${pushRuleBytesMax} bytes long`)
}

function checkCount(user: UserPushRules): void {
  const count = pushRuleKinds.reduce((sum, kind) => sum + ownRules(user, kind).length, 0)
  if (count < pushRulesMax) return
  throw new MatrixError('M_TOO_LARGE', `at most ${pushRulesMax} push rules`)
}

/** Index at which the rule belongs among the others; undefined when no place is given. `before` counts more. */
function indexFor(
  others: readonly PushRule[],
  { before, after }: PushRulePlace,
): number | undefined {
  const anchor = before ?? after
  if (anchor === undefined) return undefined
  const at = others.findIndex((rule) => rule.rule_id === anchor)
  if (at === -1) {
    throw new MatrixError('M_UNKNOWN', `before/after rule not found: ${anchor}`, { status: 400 })
  }
  return before === undefined ? at + 1 : at
}
