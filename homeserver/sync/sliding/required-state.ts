/** The state events of a room's entry: what the rules ask for and the client does not have. */
import { type StateKey, stateKeyOf } from '../../../spec/events/event.ts'
import type { RoomId } from '../../../spec/ids.ts'
import type { Seen } from '../../events/events.ts'
import type { StoredEvent } from '../../events/stored-event.ts'
import type { ChangedKeys } from '../recent.ts'
import type { StateView } from '../state-view.ts'
import { type Coverage, growthOf, type StateTest, stateTestOf } from './coverage.ts'
import type { Sending } from './sent-members.ts'

export interface StateQuestion {
  readonly room: RoomId
  readonly view: StateView
  /** Keys that changed since the client was sent the room; `*` for a client that has nothing of it. */
  readonly changed: ChangedKeys
  readonly asked: Coverage
  /** What the client was sent before fulfils these rules. */
  readonly before: Coverage | undefined
  readonly timeline: readonly Seen[]
  /** There is more between the timeline and what the client has seen. */
  readonly limited: boolean
  readonly sending: Sending
}

export interface StateAnswer {
  readonly events: readonly StoredEvent[]
  /** Keys that are no part of the state any more. */
  readonly removed: readonly StateKey[]
  /** Something changed that was asked for before and is not any more. */
  readonly hasMissed: boolean
  /** Members that are sent only because the timeline needs them. */
  readonly lazy: readonly StoredEvent[]
}

const memberType = 'm.room.member'
const memberPrefix = stateKeyOf(memberType, '')

export async function readRequiredState(question: StateQuestion): Promise<StateAnswer> {
  const { view, changed, asked, before } = question
  const test = stateTestOf(asked)
  const isWhole = changed === '*' || before === undefined
  const lazy = test.isLazy ? lazyMembers(question) : new Set<StateKey>()
  if (isWhole) {
    const state = await wholeState(view, test)
    const members = await view.get([...lazy].filter((key) => !state.has(key)))
    const found = [...state.values(), ...members.values()]
    return { events: found, removed: [], hasMissed: false, lazy: [...members.values()] }
  }
  const wanted = [...changed].filter(
    (key) => test.matches(key) || (test.isLazy && isMember(key) && !question.limited),
  )
  const added = await addedKeys(view, test, before, asked)
  const certain = new Set([...wanted, ...added])
  const found = await view.get(new Set([...certain, ...lazy]))
  const events: StoredEvent[] = []
  const shown: StoredEvent[] = []
  for (const [key, event] of found) {
    const isLazy = isMember(key) && lazy.has(key)
    if (!certain.has(key) && isSent(question, event)) continue
    events.push(event)
    if (isLazy) shown.push(event)
  }
  const removed = wanted.filter((key) => !found.has(key) && test.matches(key))
  const old = stateTestOf(before)
  const hasMissed = [...changed].some((key) => old.matches(key) && !test.matches(key))
  return { events, removed, hasMissed, lazy: shown }
}

async function wholeState(
  view: StateView,
  test: StateTest,
): Promise<ReadonlyMap<StateKey, StoredEvent>> {
  if (test.exact !== undefined) return await view.get(test.exact)
  return new Map([...(await view.all())].filter(([key]) => test.matches(key)))
}

/** Keys that the rules ask for now and did not before. */
async function addedKeys(
  view: StateView,
  test: StateTest,
  before: Coverage,
  asked: Coverage,
): Promise<readonly StateKey[]> {
  if (!growthOf(before, asked).moreState) return []
  const old = stateTestOf(before)
  const keys = test.exact ?? [...(await view.all()).keys()]
  return keys.filter((key) => test.matches(key) && !old.matches(key))
}

/** Those who speak in the timeline, and those whom its events are about. */
function lazyMembers({ timeline }: StateQuestion): Set<StateKey> {
  const wanted = new Set<StateKey>()
  for (const { event } of timeline) {
    const { type, stateKey, sender } = event.pdu
    wanted.add(stateKeyOf(memberType, sender))
    if (type === memberType && stateKey !== undefined) wanted.add(stateKeyOf(memberType, stateKey))
  }
  return wanted
}

function isSent({ sending, room }: StateQuestion, { pdu }: StoredEvent): boolean {
  return sending.has(room, pdu.stateKey ?? '', pdu.eventId)
}

function isMember(key: StateKey): boolean {
  return key.startsWith(memberPrefix)
}
