import { isDeepStrictEqual } from 'node:util'
import { MatrixError } from '../../spec/errors.ts'
import {
  type DeviceId,
  isDeviceId,
  isUserId,
  type ServerName,
  type UserId,
} from '../../spec/ids.ts'
import { integerAt, isObject, type Json, type JsonObject, objectAt } from '../../spec/json.ts'
import type { Database } from '../database/database.ts'
import { storedObject } from '../database/stored-text.ts'
import type { Clock } from '../platform/clock.ts'
import type { Remote } from '../ports.ts'
import type { Memberships } from '../rooms/rooms.ts'
import type { Tail } from '../stream/log.ts'
import { grouped } from './grouped.ts'
import * as queries from './queries.ts'
import { scheduleLists } from './refresh-queries.ts'
import type { UserKeys } from './signed-keys.ts'

export const devicesPerUserMax = 10_000
const keysBytesMax = 65_536
/** Users asked for one by one, with the number of their newest update; more are asked for together, without. */
const singlyMax = 10
/** When a list that is kept is asked for again, and one that could not be had; in milliseconds. */
const keptMs = 86_400_000
const retryMs = 30_000

/**
 * Keys of other servers' users. They are kept while somebody here shares a room with the user, because only then
 * does the user's server tell us of changes. Such a change makes what is kept stale, and so does a gap in sharing.
 */
export function createRemoteKeys(needs: {
  db: Database
  tail: Pick<Tail, 'position'>
  memberships: Pick<Memberships, 'ofUser' | 'ofRoom' | 'localJoined'>
  remote: Pick<Remote, 'queryKeys' | 'userDevices'>
  clock: Pick<Clock, 'now'>
}) {
  const { db, tail, memberships, remote, clock } = needs

  /** Has a user of this server shared a room with `user` at all times since the position. */
  async function isTracked(user: UserId, since: number): Promise<boolean> {
    for (const [room, row] of await memberships.ofUser(user)) {
      if (row.membership !== 'join' || row.since > since) continue
      const members = await memberships.ofRoom(room)
      for (const local of await memberships.localJoined(room)) {
        if ((members.get(local)?.since ?? since) <= since) return true
      }
    }
    return false
  }

  async function kept(users: readonly UserId[]): Promise<Map<UserId, UserKeys>> {
    if (users.length === 0) return new Map()
    const devices = grouped(await queries.remoteDevicesOf(db, users), (row) => row.user_id)
    const signing = grouped(await queries.crossSigningKeysOf(db, users), (row) => row.user_id)
    return new Map(
      users.map((user) => {
        const own = devices.get(user) ?? []
        const usage = (name: string) => signing.get(user)?.find((row) => row.usage === name)?.key
        return [
          user,
          keysOfParts(
            own.map((row) => [row.device_id, storedObject(row.keys)]),
            usage('master'),
            usage('self_signing'),
          ),
        ]
      }),
    )
  }

  /** All devices of these users of one server. Rejects when the server had to be asked and did not answer. */
  async function keysOf(
    server: ServerName,
    users: readonly UserId[],
  ): Promise<Map<UserId, UserKeys>> {
    const keptAt = tail.position
    const tracked: UserId[] = []
    for (const user of users) if (await isTracked(user, keptAt)) tracked.push(user)
    const lists = tracked.length === 0 ? [] : await queries.remoteLists(db, tracked)
    const fresh: UserId[] = []
    for (const list of lists) {
      if (list.fresh && (await isTracked(list.user_id, list.kept_at))) fresh.push(list.user_id)
    }
    const known = await kept(fresh)
    const asked = users.filter((user) => !known.has(user))
    if (asked.length === 0) return known
    for (const [user, found] of await askOrRetry(server, asked, lists)) {
      known.set(user, found.keys)
      const list = lists.find((one) => one.user_id === user)
      if (list) await keep(list, keptAt, found)
    }
    return known
  }

  /** A server that does not answer now is asked again later for the lists that somebody here follows. */
  async function askOrRetry(
    server: ServerName,
    users: readonly UserId[],
    lists: readonly queries.RemoteListRow[],
  ): Promise<Map<UserId, Found>> {
    try {
      return await ask(server, users, lists)
    } catch (error) {
      const followed = lists.map((list) => list.user_id).filter((user) => users.includes(user))
      await scheduleLists(db, followed, clock.now() + retryMs)
      throw error
    }
  }

  /** Asks anew for lists; answers whose keys are others than what was known. Rejects when the server does not answer. */
  async function refresh(
    server: ServerName,
    lists: readonly queries.RemoteListRow[],
  ): Promise<UserId[]> {
    const keptAt = tail.position
    const changed: UserId[] = []
    const known = await kept(lists.filter((list) => list.fresh).map((list) => list.user_id))
    const users = lists.map((list) => list.user_id)
    for (const [user, found] of await ask(server, users, lists)) {
      const list = lists.find((one) => one.user_id === user)
      if (!list || !(await keep(list, keptAt, found))) continue
      if (!isDeepStrictEqual(known.get(user), found.keys)) changed.push(user)
    }
    return changed
  }

  /** Lists that will be kept are asked for with their number, so that later updates can go into them. */
  async function ask(
    server: ServerName,
    users: readonly UserId[],
    lists: readonly queries.RemoteListRow[],
  ): Promise<Map<UserId, Found>> {
    const toKeep = users.filter((user) => lists.some((list) => list.user_id === user))
    const singly = toKeep.length <= singlyMax ? toKeep : []
    const found = new Map<UserId, Found>()
    await Promise.all(
      singly.map(async (user) => {
        const one = await askForOne(server, user)
        if (one) found.set(user, one)
      }),
    )
    const others = users.filter((user) => !found.has(user))
    if (others.length === 0) return found
    const query = Object.fromEntries(others.map((user) => [user, []]))
    const answer = await remote.queryKeys(server, query)
    for (const user of others) found.set(user, { keys: keysIn(answer, user), streamId: undefined })
    return found
  }

  /** Undefined when the server does not say it in this way; rejects when it does not answer. */
  async function askForOne(server: ServerName, user: UserId): Promise<Found | undefined> {
    try {
      return foundIn(await remote.userDevices(server, user), user)
    } catch (error) {
      if (error instanceof MatrixError && error.status < 500) return undefined
      throw error
    }
  }

  /** False when something else came in since the list was read. */
  async function keep(
    { user_id: user, version }: queries.RemoteListRow,
    keptAt: number,
    { keys, streamId }: Found,
  ): Promise<boolean> {
    const list = { user, version, keptAt, streamId, dueAt: clock.now() + keptMs }
    const devices = Object.entries(keys.devices).map(([device, of]) => ({
      device,
      keys: JSON.stringify(of),
    }))
    const signing = [
      ...(keys.master ? [{ usage: 'master', key: JSON.stringify(keys.master) }] : []),
      ...(keys.selfSigning
        ? [{ usage: 'self_signing', key: JSON.stringify(keys.selfSigning) }]
        : []),
    ]
    return await queries.keepRemoteKeys(db, list, devices, signing)
  }

  return {
    keysOf,
    refresh,
    /** Does somebody here share a room with the user. */
    isTracked: (user: UserId) => isTracked(user, tail.position),
  }
}

