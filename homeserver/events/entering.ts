import type { RoomId } from '../../spec/ids.ts'
import type { Clock } from '../platform/clock.ts'

export const enteringLimits = {
  /** How long events for a room that is being joined are held back before their sender gets an answer. */
  waitMs: 10_000,
  /** Batches for one room that are taken in after their sender got its answer. */
  lateMax: 100,
} as const

/**
 * Rooms that this server is about to be in: their servers send events as soon as they have the join, which is before
 * the room's state is here.
 */
export function createEntering({ clock }: { clock: Pick<Clock, 'sleep'> }) {
  const entries = new Map<RoomId, { late: number; done: Promise<void> }>()

  /** Does what makes the room known; until then {@link entered} waits. */
  async function entering<T>(room: RoomId, task: () => Promise<T>): Promise<T> {
    const running = task()
    const before = entries.get(room)
    const entry = {
      late: before?.late ?? 0,
      done: Promise.allSettled([before?.done, running]).then(() => {}),
    }
    entries.set(room, entry)
    try {
      return await running
    } finally {
      if (entries.get(room) === entry) entries.delete(room)
    }
  }

  /** True once a room that was being entered is here, or will not be; false at once for any other. */
  async function entered(room: RoomId): Promise<boolean | 'not yet'> {
    const entry = entries.get(room)
    if (entry === undefined) return false
    const patience = new AbortController()
    const timeout = clock.sleep(enteringLimits.waitMs, patience.signal).then(
      () => 'not yet' as const,
      () => true,
    )
    try {
      return await Promise.race([entry.done.then(() => true), timeout])
    } finally {
      patience.abort()
    }
  }

  /** Does something once the room is here; what is too much is forgotten, and found by the gap that it leaves. */
  function later(room: RoomId, task: () => Promise<unknown>): void {
    const entry = entries.get(room)
    if (entry === undefined || entry.late >= enteringLimits.lateMax) return
    entry.late += 1
    // Its sender does not wait for it, and the room's next events tell what is missing.
    void entry.done.then(task).catch(() => {})
  }

  return { entering, entered, later }
}

export type Entering = ReturnType<typeof createEntering>
