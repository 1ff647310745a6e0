/** {@link https://spec.matrix.org/v1.19/client-server-api/#room-tagging} */
import { MatrixError } from '../../spec/errors.ts'
import type { RoomId, UserId } from '../../spec/ids.ts'
import { type JsonObject, objectAt } from '../../spec/json.ts'
import type { Database } from '../database/database.ts'
import { requireStorable, storedObject } from '../database/stored-text.ts'
import type { LogEntry, LogWriter } from '../stream/log.ts'
import { refusal } from '../stream/settled.ts'
import * as queries from './queries.ts'

export interface Tags {
  tags(user: UserId, room: RoomId): Promise<JsonObject>
  setTag(user: UserId, room: RoomId, tag: string, content: JsonObject): Promise<void>
  /** A tag that is not there is passed over. */
  deleteTag(user: UserId, room: RoomId, tag: string): Promise<void>
}

const tagsMax = 1000
const tagBytesMax = 255
const attemptsMax = 10

/** Tags are one piece of account data of a room, of which a client changes a part. */
export function createTags(needs: {
  db: Database
  log: Pick<LogWriter, 'write'>
  entry: (user: UserId, room: RoomId, type: string, content: JsonObject) => LogEntry
}): Tags {
  async function read(user: UserId, room: RoomId): Promise<{ tags: JsonObject; position: number }> {
    const row = await queries.findAccountData(needs.db, user, room, 'm.tag')
    if (row === undefined) return { tags: {}, position: 0 }
    return { tags: objectAt(storedObject(row.content), 'tags') ?? {}, position: row.position }
  }

  /** Of two changes that start from the same tags, the second starts again from the first one's. */
  async function change(user: UserId, room: RoomId, make: (tags: JsonObject) => JsonObject) {
    for (let attempt = 0; attempt < attemptsMax; attempt++) {
      const { tags, position } = await read(user, room)
      const next = make(tags)
      if (next === tags) return
      const key = JSON.stringify([user, room, position])
      const verdict = await needs.log.write({
        once: { scope: 'tags', key, answer: '' },
        entries: [needs.entry(user, room, 'm.tag', { tags: next })],
      })
      if (verdict.kind === 'done') return
      if (verdict.kind !== 'duplicate') throw refusal(verdict)
    }
    throw new MatrixError('M_UNKNOWN', 'the tags are changing too often')
  }

  return {
    tags: async (user, room) => (await read(user, room)).tags,
    async setTag(user, room, tag, content) {
      requireStorable('tag', tag, tagBytesMax)
      await change(user, room, (tags) => {
        if (Object.keys(tags).length >= tagsMax && !Object.hasOwn(tags, tag)) {
          throw new MatrixError('M_TOO_LARGE', `more than ${tagsMax} tags on a room`)
        }
        return { ...tags, [tag]: content }
      })
    },
    async deleteTag(user, room, tag) {
      await change(user, room, (tags) => {
        const { [tag]: removed, ...others } = tags
        return removed === undefined ? tags : others
      })
    },
  }
}
