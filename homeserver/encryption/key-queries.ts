import { MatrixError } from '../../spec/errors.ts'
import {
  type DeviceId,
  isUserId,
  type ServerName,
  serverOfUser,
  type UserId,
} from '../../spec/ids.ts'
import type { Json, JsonObject } from '../../spec/json.ts'
import type { Database } from '../database/database.ts'
import { storedObject } from '../database/stored-text.ts'
import { failureOf, groupByServer } from './ask-servers.ts'
import { grouped } from './grouped.ts'
import * as queries from './queries.ts'
import type { RemoteKeys } from './remote-keys.ts'
import { publicPart, type UserKeys, withSignatures } from './signed-keys.ts'

const usersMax = 10_000

export interface KeyQueriesNeeds {
  readonly db: Database
  readonly remoteKeys: Pick<RemoteKeys, 'keysOf'>
  readonly serverName: ServerName
  readonly deviceNames: (
    users: readonly UserId[],
  ) => Promise<ReadonlyMap<UserId, ReadonlyMap<DeviceId, string | undefined>>>
}

/** Answers who has which keys: from the tables for local users, over federation or from what is kept for others. */
export function createKeyQueries(needs: KeyQueriesNeeds) {
  const { db, serverName, remoteKeys } = needs

  async function localKeys(
    users: readonly UserId[],
    viewer: UserId | undefined,
  ): Promise<Map<UserId, UserKeys>> {
    if (users.length === 0) return new Map()
    const [deviceRows, crossSigningRows, signatureRows, names] = await Promise.all([
      queries.deviceKeysOf(db, users),
      queries.crossSigningKeysOf(db, users),
      queries.signaturesOn(db, users, viewer),
      // Other servers are not told what a user calls a device.
      viewer === undefined ? undefined : needs.deviceNames(users),
    ])
    const devices = grouped(deviceRows, (row) => row.user_id)
    const crossSigning = grouped(crossSigningRows, (row) => row.user_id)
    const signatures = grouped(signatureRows, (row) => row.target_user_id)
    return new Map(
      users.map((user) => [
        user,
        userKeys(
          user,
          viewer,
          devices.get(user) ?? [],
          crossSigning.get(user) ?? [],
          signatures.get(user) ?? [],
          names?.get(user),
        ),
      ]),
    )
  }

  /** The viewer's own signatures on the keys of a remote user. */
  async function withOwnSignatures(
    keys: Map<UserId, UserKeys>,
    viewer: UserId,
  ): Promise<Map<UserId, UserKeys>> {
    if (keys.size === 0) return keys
    const rows = await queries.signaturesOn(db, [...keys.keys()], viewer)
    if (rows.length === 0) return keys
    const byTarget = grouped(rows, (row) => row.target_user_id)
    return new Map(
      [...keys].map(([user, { master, ...others }]) => {
        const mine = byTarget.get(user) ?? []
        return [
          user,
          master === undefined ? others : { ...others, master: withSignatures(master, mine) },
        ]
      }),
    )
  }

  async function query(viewer: UserId, deviceKeys: JsonObject): Promise<JsonObject> {
    requireQuery(deviceKeys)
    const { local, remotes } = groupByServer(deviceKeys, serverName)
    const failures: Record<string, Json> = {}
    const foreign = await Promise.all(
      remotes.map(async ([server, users]) => {
        try {
          return await withOwnSignatures(
            await remoteKeys.keysOf(server, Object.keys(users).filter(isUserId)),
            viewer,
          )
        } catch (error) {
          failures[server] = failureOf(error)
          return new Map<UserId, UserKeys>()
        }
      }),
    )
    const here = await localKeys(Object.keys(local).filter(isUserId), viewer)
    return { ...answer(deviceKeys, [here, ...foreign]), failures }
  }

  async function localQuery(deviceKeys: JsonObject): Promise<JsonObject> {
    requireQuery(deviceKeys)
    const { local } = groupByServer(deviceKeys, serverName)
    const keys = await localKeys(Object.keys(local).filter(isUserId), undefined)
    return answer(local, [keys])
  }

  async function localDevicesOf(user: UserId): Promise<JsonObject> {
    if (serverOfUser(user) !== serverName) throw new MatrixError('M_NOT_FOUND', 'user not found')
    // Read before the devices: an update in between is then seen as one after this answer.
    const stream_id = await queries.streamIdOf(db, user)
    const keys = (await localKeys([user], undefined)).get(user)
    const devices = Object.entries(keys?.devices ?? {}).map(([device_id, of]) => ({
      device_id,
      keys: of,
    }))
    return {
      user_id: user,
      stream_id,
      devices,
      ...(keys?.master === undefined ? {} : { master_key: keys.master }),
      ...(keys?.selfSigning === undefined ? {} : { self_signing_key: keys.selfSigning }),
    }
  }

  return { query, localQuery, localDevicesOf }
}

function requireQuery(deviceKeys: JsonObject): void {
  if (Object.keys(deviceKeys).length > usersMax) {
    throw new MatrixError('M_TOO_LARGE', `keys of more than ${usersMax} users`)
  }
}

/** The keys of several parts as one answer; without the user-signing keys when nobody asks for himself. */
function answer(asked: JsonObject, parts: readonly ReadonlyMap<UserId, UserKeys>[]): JsonObject {
  const users = parts.flatMap((part) => [...part])
  const mapOf = (pick: (keys: UserKeys) => JsonObject | undefined): JsonObject =>
    Object.fromEntries(
      users.flatMap(([user, keys]) => {
        const key = pick(keys)
        return key === undefined ? [] : [[user, key]]
      }),
    )
  const userSigning = mapOf((keys) => keys.userSigning)
  return {
    device_keys: Object.fromEntries(
      users.map(([user, keys]) => [user, wanted(keys.devices, asked[user])]),
    ),
    master_keys: mapOf((keys) => keys.master),
    self_signing_keys: mapOf((keys) => keys.selfSigning),
    ...(Object.keys(userSigning).length === 0 ? {} : { user_signing_keys: userSigning }),
  }
}

/** Those devices that were asked for; an empty list asks for all. */
function wanted(devices: JsonObject, ids: Json | undefined): JsonObject {
  if (!Array.isArray(ids) || ids.length === 0) return devices
  const named = new Set<Json>(ids)
  return Object.fromEntries(Object.entries(devices).filter(([id]) => named.has(id)))
}

function userKeys(
  user: UserId,
  viewer: UserId | undefined,
  devices: readonly queries.DeviceKeysRow[],
  crossSigning: readonly queries.CrossSigningRow[],
  signatures: readonly queries.SignatureRow[],
  names: ReadonlyMap<DeviceId, string | undefined> | undefined,
): UserKeys {
  const byKey = grouped(signatures, (row) => row.target_key_id)
  const on = (keyId: string) => byKey.get(keyId) ?? []
  const byDevice = devices.map((row) => {
    const keys = withSignatures(storedObject(row.keys), on(row.device_id))
    const name = names?.get(row.device_id)
    return [
      row.device_id,
      { ...keys, unsigned: name === undefined ? {} : { device_display_name: name } },
    ]
  })
  const byUsage = new Map(crossSigning.map((row) => [row.usage, storedObject(row.key)]))
  const master = byUsage.get('master')
  const selfSigning = byUsage.get('self_signing')
  const userSigning = viewer === user ? byUsage.get('user_signing') : undefined
  return {
    devices: Object.fromEntries(byDevice),
    ...(master ? { master: withSignatures(master, on(publicPart(master))) } : {}),
    ...(selfSigning ? { selfSigning } : {}),
    ...(userSigning ? { userSigning } : {}),
  }
}
