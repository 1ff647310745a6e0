import { isRoomId, type RoomId, type UserId } from '../../../spec/ids.ts'
import { isObject } from '../../../spec/json.ts'
import type { AccountData } from '../../accounts/account-data.ts'
import { storedObject } from '../../database/stored-text.ts'
import type { Tail } from '../../stream/log.ts'
import { createTailedCache } from '../../stream/tailed-cache.ts'
import { userKey } from './room-key.ts'

/** What a user has said about their rooms in account data. */
export interface UserRooms {
  /** Rooms that are direct messages. */
  direct(user: UserId): Promise<ReadonlySet<RoomId>>
  /** Names of the tags of each room that has any. */
  tags(user: UserId): Promise<ReadonlyMap<RoomId, ReadonlySet<string>>>
}

const usersMax = 20_000
const directType = 'm.direct'
const tagType = 'm.tag'

/** Reads each once, and again when it has changed; after account data, before the tail starts. */
export function createUserRooms(needs: {
  readonly tail: Pick<Tail, 'subscribe'>
  readonly accountData: Pick<AccountData, 'all'>
}): UserRooms {
  const { tail, accountData } = needs
  const direct = createTailedCache<ReadonlySet<RoomId>>({
    tail,
    name: 'direct_rooms',
    entriesMax: usersMax,
    load: async (key) => {
      const all = await accountData.all(userKey(key))
      const found = all.find(({ room, type }) => room === undefined && type === directType)
      return found === undefined ? new Set() : directIn(found.content)
    },
    staleBy: (row) => (row.kind === 'accountData' && row.ref === directType ? row.user : undefined),
  })
  const tags = createTailedCache<ReadonlyMap<RoomId, ReadonlySet<string>>>({
    tail,
    name: 'room_tags',
    entriesMax: usersMax,
    load: async (key) => {
      const found = new Map<RoomId, ReadonlySet<string>>()
      for (const { room, type, content } of await accountData.all(userKey(key))) {
        if (room !== undefined && type === tagType) found.set(room, tagsIn(content))
      }
      return found
    },
    staleBy: (row) => (row.kind === 'accountData' && row.ref === tagType ? row.user : undefined),
  })
  return { direct: direct.get, tags: tags.get }
}

/** `{user: [room, …], …}`; clients have been seen to write other things. */
function directIn(text: string): ReadonlySet<RoomId> {
  const lists = Object.values(storedObject(text))
  return new Set(lists.flatMap((list) => (Array.isArray(list) ? list.filter(isRoomId) : [])))
}

function tagsIn(text: string): ReadonlySet<string> {
  const { tags } = storedObject(text)
  return new Set(isObject(tags) ? Object.keys(tags) : [])
}
