import { type StateKey, stateKeyOf } from '../../../spec/events/event.ts'
import type { RequiredState, RoomRule, StatePattern } from './request.ts'

/** A rule that is in force for a room, or the rules under which it was sent: compared by their text. */
export interface Coverage extends RoomRule {
  readonly text: string
}

/** Rules that are kept together for one room before the older ones are forgotten. */
const requiredMax = 8

const memberType = 'm.room.member'

export function coverageOf({ timelineLimit, required }: RoomRule): Coverage {
  const distinct = distinctOf(required)
  return { timelineLimit, required: distinct, text: JSON.stringify([timelineLimit, distinct]) }
}

/** Everything that any of the rules asks for. */
export function combined(rules: readonly RoomRule[]): Coverage {
  return coverageOf({
    timelineLimit: Math.max(0, ...rules.map(({ timelineLimit }) => timelineLimit)),
    required: rules.flatMap(({ required }) => required),
  })
}

/**
 * What the client has after it was sent the state that `asked` adds to `before`. State that was asked for before and is
 * not any more stays known as long as none of it has changed unseen.
 */
export function coveredState(
  before: Coverage | undefined,
  asked: Coverage,
  hasMissed: boolean,
): readonly RequiredState[] {
  if (before === undefined || hasMissed) return asked.required
  const both = distinctOf([...before.required, ...asked.required])
  return both.length > requiredMax ? asked.required : both
}

/** What rules ask for beyond what the client has. */
interface Growth {
  readonly moreTimeline: boolean
  readonly moreState: boolean
}

/** The last comparison of each: most rooms of a list have been sent under the same rules. */
const compared = new WeakMap<Coverage, { readonly text: string; readonly growth: Growth }>()

export function growthOf(before: Coverage, asked: Coverage): Growth {
  const last = compared.get(before)
  if (last?.text === asked.text) return last.growth
  const known = new Set(before.required.map((one) => JSON.stringify(one)))
  const growth = {
    moreTimeline: asked.timelineLimit > before.timelineLimit,
    moreState: asked.required.some((one) => !known.has(JSON.stringify(one))),
  }
  compared.set(before, { text: asked.text, growth })
  return growth
}

function distinctOf(required: readonly RequiredState[]): readonly RequiredState[] {
  if (required.length < 2) return required
  return [...new Map(required.map((one) => [JSON.stringify(one), one])).values()]
}

/** Which state a rule asks for. */
export interface StateTest {
  /** The keys, when none of them is a pattern. */
  readonly exact: readonly StateKey[] | undefined
  matches(key: StateKey): boolean
  /** Members are sent as the timeline needs them. */
  readonly isLazy: boolean
}

const compiled = new WeakMap<readonly RequiredState[], StateTest>()

export function stateTestOf({ required }: Pick<RoomRule, 'required'>): StateTest {
  const known = compiled.get(required)
  if (known !== undefined) return known
  const test = compile(required)
  compiled.set(required, test)
  return test
}

function compile(required: readonly RequiredState[]): StateTest {
  const exact = required.flatMap(exactKeys)
  const tests = required.map(testOf)
  const isExact = required.every(({ include }) => include.every(isOneKey))
  const keys = new Set(exact.filter((key) => tests.some((test) => test(key))))
  const matches = isExact
    ? (key: StateKey) => keys.has(key)
    : (key: StateKey) => keys.has(key) || tests.some((test) => test(key))
  const isLazy = required.some(({ lazyMembers }) => lazyMembers) && !required.some(hasAllMembers)
  return { exact: isExact ? [...keys] : undefined, matches, isLazy }
}

function isOneKey({ type, stateKey }: StatePattern): boolean {
  return type !== undefined && stateKey !== undefined
}

function exactKeys({ include }: RequiredState): StateKey[] {
  return include.flatMap(({ type, stateKey }) =>
    type === undefined || stateKey === undefined ? [] : [stateKeyOf(type, stateKey)],
  )
}

function hasAllMembers({ include, exclude, lazyMembers }: RequiredState): boolean {
  if (lazyMembers || exclude.some((pattern) => pattern.type === memberType)) return false
  return include.some(
    ({ type, stateKey }) => stateKey === undefined && (type ?? memberType) === memberType,
  )
}

/** Does one rule ask for a key. */
function testOf({ include, exclude, lazyMembers }: RequiredState): (key: StateKey) => boolean {
  const included = indexOf(include)
  const excluded = indexOf(exclude)
  return (key) => {
    const end = key.indexOf('\u0000')
    const type = key.slice(0, end)
    const stateKey = key.slice(end + 1)
    // Lazy members are sent beside what is included, unless somebody is asked for by name.
    const isLazy = lazyMembers && type === memberType
    const isIncluded =
      included.keys.has(stateKey) ||
      included.both.has(key) ||
      (!isLazy && (included.isAll || included.types.has(type)))
    if (!isIncluded || exclude.length === 0) return isIncluded
    const { isAll, types, keys, both } = excluded
    return !(isAll || types.has(type) || keys.has(stateKey) || both.has(key))
  }
}

/** Patterns so that a key is looked up in them at once: clients may send hundreds, and rooms have thousands of keys. */
function indexOf(patterns: readonly StatePattern[]) {
  const types = new Set<string>()
  const keys = new Set<string>()
  const both = new Set<StateKey>()
  let isAll = false
  for (const { type, stateKey } of patterns) {
    if (type !== undefined && stateKey !== undefined) both.add(stateKeyOf(type, stateKey))
    else if (type !== undefined) types.add(type)
    else if (stateKey !== undefined) keys.add(stateKey)
    else isAll = true
  }
  return { isAll, types, keys, both }
}
