import { isRoomId, type RoomId } from '../../../spec/ids.ts'
import type { Position } from '../../stream/log.ts'
import { type Coverage, coverageOf } from './coverage.ts'
import type { RequiredState } from './request.ts'

/** In place of a position: whatever happened up to the connection's own position was sent. */
export const live = -1

/** What a connection was sent of a room. */
export interface SentRoom {
  /** Up to where: a position, or `live`. */
  readonly upTo: Position
  /** The rules that what was sent fulfils. */
  readonly coverage: Coverage
  readonly isDm: boolean
}

/** All that a connection was sent; what is not in a map never was. Not changed once it is made. */
export interface Sent {
  readonly rooms: ReadonlyMap<RoomId, SentRoom>
  /** Up to where, as for rooms. */
  readonly accountData: ReadonlyMap<RoomId, Position>
  readonly receipts: ReadonlyMap<RoomId, Position>
}

export const nothingSent: Sent = { rooms: new Map(), accountData: new Map(), receipts: new Map() }

/** What will have been sent; copies the maps that change. */
export interface SentDraft {
  setRoom(room: RoomId, sent: SentRoom): void
  dropRoom(room: RoomId): void
  mark(kind: 'accountData' | 'receipts', room: RoomId, upTo: Position): void
  /** The same object as it was made from when nothing has changed. */
  result(): Sent
}

export function draftOf(before: Sent): SentDraft {
  let after = before
  let rooms: Map<RoomId, SentRoom> | undefined
  const marks: Partial<Record<'accountData' | 'receipts', Map<RoomId, Position>>> = {}

  function ownRooms(): Map<RoomId, SentRoom> {
    rooms ??= new Map(before.rooms)
    after = { ...after, rooms }
    return rooms
  }

  return {
    setRoom(room, sent) {
      const known = after.rooms.get(room)
      if (known !== undefined && isSame(known, sent)) return
      ownRooms().set(room, sent)
    },
    dropRoom(room) {
      if (after.rooms.has(room)) ownRooms().delete(room)
    },
    mark(kind, room, upTo) {
      if (after[kind].get(room) === upTo) return
      const own = marks[kind] ?? new Map(before[kind])
      marks[kind] = own
      after = { ...after, [kind]: own }
      own.set(room, upTo)
    },
    result: () => after,
  }
}

function isSame(a: SentRoom, b: SentRoom): boolean {
  return a.upTo === b.upTo && a.isDm === b.isDm && a.coverage.text === b.coverage.text
}

/** As JSON text; rules that rooms have in common are written once. */
export function writeSent({ rooms, accountData, receipts }: Sent): string {
  const coverages = new Map<string, number>()
  const texts: string[] = []
  const rows = [...rooms].map(([room, { upTo, coverage, isDm }]) => {
    const known = coverages.get(coverage.text)
    const at = known ?? texts.push(coverage.text) - 1
    if (known === undefined) coverages.set(coverage.text, at)
    return [room, upTo, at, isDm ? 1 : 0]
  })
  const rest = JSON.stringify([rows, [...accountData], [...receipts]])
  return `[[${texts.join(',')}],${rest.slice(1)}`
}

type StoredCoverage = [timelineLimit: number, required: readonly RequiredState[]]

/** Reads what `writeSent` wrote. */
export function readSent(text: string): Sent {
  const [coverages, rows, accountData, receipts]: [
    StoredCoverage[],
    [room: string, upTo: number, coverage: number, isDm: number][],
    [string, number][],
    [string, number][],
  ] = JSON.parse(text)
  const known = coverages.map(([timelineLimit, required]) =>
    coverageOf({ timelineLimit, required }),
  )
  const rooms = new Map<RoomId, SentRoom>()
  for (const [room, upTo, at, isDm] of rows) {
    const coverage = known[at]
    if (isRoomId(room) && coverage !== undefined) {
      rooms.set(room, { upTo, coverage, isDm: isDm === 1 })
    }
  }
  return { rooms, accountData: marksFrom(accountData), receipts: marksFrom(receipts) }
}

function marksFrom(rows: readonly [string, number][]): Map<RoomId, Position> {
  const marks = new Map<RoomId, Position>()
  for (const [room, upTo] of rows) if (isRoomId(room)) marks.set(room, upTo)
  return marks
}
