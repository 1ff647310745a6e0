/** Our own auth rules and state resolution, applied to a room as a server does that hears of its events in order. */
import { type Pdu, type StateKey, stateKeyOf } from '../../spec/events/event.ts'
import { createIdOfRoom, type EventId } from '../../spec/ids.ts'
import { authorize, checkAuthEvents } from '../../spec/room/authorize.ts'
import { resolveState, type StateMap } from '../../spec/room/resolve.ts'
import type { RoomVersionRules } from '../../spec/room/version.ts'
import type { History, Outcome, Question, Verdict } from './history.ts'

/** One server's view of one room. */
export interface Replica {
  readonly events: ReadonlyMap<EventId, Pdu>
  readonly rejected: ReadonlySet<EventId>
  readonly verdicts: ReadonlyMap<EventId, Verdict>
  /** The state after an event; that before it when it was rejected. */
  readonly after: ReadonlyMap<EventId, StateMap>
  /** The state before an event with these predecessors. */
  stateBefore(prevEvents: readonly EventId[]): StateMap
  /** What the rules say of an event, for which nothing else is to be known. */
  judge(event: Pdu): Verdict
  receive(event: Pdu): Verdict
  answer(question: Question): StateMap
}

export function createReplica(rules: RoomVersionRules): Replica {
  const events = new Map<EventId, Pdu>()
  const rejected = new Set<EventId>()
  const verdicts = new Map<EventId, Verdict>()
  const after = new Map<EventId, StateMap>()
  const resolved = new Map<string, StateMap>()

  const lookup = (id: EventId) => events.get(id)
  const resolve = (states: readonly StateMap[], find: (id: EventId) => Pdu | undefined) =>
    resolveState(rules, states, {
      event: find,
      isRejected: (id) => rejected.has(id),
      authChain: (ids) => authChain(ids, find),
    })

  function stateBefore(prevEvents: readonly EventId[]): StateMap {
    const key = prevEvents.join(' ')
    const known = resolved.get(key)
    if (known !== undefined) return known
    const state = resolve(
      prevEvents.map((id) => after.get(id) ?? new Map<StateKey, EventId>()),
      lookup,
    )
    resolved.set(key, state)
    return state
  }

  function judge(event: Pdu): Verdict {
    const own = event.authEvents.map(lookup).filter((each) => each !== undefined)
    const create = rules.createHashRoomId ? lookup(createIdOfRoom(event.roomId)) : undefined
    const byAuthEvents = (type: string, stateKey: string) =>
      type === 'm.room.create' && create !== undefined
        ? create
        : own.find((each) => each.type === type && each.stateKey === stateKey)
    const state = stateBefore(event.prevEvents)
    const byState = (type: string, stateKey: string) =>
      lookup(state.get(stateKeyOf(type, stateKey)) ?? event.eventId)

    const choice = checkAuthEvents(event, rules, own, (id) => rejected.has(id))
    if (choice.kind === 'reject') return 'chain'
    if (authorize(event, rules, byAuthEvents).kind === 'reject') return 'chain'
    if (event.type === 'm.room.create') return 'accept'
    return authorize(event, rules, byState).kind === 'allow' ? 'accept' : 'state'
  }

  function receive(event: Pdu): Verdict {
    const verdict = judge(event)
    const before = stateBefore(event.prevEvents)
    events.set(event.eventId, event)
    verdicts.set(event.eventId, verdict)
    if (verdict !== 'accept') rejected.add(event.eventId)
    if (verdict !== 'accept' || event.stateKey === undefined) after.set(event.eventId, before)
    else {
      const key = stateKeyOf(event.type, event.stateKey)
      after.set(event.eventId, new Map([...before, [key, event.eventId]]))
    }
    return verdict
  }

  function answer({ sets, missing }: Question): StateMap {
    const states = sets.map((ids) => stateOf(ids, events))
    return resolve(states, (id) => (missing.includes(id) ? undefined : events.get(id)))
  }

  return { events, rejected, verdicts, after, stateBefore, judge, receive, answer }
}

/** What our rules make of a history. */
export function replayHere(rules: RoomVersionRules, { events, questions }: History): Outcome {
  const replica = createReplica(rules)
  return {
    ids: events.map(({ eventId }) => eventId),
    verdicts: events.map((event) => replica.receive(event)),
    merged: events.map(({ prevEvents }) =>
      prevEvents.length > 1 ? sortedIds(replica.stateBefore(prevEvents)) : null,
    ),
    answers: questions.map((question) => sortedIds(replica.answer(question))),
  }
}

/** A state as a list of events that two implementations can compare. */
export function sortedIds(state: StateMap): EventId[] {
  return [...state.values()].sort()
}

/** The state that consists of these events. */
export function stateOf(
  ids: readonly EventId[],
  events: ReadonlyMap<EventId, Pdu>,
): Map<StateKey, EventId> {
  const state = new Map<StateKey, EventId>()
  for (const id of ids) {
    const event = events.get(id)
    if (event?.stateKey !== undefined) state.set(stateKeyOf(event.type, event.stateKey), id)
  }
  return state
}

function authChain(ids: Iterable<EventId>, find: (id: EventId) => Pdu | undefined): Set<EventId> {
  const chain = new Set<EventId>()
  const open = [...ids].flatMap((id) => find(id)?.authEvents ?? [])
  for (let id = open.pop(); id !== undefined; id = open.pop()) {
    if (chain.has(id)) continue
    chain.add(id)
    open.push(...(find(id)?.authEvents ?? []))
  }
  return chain
}
