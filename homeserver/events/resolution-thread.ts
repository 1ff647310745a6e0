/** A thread that resolves a large conflict. */
import type { Pdu, StateKey } from '../../spec/events/event.ts'
import type { EventId } from '../../spec/ids.ts'
import { readStoredPdu } from '../../spec/room/event-format.ts'
import { resolveConflict } from '../../spec/room/resolve.ts'
import { rulesOf } from '../../spec/room/version.ts'
import { serveThread } from '../platform/threads.ts'

/** A conflict with all events that its resolution looks at. */
export interface LargeConflict {
  readonly version: string
  readonly base: readonly (readonly [StateKey, EventId])[]
  readonly conflicted: readonly EventId[]
  readonly authDifference: readonly EventId[]
  readonly events: readonly (readonly [id: EventId, text: string, isRejected: boolean])[]
}

export type Decided = readonly (readonly [StateKey, EventId])[]

function resolve(conflict: LargeConflict): Decided {
  const rules = rulesOf(conflict.version)
  if (rules === undefined) throw new Error(`unknown room version ${conflict.version}`)
  const pdus = new Map<EventId, Pdu>()
  const rejected = new Set<EventId>()
  for (const [id, text, isRejected] of conflict.events) {
    pdus.set(id, readStoredPdu(text, id, rules))
    if (isRejected) rejected.add(id)
  }
  const base = new Map(conflict.base)
  const decided = resolveConflict(
    rules,
    {
      base: (key) => base.get(key),
      conflicted: new Set(conflict.conflicted),
      authDifference: new Set(conflict.authDifference),
    },
    {
      event: (id) => pdus.get(id),
      isRejected: (id) => rejected.has(id),
      authChain: () => new Set(),
    },
  )
  return [...decided]
}

serveThread(resolve)
