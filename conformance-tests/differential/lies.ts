/** States to be resolved: those at which a history ends, and others that no honest server would name. */
import { type Pdu, type StateKey, stateKeyOf } from '../../spec/events/event.ts'
import type { EventId } from '../../spec/ids.ts'
import type { StateMap } from '../../spec/room/resolve.ts'
import type { Lie, Plan, Question } from './history.ts'
import { type Replica, sortedIds } from './replica.ts'

const createKey = stateKeyOf('m.room.create', '')

/** What to ask at the end of a history. @param tips the newest events of each branch */
export function questionsOf(
  { lies, version }: Plan,
  replica: Replica,
  events: readonly Pdu[],
  tips: readonly (readonly EventId[])[],
): Question[] {
  const truth: Question = {
    sets: tips.map((ids) => sortedIds(replica.stateBefore(ids))),
    missing: [],
    hasRejected: false,
  }
  return [truth, ...lies.map((lie) => questionOf(lie, version, replica, events))]
}

function questionOf(lie: Lie, version: string, replica: Replica, events: readonly Pdu[]): Question {
  const at = <T>(list: readonly T[], index: number) => list[index % Math.max(1, list.length)]
  const sets = lie.places.map((place) => new Map(stateAfter(at(events, place), replica)))
  for (const change of lie.changes) {
    const set = at(sets, change.set)
    const key = at([...(set?.keys() ?? [])], change.key)
    if (set === undefined || key === undefined || key === createKey) continue
    const others = events.filter((event) => isOfKey(event, key))
    const other = at(
      others.filter(({ eventId }) => !replica.rejected.has(eventId)),
      change.event,
    )
    if (change.drop) set.delete(key)
    else if (other !== undefined) set.set(key, other.eventId)
  }
  if (lie.rejected) {
    // What was refused for the state it came to, not for its auth events, may stand in others' state.
    for (const [index, event] of events.entries()) {
      const set = at(sets, index)
      const isState =
        replica.verdicts.get(event.eventId) === 'state' && event.stateKey !== undefined
      if (isState) set?.set(stateKeyOf(event.type, event.stateKey), event.eventId)
    }
  }
  const ids = new Set(sets.flatMap((set) => [...set.values()]))
  // What all states agree about a server has; version 1 looks at nothing but states. Without a create event is no room.
  const isThere = (id: EventId) => version === '1' || sets.every((set) => has(set, id))
  const needed = new Set([...ids].filter(isThere))
  const missing = lie.missing
    .map((index) => at(events.slice(1), index)?.eventId)
    .filter((id) => id !== undefined)
  return {
    sets: sets.map(sortedIds),
    missing: missing.filter((id) => !needed.has(id)),
    hasRejected: [...ids].some((id) => replica.rejected.has(id)),
  }
}

function stateAfter(event: Pdu | undefined, replica: Replica): StateMap {
  return (event && replica.after.get(event.eventId)) ?? new Map<StateKey, EventId>()
}

function isOfKey({ type, stateKey }: Pdu, key: StateKey): boolean {
  return stateKey !== undefined && stateKeyOf(type, stateKey) === key
}

function has(set: StateMap, id: EventId): boolean {
  return [...set.values()].includes(id)
}
