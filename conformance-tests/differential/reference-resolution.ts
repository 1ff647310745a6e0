/**
 * State resolution once more, sentence by sentence from the specification and with no regard to cost. It shares nothing
 * with the resolution that it is compared with.
 */
import { createHash } from 'node:crypto'
import type { Pdu } from '../../spec/events/event.ts'
import { allows } from './reference-auth.ts'
import { type Look, powerOf } from './reference-levels.ts'

/** Event ids by `type|state key`. */
export type State = ReadonlyMap<string, string>

export interface Room {
  readonly version: number
  readonly create: Pdu
  /** Every event that this server has. */
  readonly events: ReadonlyMap<string, Pdu>
  readonly rejected: ReadonlySet<string>
}

/** The resolution of a set of states. */
export function resolution(room: Room, states: readonly State[]): State {
  return room.version === 1 ? resolveFirst(room, states) : resolveSecond(room, states)
}

const keyOf = ({ type, stateKey }: Pdu) => `${type}|${stateKey}`
const known = (room: Room, ids: Iterable<string>) =>
  [...ids].map((id) => room.events.get(id)).filter((event) => event !== undefined)
const union = (sets: readonly Iterable<string>[]) => new Set(sets.flatMap((set) => [...set]))

function authChain(room: Room, ids: Iterable<string>): Set<string> {
  const direct = known(room, ids).flatMap(({ authEvents }) => authEvents)
  return direct.length === 0 ? new Set() : union([direct, authChain(room, new Set(direct))])
}

/** The auth event of a type, without state key. */
function cited(room: Room, event: Pdu, type: string): Pdu | undefined {
  return known(room, event.authEvents).find((each) => each.type === type && each.stateKey === '')
}

// Room versions 2 to 12.

function resolveSecond(room: Room, states: readonly State[]): State {
  const keys = union(states.map((state) => state.keys()))
  const unconflicted = new Map<string, string>()
  const conflicted = new Set<string>()
  for (const key of keys) {
    const values = states.map((state) => state.get(key))
    const [value] = values
    // "If a given key K is present in every S_i with the same value V in each state map …"
    if (value !== undefined && values.every((each) => each === value)) unconflicted.set(key, value)
    else for (const each of values) if (each !== undefined) conflicted.add(each)
  }
  if (conflicted.size === 0) return unconflicted
  const full = fullConflictedSet(room, states, conflicted)

  // 1
  const powerEvents = known(room, full).filter(isPowerEvent)
  const inX = new Set<string>()
  for (const event of powerEvents) chainWithin(room, event, full, inX)
  const x = powerOrdering(room, known(room, inX))
  // 2: v12 starts "from an empty state map".
  const state = new Map<string, string>(room.version >= 12 ? [] : unconflicted)
  authChecks(room, x, state)
  // 3
  const rest = known(room, full).filter(({ eventId }) => !inX.has(eventId))
  const [levels] = known(room, [state.get('m.room.power_levels|') ?? ''])
  // 4
  authChecks(room, mainlineOrdering(room, rest, levels), state)
  // 5
  return new Map([...state, ...unconflicted])
}

function fullConflictedSet(
  room: Room,
  states: readonly State[],
  conflicted: ReadonlySet<string>,
): Set<string> {
  // Unlike the text's auth chain of a state, that of servers in the field has the state's own events as well.
  const chains = states.map((each) => union([each.values(), authChain(room, each.values())]))
  const all = union(chains)
  const difference = [...all].filter((id) => !chains.every((chain) => chain.has(id)))
  if (room.version < 12) return union([conflicted, difference])
  // "The union of all such paths between any pair of events in the conflicted state set (including endpoints)"
  const below = authChain(room, conflicted)
  const between = [...below].filter((id) =>
    [...authChain(room, [id])].some((end) => conflicted.has(end)),
  )
  return union([conflicted, difference, between])
}

function isPowerEvent({ type, stateKey, sender, content }: Pdu): boolean {
  if (type === 'm.room.member') {
    return ['leave', 'ban'].includes(String(content['membership'])) && sender !== stateKey
  }
  return ['m.room.create', 'm.room.power_levels', 'm.room.join_rules'].includes(type)
}

/** "… enlarge X by adding the events in the auth chain of P which also belong to the full conflicted set" */
function chainWithin(room: Room, event: Pdu, full: ReadonlySet<string>, into: Set<string>): void {
  into.add(event.eventId)
  // Servers in the field go from conflicted event to conflicted event, and not through others.
  for (const each of known(room, event.authEvents)) {
    if (full.has(each.eventId) && !into.has(each.eventId)) chainWithin(room, each, full, into)
  }
}

