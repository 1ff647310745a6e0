/** The resolution of one conflict: at once when it is small, in a thread of its own when it is large. */
import type { StateKey } from '../../spec/events/event.ts'
import type { EventId } from '../../spec/ids.ts'
import { resolveConflict } from '../../spec/room/resolve.ts'
import type { RoomVersionRules } from '../../spec/room/version.ts'
import { createThreads } from '../platform/threads.ts'
import { authChainOf } from './conflict.ts'
import type { Decided, LargeConflict } from './resolution-thread.ts'
import type { StoredEvent } from './stored-event.ts'

/** Events in conflict, with their auth difference, that are resolved on the main thread. */
const onMainMax = 1_000

interface Conflict {
  readonly base: ReadonlyMap<StateKey, EventId>
  readonly conflicted: ReadonlySet<EventId>
  readonly authDifference: ReadonlySet<EventId>
}

/** Decides the keys in conflict; what it looks at must be among `events`. */
export type Decide = (
  rules: RoomVersionRules,
  conflict: Conflict,
  events: ReadonlyMap<EventId, StoredEvent>,
) => Promise<ReadonlyMap<StateKey, EventId>>

export function createConflictResolution(onMain = onMainMax): Decide {
  return async (rules, conflict, events) => {
    const { base, conflicted, authDifference } = conflict
    if (conflicted.size + authDifference.size <= onMain) {
      return resolveConflict(
        rules,
        { base: (key) => base.get(key), conflicted, authDifference },
        {
          event: (id) => events.get(id)?.pdu,
          isRejected: (id) => events.get(id)?.rejected !== undefined,
          authChain: (ids) => authChainOf(ids, events),
        },
      )
    }
    const file = new URL('./resolution-thread.ts', import.meta.url)
    await using threads = createThreads<LargeConflict, Decided>(file, 1)
    return new Map(
      await threads.run({
        version: rules.version,
        base: [...base],
        conflicted: [...conflicted],
        authDifference: [...authDifference],
        events: [...events].map(([id, { text, rejected }]) => [id, text, rejected !== undefined]),
      }),
    )
  }
}
