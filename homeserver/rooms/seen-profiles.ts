/** Users as others see them: by their names in rooms that the viewer is in, or that anybody may come into. */
import type { RoomId, UserId } from '../../spec/ids.ts'
import type { Database } from '../database/database.ts'
import type { Events } from '../events/events.ts'
import { joinedRowsOf } from './queries.ts'
import type { Memberships } from './rooms.ts'

/** A name and an avatar in one room. */
export interface SeenProfile {
  readonly displayName?: string
  readonly avatarUrl?: string
}

interface Needs {
  readonly db: Database
  readonly events: Pick<Events, 'currentEntry'>
  readonly memberships: Pick<Memberships, 'isJoined'>
}

/** Memberships that are looked through for one question. */
const rowsMax = 20_000

/** Answers, for each of these users whom the viewer may know of, how they are called where the viewer may see it. */
export function createSeenProfiles({ db, events, memberships }: Needs) {
  async function isPublic(room: RoomId): Promise<boolean> {
    const joinRules = await events.currentEntry(room, 'm.room.join_rules', '')
    if (joinRules?.pdu.content['join_rule'] === 'public') return true
    const visibility = await events.currentEntry(room, 'm.room.history_visibility', '')
    return visibility?.pdu.content['history_visibility'] === 'world_readable'
  }

  return async (
    viewer: UserId,
    users: readonly UserId[],
  ): Promise<ReadonlyMap<UserId, readonly SeenProfile[]>> => {
    const seen = new Map<UserId, SeenProfile[]>()
    const open = new Map<RoomId, boolean>()
    for (const row of await joinedRowsOf(db, users, rowsMax)) {
      const { room_id: room, user_id: user, display_name: name, avatar_url: avatar } = row
      const isOpen =
        open.get(room) ?? ((await memberships.isJoined(viewer, room)) || (await isPublic(room)))
      open.set(room, isOpen)
      if (!isOpen) continue
      const profile = {
        ...(name !== null && { displayName: name }),
        ...(avatar !== null && { avatarUrl: avatar }),
      }
      seen.set(user, [...(seen.get(user) ?? []), profile])
    }
    return seen
  }
}
