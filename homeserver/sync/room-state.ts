import { type StateKey, stateKeyOf } from '../../spec/events/event.ts'
import { isEventId } from '../../spec/ids.ts'
import { matchesEvent } from '../../spec/sync/filter.ts'
import type { Events, Seen } from '../events/events.ts'
import type { StoredEvent } from '../events/stored-event.ts'
import type { SentMembers } from './lazy-members.ts'
import type { ChangedKeys } from './recent.ts'
import type { RoomInterval, Scope } from './request.ts'
import type { StateView } from './state-view.ts'

/** What decides a room's state in an answer. */
export interface StateQuestion {
  readonly interval: RoomInterval
  readonly timeline: readonly Seen[]
  /** Keys that changed in the interval. */
  readonly changed: ChangedKeys
  /** The state at the interval's end. */
  readonly view: StateView
  /** Users whose member events are wanted whoever speaks. */
  readonly heroes: readonly string[]
}

interface Needs {
  readonly events: Pick<Events, 'get' | 'partial'>
  readonly sentMembers: SentMembers
}

const memberType = 'm.room.member'
const memberPrefix = stateKeyOf(memberType, '')

/**
 * State events that lead the client to where its timeline begins or, for `state_after`, ends: what changed in the
 * interval, or everything.
 * {@link https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync}
 */
export async function readState(
  { events, sentMembers }: Needs,
  question: StateQuestion,
  scope: Scope,
): Promise<readonly StoredEvent[]> {
  const { interval, timeline, view } = question
  const filter = scope.filter.room?.state
  const isLazy = filter?.lazy_load_members === true
  const isWhole = interval.isWhole || question.changed === '*'
  const changed = question.changed === '*' ? new Set<StateKey>() : question.changed
  const wanted = isLazy ? wantedMembers(question, scope) : new Set<StateKey>()
  const found = new Map(isWhole ? await view.all() : await view.get([...changed, ...wanted]))
  const isOld = (event: StoredEvent) => !isWhole && (event.position ?? 0) <= interval.after
  if (isLazy && (await events.partial.isPartial(interval.room)))
    await addClaimed(events, timeline, wanted, found)
  const rewound = scope.useStateAfter
    ? new Set<StateKey>()
    : await rewind(events, found, timeline, (key, event) => isOld(event) && !wanted.has(key))
  const state: StoredEvent[] = []
  for (const [key, event] of found) {
    const { pdu } = event
    if (isLazy && key.startsWith(memberPrefix)) {
      const member = pdu.stateKey ?? ''
      if (!wanted.has(key) && !changed.has(key)) continue
      const isNews = isWhole || !isOld(event) || (changed.has(key) && !rewound.has(key))
      const redundant = sentMembers.isRedundant(scope, interval.room, member, pdu.eventId)
      if (!isNews && redundant) continue
      sentMembers.sent(scope, interval.room, member, pdu.eventId)
    }
    if (matchesEvent(filter, pdu)) state.push(event)
  }
  if (isLazy) rememberShown(sentMembers, question, scope)
  return state
}

/** Where members are missing, those who speak are known from what authorises their events. */
async function addClaimed(
  events: Pick<Events, 'get'>,
  timeline: readonly Seen[],
  wanted: ReadonlySet<StateKey>,
  found: Map<StateKey, StoredEvent>,
): Promise<void> {
  const ids = timeline.flatMap(({ event }) => event.pdu.authEvents)
  for (const event of (await events.get(ids)).values()) {
    const { type, stateKey } = event.pdu
    if (type !== memberType || stateKey === undefined || event.rejected !== undefined) continue
    const key = stateKeyOf(type, stateKey)
    if (wanted.has(key) && !found.has(key)) found.set(key, event)
  }
}

/** Members without whom the client cannot show the timeline or name the room. */
function wantedMembers({ timeline, heroes, interval }: StateQuestion, scope: Scope): Set<StateKey> {
  const wanted = new Set<StateKey>()
  for (const { event } of timeline) {
    const { type, stateKey, sender } = event.pdu
    wanted.add(stateKeyOf(memberType, sender))
    // Whoever takes no state from the timeline learns of no member by it.
    if (scope.useStateAfter && type === memberType && stateKey !== undefined) {
      wanted.add(stateKeyOf(memberType, stateKey))
    }
  }
  for (const hero of heroes) wanted.add(stateKeyOf(memberType, hero))
  if (interval.isWhole) wanted.add(stateKeyOf(memberType, scope.user))
  return wanted
}

/** Takes the timeline's own changes out: what it changes is given as it was before. Answers the keys it put back. */
async function rewind(
  events: Pick<Events, 'get'>,
  state: Map<StateKey, StoredEvent>,
  timeline: readonly Seen[],
  isLeftOut: (key: StateKey, event: StoredEvent) => boolean,
): Promise<ReadonlySet<StateKey>> {
  const rewound = new Set<StateKey>()
  const first = new Map<StateKey, StoredEvent>()
  for (const { event } of timeline) {
    if (event.pdu.stateKey === undefined) continue
    const key = stateKeyOf(event.pdu.type, event.pdu.stateKey)
    if (!first.has(key)) first.set(key, event)
  }
  if (first.size === 0) return rewound
  const shown = new Set(timeline.map(({ event }) => event.nr))
  const before = await events.get([...first.values()].flatMap((e) => e.replaces?.eventId ?? []))
  for (const [key, { replaces }] of first) {
    const id = replaces?.eventId
    const event = isEventId(id) ? before.get(id) : undefined
    if (event === undefined || shown.has(event.nr) || isLeftOut(key, event)) state.delete(key)
    else {
      state.set(key, event)
      rewound.add(key)
    }
  }
  return rewound
}

/** Member events of the timeline are sent as well. */
function rememberShown(
  sentMembers: SentMembers,
  { timeline, interval }: StateQuestion,
  scope: Scope,
): void {
  for (const { event } of timeline) {
    const { type, stateKey, eventId } = event.pdu
    if (type === memberType && stateKey !== undefined) {
      sentMembers.sent(scope, interval.room, stateKey, eventId)
    }
  }
}
