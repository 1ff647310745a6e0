import type { RoomId } from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import { matchesEvent } from '../../spec/sync/filter.ts'
import type { Receipts } from '../receipts/receipts.ts'
import type { Typing } from '../receipts/typing.ts'
import type { MembershipRow } from '../rooms/rooms.ts'
import { plainEvent } from './event-text.ts'
import type { Recent } from './recent.ts'
import type { Scope } from './request.ts'

export interface EphemeralNeeds {
  readonly typing: Pick<Typing, 'typingOf' | 'changedAt'>
  readonly receipts: Pick<Receipts, 'since' | 'contentOf'>
  readonly recent: Recent
}

/** Typing and receipts of joined rooms that are new to the client, as events by room. */
export async function readEphemeral(
  needs: EphemeralNeeds,
  joined: readonly MembershipRow[],
  scope: Scope,
): Promise<ReadonlyMap<RoomId, readonly string[]>> {
  const events = new Map<RoomId, string[]>()
  const filter = scope.filter.room?.ephemeral
  const add = (room: RoomId, type: string, content: string) => {
    if (!matchesEvent(filter, { type, roomId: room })) return
    const known = events.get(room)
    if (known === undefined) events.set(room, [plainEvent(type, content)])
    else known.push(plainEvent(type, content))
  }
  for (const row of joined) {
    const users = typingIn(needs.typing, row, scope)
    if (users !== undefined) add(row.room, 'm.typing', JSON.stringify({ user_ids: users }))
  }
  for (const [room, content] of await readReceipts(needs, joined, scope)) {
    add(room, 'm.receipt', JSON.stringify(content))
  }
  return events
}

/** Who is typing, when that is new; an empty list ends what the client was told before. */
function typingIn(
  typing: EphemeralNeeds['typing'],
  row: MembershipRow,
  { since, ignored }: Scope,
): readonly string[] | undefined {
  const isNew = since === undefined || row.since > since.position
  if (!isNew && typing.changedAt(row.room) <= since.typing) return undefined
  const users = typing.typingOf(row.room).filter((user) => !ignored.has(user))
  return isNew && users.length === 0 ? undefined : users
}

/** Of a room that is new to the client all receipts are; of others those that moved since. */
async function readReceipts(
  { receipts, recent }: EphemeralNeeds,
  joined: readonly MembershipRow[],
  { since, upTo, user, ignored }: Scope,
): Promise<ReadonlyMap<RoomId, JsonObject>> {
  const found = new Map<RoomId, JsonObject>()
  const toRead = new Map<number, RoomId[]>()
  const isRecent = since !== undefined && recent.covers(since.position)
  for (const { room, since: joinedAt } of joined) {
    const after = since === undefined || joinedAt > since.position ? 0 : since.position
    if (!isRecent || after === 0) {
      toRead.set(after, [...(toRead.get(after) ?? []), room])
      continue
    }
    const rows = recent.ofRoom(room, after, upTo).filter(({ kind }) => kind === 'receipt')
    const content = rows.length === 0 ? undefined : receipts.contentOf(rows, user, ignored)
    if (content !== undefined) found.set(room, content)
  }
  for (const [after, rooms] of toRead) {
    for (const [room, content] of await receipts.since(rooms, {
      after,
      upTo,
      viewer: user,
      ignored,
    })) {
      found.set(room, content)
    }
  }
  return found
}
