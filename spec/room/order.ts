import type { Pdu } from '../events/event.ts'
import type { EventId } from '../ids.ts'
import { powerLevelsOf, userLevel } from './power-levels.ts'
import type { RoomVersionRules } from './version.ts'

/** Where the orders find what an event refers to; undefined for what is not known. */
export type EventLookup = (id: EventId) => Pdu | undefined

/**
 * Reverse topological power ordering: from earliest to latest along the auth events, and where these leave a choice,
 * the sender of greater power first, then the earlier time, then the smaller event id.
 * {@link https://spec.matrix.org/v1.19/rooms/v11/#definitions}
 */
export function reverseTopologicalPowerOrder(
  events: readonly Pdu[],
  rules: RoomVersionRules,
  create: Pdu | undefined,
  lookup: EventLookup,
): Pdu[] {
  const nodes = new Map<EventId, Node>()
  for (const event of events) {
    const power = powerAtSending(event, rules, create, lookup)
    nodes.set(event.eventId, { event, power, waitingFor: 0, successors: [] })
  }
  for (const node of nodes.values()) {
    for (const id of new Set(node.event.authEvents)) {
      const earlier = nodes.get(id)
      if (earlier === undefined) continue
      earlier.successors.push(node)
      node.waitingFor += 1
    }
  }
  return kahn([...nodes.values()])
}

/**
 * Mainline ordering based on a power levels event: events whose own power levels stand earliest in its line come
 * first, then those of earlier time, then those of smaller event id.
 * {@link https://spec.matrix.org/v1.19/rooms/v11/#definitions}
 */
export function mainlineOrder(
  events: readonly Pdu[],
  powerLevels: Pdu | undefined,
  lookup: EventLookup,
): Pdu[] {
  const mainline = new Map<EventId, number>()
  for (let at = powerLevels; at !== undefined && !mainline.has(at.eventId); ) {
    mainline.set(at.eventId, mainline.size)
    at = powerLevelsEventOf(at, lookup)
  }
  // The position belongs to the power levels event that is found first, so it is looked for once for each of those.
  const known = new Map<EventId, number>(mainline)
  const placed = events.map((event) => ({
    event,
    position: mainlinePosition(event, known, lookup),
  }))
  placed.sort((a, b) => compareNumbers(b.position, a.position) || compareAge(a.event, b.event))
  return placed.map(({ event }) => event)
}

interface Node {
  readonly event: Pdu
  readonly power: number
  waitingFor: number
  readonly successors: Node[]
}

/** Kahn's algorithm over a heap: of the events that wait for none, the smallest is next. */
function kahn(nodes: readonly Node[]): Pdu[] {
  const ready: Node[] = []
  for (const node of nodes) if (node.waitingFor === 0) push(ready, node)
  const order: Pdu[] = []
  for (let node = pop(ready); node !== undefined; node = pop(ready)) {
    order.push(node.event)
    for (const successor of node.successors) {
      successor.waitingFor -= 1
      if (successor.waitingFor === 0) push(ready, successor)
    }
  }
  return order
}

/** Power of the sender, as the event's own auth events give it. */
function powerAtSending(
  event: Pdu,
  rules: RoomVersionRules,
  create: Pdu | undefined,
  lookup: EventLookup,
): number {
  let ownCreate: Pdu | undefined
  let powerLevels: Pdu | undefined
  for (const id of event.authEvents) {
    const authEvent = lookup(id)
    if (authEvent?.stateKey !== '') continue
    if (authEvent.type === 'm.room.power_levels') powerLevels = authEvent
    if (authEvent.type === 'm.room.create') ownCreate = authEvent
  }
  // v12+: the create event is not among the auth events, the room id stands for it.
  const creation = rules.createHashRoomId ? create : ownCreate
  return userLevel(powerLevelsOf(rules, creation, powerLevels), event.sender)
}

function powerLevelsEventOf(event: Pdu, lookup: EventLookup): Pdu | undefined {
  for (const id of event.authEvents) {
    const authEvent = lookup(id)
    if (authEvent?.type === 'm.room.power_levels' && authEvent.stateKey === '') return authEvent
  }
  return undefined
}

/** Index in the mainline of the first of the event's line of power levels that is in it; Infinity for none. */
function mainlinePosition(event: Pdu, known: Map<EventId, number>, lookup: EventLookup): number {
  const passed: EventId[] = []
  let at = powerLevelsEventOf(event, lookup)
  while (at !== undefined && !known.has(at.eventId)) {
    passed.push(at.eventId)
    // Marked before going on, so that a line that bites its tail ends.
    known.set(at.eventId, Number.POSITIVE_INFINITY)
    at = powerLevelsEventOf(at, lookup)
  }
  const position = at === undefined ? Number.POSITIVE_INFINITY : known.get(at.eventId)
  for (const id of passed) known.set(id, position ?? Number.POSITIVE_INFINITY)
  return position ?? Number.POSITIVE_INFINITY
}

function compareNodes(a: Node, b: Node): number {
  return compareNumbers(b.power, a.power) || compareAge(a.event, b.event)
}

function compareAge(a: Pdu, b: Pdu): number {
  const byTime = compareNumbers(a.originServerTs, b.originServerTs)
  if (byTime !== 0) return byTime
  return a.eventId < b.eventId ? -1 : a.eventId > b.eventId ? 1 : 0
}

/** Not a difference: that of two infinities is no number. */
function compareNumbers(a: number, b: number): number {
  return a < b ? -1 : a > b ? 1 : 0
}

/** Adds to a binary heap whose smallest is at index 0. */
function push(heap: Node[], node: Node): void {
  let at = heap.length
  heap.push(node)
  while (at > 0) {
    const above = (at - 1) >> 1
    const parent = heap[above]
    if (parent === undefined || compareNodes(parent, node) <= 0) break
    heap[at] = parent
    at = above
  }
  heap[at] = node
}

/** Takes the smallest from the heap. */
function pop(heap: Node[]): Node | undefined {
  const smallest = heap[0]
  const last = heap.pop()
  if (last === undefined || last === smallest) return smallest
  let at = 0
  for (;;) {
    const below = smallerChild(heap, at)
    const child = heap[below]
    if (child === undefined || compareNodes(last, child) <= 0) break
    heap[at] = child
    at = below
  }
  heap[at] = last
  return smallest
}

function smallerChild(heap: readonly Node[], at: number): number {
  const left = heap[2 * at + 1]
  const right = heap[2 * at + 2]
  const rightIsSmaller = left !== undefined && right !== undefined && compareNodes(right, left) < 0
  return rightIsSmaller ? 2 * at + 2 : 2 * at + 1
}
