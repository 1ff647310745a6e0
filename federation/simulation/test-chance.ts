/** Chance that a seed decides: the same name under the same seed gives the same sequence. */
import { createHash } from 'node:crypto'

export interface Chance {
  /** At least 0, less than 1. */
  next(): number
  /** A whole number, at least 0, less than `limit`. */
  below(limit: number): number
  /** True with this probability. */
  hits(probability: number): boolean
  pick<T>(list: readonly [T, ...T[]]): T
}

/** Things with names of their own do not disturb each other's sequences. */
export function chanceOf(seed: number, name: string): Chance {
  let state = createHash('sha256').update(`${seed} ${name}`).digest().readUInt32LE(0)
  function next(): number {
    // mulberry32
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const below = (limit: number) => Math.floor(next() * limit)
  return {
    next,
    below,
    hits: (probability) => next() < probability,
    pick: (list) => list[below(list.length)] ?? list[0],
  }
}