function powerOrdering(room: Room, events: readonly Pdu[]): Pdu[] {
  const left = [...events]
  const ordered: Pdu[] = []
  while (left.length > 0) {
    const ids = left.map(({ eventId }) => eventId)
    const free = left.filter(({ authEvents }) => !authEvents.some((id) => ids.includes(id)))
    const [next] = free.sort((a, b) => comparePower(room, a, b))
    if (next === undefined) throw new Error('auth events go round in a circle')
    ordered.push(next)
    left.splice(left.indexOf(next), 1)
  }
  return ordered
}

function comparePower(room: Room, a: Pdu, b: Pdu): number {
  const power = (event: Pdu) => {
    const look: Look = (type) =>
      type === 'm.room.create' && room.version >= 12 ? room.create : cited(room, event, type)
    return Math.min(powerOf(event.sender, look, room.version), Number.MAX_SAFE_INTEGER + 1)
  }
  return power(b) - power(a) || compareAge(a, b)
}

function compareAge(a: Pdu, b: Pdu): number {
  return a.originServerTs - b.originServerTs || (a.eventId < b.eventId ? -1 : 1)
}

function mainlineOrdering(room: Room, events: readonly Pdu[], levels: Pdu | undefined): Pdu[] {
  const line = (from: Pdu): string[] => {
    const next = cited(room, from, 'm.room.power_levels')
    return next === undefined ? [] : [next.eventId, ...line(next)]
  }
  const mainline = levels === undefined ? [] : [levels.eventId, ...line(levels)]
  const position = (event: Pdu) => {
    const first = line(event).find((id) => mainline.includes(id))
    return first === undefined ? mainline.length : mainline.indexOf(first)
  }
  return [...events].sort((a, b) => position(b) - position(a) || compareAge(a, b))
}

function authChecks(room: Room, events: readonly Pdu[], state: Map<string, string>): void {
  const usable = (ids: readonly string[]) =>
    known(room, ids).filter(({ eventId }) => !room.rejected.has(eventId))
  for (const event of events) {
    const look: Look = (type, stateKey) => {
      if (type === 'm.room.create' && room.version >= 12) return room.create
      const [inState] = usable([state.get(`${type}|${stateKey}`) ?? ''])
      const own = usable(event.authEvents).find((e) => e.type === type && e.stateKey === stateKey)
      return inState ?? own
    }
    if (allows(event, room.version, look)) state.set(keyOf(event), event.eventId)
  }
}

// Room version 1.

function resolveFirst(room: Room, states: readonly State[]): State {
  const r = new Map<string, string>()
  const conflicts = new Map<string, Pdu[]>()
  for (const key of union(states.map((state) => state.keys()))) {
    const ids = new Set(states.map((state) => state.get(key)).filter((id) => id !== undefined))
    const [only] = ids
    if (ids.size === 1 && only !== undefined) r.set(key, only)
    else if (known(room, ids).length > 0) conflicts.set(key, known(room, ids).sort(compareDepth))
  }
  const authTypes = ['m.room.power_levels', 'm.room.join_rules', 'm.room.member']
  for (const type of authTypes) {
    // The conflicts of one type do not see each other's outcome.
    const before = new Map(r)
    for (const [key, list] of conflicts) {
      if (!key.startsWith(`${type}|`)) continue
      for (const [at, event] of list.entries()) {
        const soFar = new Map([...before, [key, r.get(key) ?? '']])
        if (at > 0 && !allows(event, 1, lookIn(room, soFar))) break
        r.set(key, event.eventId)
      }
    }
  }
  for (const [key, list] of conflicts) {
    if (authTypes.some((type) => key.startsWith(`${type}|`))) continue
    const allowed = list.filter((event) => allows(event, 1, lookIn(room, r)))
    // "… the event with the highest depth and lowest sha1"; when none passes, that of the least depth.
    r.set(key, (allowed.at(-1) ?? list[0])?.eventId ?? '')
  }
  return r
}

function lookIn(room: Room, state: State): Look {
  return (type, stateKey) => known(room, [state.get(`${type}|${stateKey}`) ?? ''])[0]
}

/** "… by ascending depth then descending sha1(event_id)" */
function compareDepth(a: Pdu, b: Pdu): number {
  const sha1 = ({ eventId }: Pdu) => createHash('sha1').update(eventId).digest('hex')
  return a.depth - b.depth || (sha1(a) > sha1(b) ? -1 : 1)
}
