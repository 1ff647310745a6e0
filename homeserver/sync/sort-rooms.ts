import { matchesRoom } from '../../spec/sync/filter.ts'
import type { MembershipRow } from '../rooms/rooms.ts'
import type { Scope } from './request.ts'

/** A user's rooms by the section of the answer they may be in. */
export interface SortedRooms {
  readonly joined: readonly MembershipRow[]
  readonly invited: readonly MembershipRow[]
  readonly knocked: readonly MembershipRow[]
  readonly left: readonly MembershipRow[]
}

/** Sorts memberships as they were at `upTo`; whoever came into a section before `since` is in it only if joined. */
export function sortRooms(rows: Iterable<MembershipRow>, scope: Scope): SortedRooms {
  const joined: MembershipRow[] = []
  const invited: MembershipRow[] = []
  const knocked: MembershipRow[] = []
  const left: MembershipRow[] = []
  const { since, ignored } = scope
  const filter = scope.filter.room
  for (const row of rows) {
    if (!matchesRoom(filter, row.room)) continue
    const isNew = since === undefined || row.since > since.position
    const isMoved = since === undefined || row.position > since.position
    switch (row.membership) {
      case 'join':
        joined.push(row)
        break
      case 'invite':
        if ((isMoved || scope.fullState) && !ignored.has(row.sender)) invited.push(row)
        break
      case 'knock':
        if (isMoved || scope.fullState) knocked.push(row)
        break
      default:
        if (isLeftShown(row, isNew, scope)) left.push(row)
    }
  }
  return { joined, invited, knocked, left }
}

/** A room that was left is shown once; later only to those who ask for such rooms, and not when it was forgotten. */
function isLeftShown(row: MembershipRow, isNew: boolean, scope: Scope): boolean {
  if (scope.since !== undefined && isNew) return true
  if (scope.since !== undefined && !scope.fullState) return false
  return scope.filter.room?.include_leave === true && !row.forgotten
}
