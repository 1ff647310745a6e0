import type { EncodedWrite } from './batch.ts'
import type { Verdict } from './log.ts'

/** A write that waits for its verdict. */
export interface Pending {
  readonly encoded: EncodedWrite
  /** The room whose fence it was decided under: what fails in that room takes it along. */
  readonly room: string | undefined
  readonly resolve: (verdict: Verdict) => void
  readonly reject: (reason: Error) => void
}

export interface BatchLimits {
  readonly writes: number
  readonly bytes: number
}

/** Part of a batch that is kept for writes without a room's fence when writes of rooms alone would fill it. */
const unfencedShare = 1 / 8

/** Writes that are not yet sent: those of rooms go first, in order; the others keep a share of every batch. */
export class WriteQueue {
  #rooms: Pending[] = []
  #others: Pending[] = []
  #bytes = 0

  get length(): number {
    return this.#rooms.length + this.#others.length
  }

  get sizeBytes(): number {
    return this.#bytes
  }

  push(pending: Pending): void {
    const { fence, claim } = pending.encoded.write
    const queue = fence === undefined && claim === undefined ? this.#others : this.#rooms
    queue.push(pending)
    this.#bytes += pending.encoded.sizeBytes
  }

  /** Takes what fits a batch, at least one write when there is one. */
  take(limits: BatchLimits): Pending[] {
    const batch: Pending[] = []
    const room = { writes: limits.writes, bytes: limits.bytes }
    const kept = Math.min(this.#others.length, Math.floor(limits.writes * unfencedShare))
    this.#rooms = moveOver(this.#rooms, batch, room, room.writes - kept)
    this.#others = moveOver(this.#others, batch, room, room.writes)
    this.#rooms = moveOver(this.#rooms, batch, room, room.writes)
    for (const { encoded } of batch) this.#bytes -= encoded.sizeBytes
    return batch
  }

  /** Takes out the writes that were decided under the fence of one of these rooms. */
  takeChained(rooms: ReadonlySet<string>): Pending[] {
    const isChained = ({ room }: Pending) => room !== undefined && rooms.has(room)
    const chained = this.#rooms.filter(isChained)
    if (chained.length === 0) return chained
    this.#rooms = this.#rooms.filter((pending) => !isChained(pending))
    for (const { encoded } of chained) this.#bytes -= encoded.sizeBytes
    return chained
  }

  /** Takes everything. */
  clear(): Pending[] {
    const all = [...this.#rooms, ...this.#others]
    this.#rooms = []
    this.#others = []
    this.#bytes = 0
    return all
  }
}

/** Moves up to `max` writes that fit; answers what stays. */
function moveOver(
  from: Pending[],
  batch: Pending[],
  room: { writes: number; bytes: number },
  max: number,
): Pending[] {
  let moved = 0
  for (const pending of from) {
    const { sizeBytes } = pending.encoded
    if (moved >= max || (sizeBytes > room.bytes && batch.length > 0)) break
    batch.push(pending)
    room.writes -= 1
    room.bytes -= sizeBytes
    moved += 1
  }
  return moved === 0 ? from : from.slice(moved)
}
