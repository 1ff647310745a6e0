import type { Db } from '../../homeserver/database/database.ts'
import type { LogRow, LogWriter, Verdict } from '../../homeserver/stream/log.ts'
import { parseRoomId, type RoomId } from '../../spec/ids.ts'
import { lastRequest } from './schema.ts'

/**
 * A room as its owner has it: the fence, and the last request in two layers, committed and pending. Each write names
 * the one before it, as an event names its prev_events, so that a lost, doubled or reordered write breaks the chain.
 */
export interface RoomMemory {
  /** Writes a request at the end of the chain. Throws when the room could not be taken. */
  write(request: number): Promise<Verdict>
  /** A row of this room was committed by this process. */
  committed(row: LogRow): void
}

export function createRoomMemory(
  room: number,
  { db, writer, self }: { db: Db; writer: LogWriter; self: string },
): RoomMemory {
  const roomId = parseRoomId(`!${room}:check`)
  let taken: Promise<number> | undefined
  let pending = -1
  let stored = -1
  /** Raised whenever pending writes are given up; verdicts of older writes then change nothing. */
  let generation = 0

  async function take(): Promise<number> {
    const verdict = await writer.write({ claim: { room: roomId }, entries: [] })
    if (verdict.kind !== 'done' || verdict.fence === undefined)
      throw new Error('room was not taken')
    // Nobody else can write to the room after the claim: what is stored now is the end.
    stored = await lastRequest(db, room)
    pending = stored
    return verdict.fence
  }

  async function write(request: number): Promise<Verdict> {
    taken ??= take().catch((error: unknown) => {
      taken = undefined
      throw error
    })
    const holding = taken
    const value = await holding
    if (taken !== holding) return { kind: 'fenced' }
    const mine = generation
    const previous = pending
    pending = request
    const verdict = await writer.write(requestWrite(roomId, room, request, previous, value, self))
    if (verdict.kind === 'done') return verdict
    // Given up before: by then the room may be another's.
    if (generation !== mine) return taken === holding ? verdict : { kind: 'fenced' }
    generation += 1
    pending = stored
    if (verdict.kind === 'fenced' && taken === holding) taken = undefined
    return verdict
  }

  return {
    write,
    committed(row) {
      stored = Number(row.ref)
    },
  }
}

function requestWrite(
  roomId: RoomId,
  room: number,
  request: number,
  previous: number,
  value: number,
  process: string,
) {
  const ref = String(request)
  return {
    fence: { room: roomId, value },
    once: { scope: 'check', key: ref, answer: ref },
    entries: [
      {
        kind: 'event' as const,
        room: roomId,
        ref,
        payload: process,
        tables: { check: [{ request, room, previous, process }] },
      },
    ],
  }
}
