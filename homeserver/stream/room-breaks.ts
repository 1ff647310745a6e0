import type { Verdict } from './log.ts'
import type { Pending, WriteQueue } from './queue.ts'

export type Judged = readonly [Pending, Verdict]

/**
 * Rooms in which a write was refused and whose callers do not know it yet. What is written there meanwhile was decided
 * upon the refused write, so it is kept back and answered 'chained' together with the refusal.
 */
export class RoomBreaks {
  readonly #queue: WriteQueue
  readonly #kept = new Map<string, Pending[]>()

  constructor(queue: WriteQueue) {
    this.#queue = queue
  }

  /** Keeps a new write back when its room is breaking. */
  keeps(pending: Pending): boolean {
    const kept = pending.room === undefined ? undefined : this.#kept.get(pending.room)
    kept?.push(pending)
    return kept !== undefined
  }

  /** Breaks the rooms of these writes, those that are queued included; call the answer to tell all callers. */
  break(bad: readonly Judged[]): () => void {
    const rooms = new Set(bad.flatMap(([{ room }]) => room ?? []))
    for (const room of rooms) if (!this.#kept.has(room)) this.#kept.set(room, [])
    for (const pending of this.#queue.takeChained(rooms)) this.keeps(pending)
    return () => {
      tell(bad)
      for (const room of rooms) {
        for (const { resolve } of this.#kept.get(room) ?? []) resolve({ kind: 'chained' })
        this.#kept.delete(room)
      }
    }
  }
}

/** Answers the callers. */
export function tell(verdicts: readonly Judged[]): void {
  for (const [{ resolve }, verdict] of verdicts) resolve(verdict)
}
