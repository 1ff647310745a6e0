/**
 * Owns where users want to be notified. Every change is a row of the log (an invalidation), so that each process knows
 * who has pushers. {@link https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3pushersset}
 */
import { badJson, invalidParam, MatrixError } from '../../spec/errors.ts'
import { type DeviceId, isUserId, type UserId } from '../../spec/ids.ts'
import { type JsonObject, stringAt } from '../../spec/json.ts'
import type { Database } from '../database/database.ts'
import { requireStorable, storedObject } from '../database/stored-text.ts'
import type { Clock } from '../platform/clock.ts'
import type { PushGateways } from '../ports.ts'
import type { Requester } from '../rooms/rooms.ts'
import type { LogEntry, LogWriter, Tail } from '../stream/log.ts'
import { writeDone } from '../stream/settled.ts'
import { createTailedCache } from '../stream/tailed-cache.ts'
import * as queries from './pusher-queries.ts'

export interface Pusher {
  readonly appId: string
  readonly pushkey: string
  readonly kind: string
  readonly appDisplayName: string
  readonly deviceDisplayName: string
  readonly profileTag?: string
  readonly lang: string
  readonly data: JsonObject
  /** A pusher can be switched off from another device. {@link https://github.com/matrix-org/matrix-spec-proposals/pull/3881} */
  readonly enabled: boolean
}

/** A pusher as it is stored. */
export interface StoredPusher extends Pusher {
  readonly device?: DeviceId
  /** Milliseconds since the epoch. */
  readonly updatedAt: number
}

export interface Pushers {
  list(user: UserId): Promise<readonly StoredPusher[]>
  /** `append`: other users' pushers of the same app and key stay. Throws M_INVALID_PARAM, M_MISSING_PARAM. */
  set(who: Requester, pusher: Pusher, append: boolean): Promise<void>
  delete(user: UserId, appId: string, pushkey: string): Promise<void>
  /** Everybody who may have a pusher; read once, and from then on told by the tail. */
  users(): Promise<ReadonlySet<UserId>>
}

export interface PushersNeeds {
  readonly db: Database
  readonly clock: Clock
  readonly log: Pick<LogWriter, 'write'>
  readonly tail: Pick<Tail, 'subscribe'>
  readonly pushGateways: Pick<PushGateways, 'accepts'>
}

const appIdLengthMax = 64
const pushkeyBytesMax = 512
const nameBytesMax = 1024
const dataBytesMax = 16_384
const pushersPerUserMax = 100
const usersCachedMax = 20_000
const kinds: ReadonlySet<string> = new Set(['http', 'email'])
const cacheName = 'pushers'
/** A session that ends takes its pushers along. */
const sessionPrefix = 'sessions:'

export function createPushers(needs: PushersNeeds): Pushers {
  const { db, log, tail, clock } = needs
  const cache = createTailedCache<readonly StoredPusher[]>({
    tail,
    name: cacheName,
    entriesMax: usersCachedMax,
    load: async (user) => (isUserId(user) ? (await queries.pushersOf(db, user)).map(pusherOf) : []),
  })
  const users = new Set<UserId>()
  let reading: Promise<ReadonlySet<UserId>> | undefined
  tail.subscribe('pushers', (rows) => {
    for (const { kind, ref, user } of rows) {
      if (kind !== 'invalidate' || user === undefined) continue
      if (ref.startsWith(sessionPrefix)) cache.drop(user)
      else if (ref === refOf(user)) users.add(user)
    }
  })

  async function readUsers(): Promise<ReadonlySet<UserId>> {
    for (const user of await queries.usersWithPushers(db)) users.add(user)
    return users
  }

  return {
    list: (user) => cache.get(user),
    async set(who, pusher, append) {
      requireAddress(pusher, needs.pushGateways)
      const row = { ...rowOf(who, pusher, clock.now()), append }
      const own = await queries.pushersOf(db, who.user)
      const isNew = !own.some((one) => one.app_id === row.app_id && one.pushkey === row.pushkey)
      if (isNew && own.length >= pushersPerUserMax) {
        throw new MatrixError('M_LIMIT_EXCEEDED', `more than ${pushersPerUserMax} pushers`, {
          status: 400,
        })
      }
      const owners = append ? [] : await queries.ownersOf(db, row.app_id, row.pushkey)
      const others = owners.filter((user) => user !== who.user)
      await writeDone(log, {
        entries: [change(who.user, { pushers: [row] }), ...others.map((user) => change(user, {}))],
      })
    },
    async delete(user, appId, pushkey) {
      requireStorable('app_id', appId, nameBytesMax)
      requireStorable('pushkey', pushkey, pushkeyBytesMax)
      const row = { user_id: user, app_id: appId, pushkey }
      await writeDone(log, { entries: [change(user, { pusher_delete: [row] })] })
    },
    users() {
      reading ??= readUsers().catch((error: unknown) => {
        reading = undefined
        throw error
      })
      return reading
    },
  }
}

/** Does the log row say that a user's pushers changed. */
export function refOf(user: UserId): string {
  return `${cacheName}:${user}`
}

function change(user: UserId, tables: Record<string, readonly JsonObject[]>): LogEntry {
  return { kind: 'invalidate', user, ref: refOf(user), payload: undefined, tables }
}

function requireAddress({ kind, data }: Pusher, gateways: Pick<PushGateways, 'accepts'>): void {
  if (!kinds.has(kind)) throw invalidParam('kind', 'neither http nor email')
  if (kind !== 'http') return
  const url = stringAt(data, 'url')
  if (url === undefined) throw new MatrixError('M_MISSING_PARAM', 'data.url: missing')
  if (!gateways.accepts(url)) {
    throw invalidParam('data.url', 'not an https address with the path /_matrix/push/v1/notify')
  }
}

function rowOf(who: Requester, pusher: Pusher, updatedAt: number) {
  const data = JSON.stringify(pusher.data)
  if (Buffer.byteLength(data) > dataBytesMax) throw badJson('data', 'too large')
  if (pusher.appId.length > appIdLengthMax) throw invalidParam('app_id', 'too long')
  return {
    user_id: who.user,
    app_id: requireStorable('app_id', pusher.appId, nameBytesMax),
    pushkey: requireStorable('pushkey', pusher.pushkey, pushkeyBytesMax),
    device_id: who.device ?? null,
    kind: pusher.kind,
    app_display_name: requireStorable('app_display_name', pusher.appDisplayName, nameBytesMax),
    device_display_name: requireStorable(
      'device_display_name',
      pusher.deviceDisplayName,
      nameBytesMax,
    ),
    profile_tag: requireStorable('profile_tag', pusher.profileTag ?? '', nameBytesMax) || null,
    lang: requireStorable('lang', pusher.lang, nameBytesMax),
    data: requireStorable('data', data, dataBytesMax),
    updated_at: Math.floor(updatedAt),
    enabled: pusher.enabled,
  }
}

function pusherOf(row: queries.PusherRow): StoredPusher {
  return {
    appId: row.app_id,
    pushkey: row.pushkey,
    kind: row.kind,
    appDisplayName: row.app_display_name,
    deviceDisplayName: row.device_display_name,
    lang: row.lang,
    data: storedObject(row.data),
    enabled: row.enabled,
    updatedAt: row.updated_at,
    ...(row.profile_tag === null ? {} : { profileTag: row.profile_tag }),
    ...(row.device_id === null ? {} : { device: row.device_id }),
  }
}
