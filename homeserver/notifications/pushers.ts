/** Owns where users want to be notified. {@link https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3pushersset} */
import { badJson, invalidParam, MatrixError } from '../../spec/errors.ts'
import type { UserId } from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import type { Database } from '../database/database.ts'
import { requireStorable, storedObject } from '../database/stored-text.ts'
import type { Clock } from '../platform/clock.ts'
import type { Requester } from '../rooms/rooms.ts'
import * as queries from './queries.ts'

export interface Pusher {
  readonly appId: string
  readonly pushkey: string
  readonly kind: string
  readonly appDisplayName: string
  readonly deviceDisplayName: string
  readonly profileTag?: string
  readonly lang: string
  readonly data: JsonObject
}

export interface Pushers {
  list(user: UserId): Promise<readonly Pusher[]>
  /** `append`: other users' pushers of the same app and key stay. */
  set(who: Requester, pusher: Pusher, append: boolean): Promise<void>
  delete(user: UserId, appId: string, pushkey: string): Promise<void>
}

const appIdLengthMax = 64
const pushkeyBytesMax = 512
const nameBytesMax = 1024
const dataBytesMax = 16_384
const pushersPerUserMax = 100

export function createPushers({ db, clock }: { db: Database; clock: Clock }): Pushers {
  return {
    async list(user) {
      return (await queries.pushersOf(db, user)).map(pusherOf)
    },
    async set(who, pusher, append) {
      const row = rowOf(who, pusher, clock.now())
      const others = await queries.pushersOf(db, who.user)
      if (others.length >= pushersPerUserMax) {
        throw new MatrixError('M_LIMIT_EXCEEDED', `more than ${pushersPerUserMax} pushers`, {
          status: 400,
        })
      }
      await queries.putPusher(db, row, append)
    },
    async delete(user, appId, pushkey) {
      await queries.deletePusher(db, user, appId, pushkey)
    },
  }
}

function rowOf(who: Requester, pusher: Pusher, createdAt: number): queries.PusherRow {
  const data = JSON.stringify(pusher.data)
  if (Buffer.byteLength(data) > dataBytesMax) throw badJson('data', 'too large')
  if (pusher.appId.length > appIdLengthMax) throw invalidParam('app_id', 'too long')
  return {
    user_id: who.user,
    app_id: requireStorable('app_id', pusher.appId, nameBytesMax),
    pushkey: requireStorable('pushkey', pusher.pushkey, pushkeyBytesMax),
    device_id: who.device ?? null,
    kind: requireStorable('kind', pusher.kind, nameBytesMax),
    app_display_name: requireStorable('app_display_name', pusher.appDisplayName, nameBytesMax),
    device_display_name: requireStorable(
      'device_display_name',
      pusher.deviceDisplayName,
      nameBytesMax,
    ),
    profile_tag: requireStorable('profile_tag', pusher.profileTag ?? '', nameBytesMax) || null,
    lang: requireStorable('lang', pusher.lang, nameBytesMax),
    data,
    created_at: createdAt,
  }
}

function pusherOf(row: queries.PusherRow): Pusher {
  return {
    appId: row.app_id,
    pushkey: row.pushkey,
    kind: row.kind,
    appDisplayName: row.app_display_name,
    deviceDisplayName: row.device_display_name,
    lang: row.lang,
    data: storedObject(row.data),
    ...(row.profile_tag === null ? {} : { profileTag: row.profile_tag }),
  }
}