export type RemoteKeys = ReturnType<typeof createRemoteKeys>

/** Keys of one user, and the newest update that is in them. */
interface Found {
  readonly keys: UserKeys
  readonly streamId: number | undefined
}

function keysOfParts(
  devices: readonly (readonly [DeviceId, JsonObject])[],
  master: string | undefined,
  selfSigning: string | undefined,
): UserKeys {
  return {
    devices: Object.fromEntries(devices),
    ...(master === undefined ? {} : { master: storedObject(master) }),
    ...(selfSigning === undefined ? {} : { selfSigning: storedObject(selfSigning) }),
  }
}

/** What an answer says about a user; parts that claim to be another's are left out. */
function keysIn(answer: JsonObject, user: UserId): UserKeys {
  const given = objectAt(objectAt(answer, 'device_keys') ?? {}, user) ?? {}
  const devices = Object.entries(given)
    .slice(0, devicesPerUserMax)
    .filter(([id, keys]) => isDeviceId(id) && isOf(keys, user) && keys['device_id'] === id)
  const master = objectAt(objectAt(answer, 'master_keys') ?? {}, user)
  const selfSigning = objectAt(objectAt(answer, 'self_signing_keys') ?? {}, user)
  return {
    devices: Object.fromEntries(devices),
    ...(isOf(master, user) ? { master } : {}),
    ...(isOf(selfSigning, user) ? { selfSigning } : {}),
  }
}

/** What an answer of user/devices says; undefined when it is about somebody else. */
function foundIn(answer: JsonObject, user: UserId): Found | undefined {
  const { user_id: subject, devices: given, master_key: master, self_signing_key: self } = answer
  if (subject !== user || !Array.isArray(given)) return undefined
  const devices = given.slice(0, devicesPerUserMax).flatMap((device: Json) => {
    if (!isObject(device)) return []
    const { device_id: id, keys, device_display_name: name } = device
    if (!isDeviceId(id) || !isOf(keys, user) || keys['device_id'] !== id) return []
    const unsigned = { ...objectAt(keys, 'unsigned'), device_display_name: name ?? null }
    return [[id, typeof name === 'string' ? { ...keys, unsigned } : keys] as const]
  })
  const keys = {
    devices: Object.fromEntries(devices),
    ...(isOf(master, user) ? { master } : {}),
    ...(isOf(self, user) ? { selfSigning: self } : {}),
  }
  return { keys, streamId: integerAt(answer, 'stream_id') }
}

/** Are these keys that say to be the user's, of a size that can be kept. */
export function isOf(keys: Json | undefined, user: UserId): keys is JsonObject {
  if (!isObject(keys) || !isUserId(keys['user_id'])) return false
  return keys['user_id'] === user && JSON.stringify(keys).length <= keysBytesMax
}
