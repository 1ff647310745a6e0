/**
 * Owns who must hear of a change of a user's devices or keys: local users through log rows of kind deviceList,
 * other servers through outbox rows in the same write. Also what this server keeps of remote users' devices.
 * {@link https://spec.matrix.org/v1.19/client-server-api/#tracking-the-device-list-for-a-user}
 */
import {
  type DeviceId,
  isUserId,
  type ServerName,
  serverOfUser,
  type UserId,
} from '../../spec/ids.ts'
import { integerAt, isObject, type Json, type JsonObject, stringAt } from '../../spec/json.ts'
import type { Database } from '../database/database.ts'
import { eduEntry } from '../destinations/destinations.ts'
import type { PartialRooms } from '../events/partial-rooms.ts'
import type { Memberships } from '../rooms/rooms.ts'
import type { LogEntry, LogWriter, Tail } from '../stream/log.ts'
import { writeDone } from '../stream/settled.ts'
import { createListChanges, type ListChanges } from './list-changes.ts'
import * as queries from './queries.ts'
import { devicesPerUserMax, isOf } from './remote-keys.ts'
import { withSignatures } from './signed-keys.ts'

/** What became of one device. */
interface DeviceChange {
  readonly device: DeviceId
  /** Absent for a device that is gone, or has none. */
  readonly keys?: JsonObject
  /** Says of a device without keys that it is there. */
  readonly isThere?: true
}

export interface DeviceLists {
  /** Log entries of one write that tell everybody of these changes; none when nothing is to be told. */
  changed(user: UserId, changes: readonly DeviceChange[]): Promise<readonly LogEntry[]>
  deleted(user: UserId, devices: readonly DeviceId[]): Promise<readonly LogEntry[]>
  renamed(user: UserId, device: DeviceId): Promise<readonly LogEntry[]>
  /** As `changed`, for the cross-signing keys of a user; `keys` as other servers may see them. */
  signingKeysChanged(
    user: UserId,
    keys: { master?: JsonObject; selfSigning?: JsonObject },
  ): Promise<readonly LogEntry[]>
  /**
   * Users whose devices `user` must ask for anew, and users with whom nothing is shared any more, because of what
   * happened with since < position <= upTo.
   */
  changedFor(user: UserId, since: number, upTo: number): Promise<ListChanges>
  /** EDUs of other servers. What does not fit (foreign user, nobody here shares a room) is passed over. */
  onRemoteDeviceListUpdate(origin: ServerName, content: JsonObject): Promise<void>
  onRemoteSigningKeyUpdate(origin: ServerName, content: JsonObject): Promise<void>
}

export interface DeviceListsNeeds {
  readonly db: Database
  readonly log: Pick<LogWriter, 'write'>
  readonly tail: Pick<Tail, 'subscribe' | 'position'>
  readonly memberships: Memberships
  readonly serverName: ServerName
  /** Rooms whose members are not all known; there are none when absent. */
  readonly partial?: Pick<PartialRooms, 'all' | 'serversOf'>
}

/** Fields of an m.signing_key_update, and the key that each is. */
const signingFields = [
  ['master_key', 'master'],
  ['self_signing_key', 'self_signing'],
] as const

export function createDeviceLists(needs: DeviceListsNeeds): DeviceLists {
  const { db, log, memberships, serverName } = needs
  const listChanges = createListChanges(needs)

  async function remoteServersOf(user: UserId): Promise<ServerName[]> {
    const servers = new Set<ServerName>()
    for (const other of await memberships.sharingWith(user)) servers.add(serverOfUser(other))
    for (const room of (await needs.partial?.all()) ?? [])
      if (await memberships.isJoined(user, room))
        for (const server of (await needs.partial?.serversOf(room)) ?? []) servers.add(server)
    servers.delete(serverName)
    return [...servers]
  }

  async function changed(
    user: UserId,
    changes: readonly DeviceChange[],
  ): Promise<readonly LogEntry[]> {
    if (changes.length === 0) return []
    const { previous, ids } = await queries.takeStreamIds(db, user, changes.length)
    const edus = changes.map(({ device, keys, isThere }, n) => {
      const before = n === 0 ? previous : ids[n - 1]
      const prev_id = before === null || before === undefined ? [] : [before]
      const head = { user_id: user, device_id: device, stream_id: ids[n] ?? 0, prev_id }
      const gone = isThere ? head : { ...head, deleted: true }
      return { device, content: keys === undefined ? gone : { ...head, keys } }
    })
    const servers = await remoteServersOf(user)
    const outgoing = servers.flatMap((destination) =>
      edus.map(({ device, content }) =>
        eduEntry(
          destination,
          { edu_type: 'm.device_list_update', content },
          `device:${user}:${device}`,
        ),
      ),
    )
    return [listEntry(user, 'devices'), ...outgoing]
  }

  /** Keys as other servers may see them. */
  async function deviceKeys(user: UserId): Promise<Map<DeviceId, JsonObject>> {
    const rows = await queries.deviceKeysOf(db, [user])
    const signatures = await queries.signaturesOn(db, [user], undefined)
    return new Map(
      rows.map((row) => {
        const own = signatures.filter((one) => one.target_key_id === row.device_id)
        return [row.device_id, withSignatures(keysOf(row.keys), own)]
      }),
    )
  }

  /** The user of an EDU, as long as somebody here shares a room: nobody else has use for it. */
  async function userOfInterest(
    origin: ServerName,
    { user_id: user }: JsonObject,
  ): Promise<UserId | undefined> {
    if (!isUserId(user) || serverOfUser(user) !== origin || origin === serverName) return undefined
    for (const other of await memberships.sharingWith(user))
      if (serverOfUser(other) === serverName) return user
    for (const room of (await needs.partial?.all()) ?? [])
      if ((await needs.partial?.serversOf(room))?.has(origin)) return user
    return undefined
  }

  /**
   * Goes into what is kept when it follows on it. Otherwise updates were lost, and the list is asked for anew.
   */
  async function onRemoteDeviceListUpdate(origin: ServerName, content: JsonObject): Promise<void> {
    const user = await userOfInterest(origin, content)
    if (user === undefined) return
    const stream_id = integerAt(content, 'stream_id')
    const device_id = stringAt(content, 'device_id')
    const keys = content['deleted'] === true ? undefined : content['keys']
    if (stream_id === undefined || device_id === undefined || !isUsable(keys, user, device_id)) {
      return await write(listEntry(user, 'devices', { remote_list_stale: [{ user_id: user }] }))
    }
    // Each server that comes into a room may tell again what it has told before.
    if (await queries.hasUpdate(db, user, stream_id)) return
    const row = {
      user_id: user,
      device_id,
      stream_id,
      prev_ids: integersIn(content['prev_id']),
      devices_max: devicesPerUserMax,
      ...(isObject(keys) && { keys: JSON.stringify(keys) }),
    }
    await write(listEntry(user, 'devices', { remote_device_update: [row] }))
  }

  async function onRemoteSigningKeyUpdate(origin: ServerName, content: JsonObject): Promise<void> {
    const user = await userOfInterest(origin, content)
    if (user === undefined) return
    const rows = signingFields.flatMap(([field, usage]) => {
      const key = content[field]
      return isOf(key, user) ? [{ user_id: user, usage, key: JSON.stringify(key) }] : []
    })
    const isWhole = signingFields.every(([field]) => !content[field] || isOf(content[field], user))
    await write(
      isWhole && rows.length > 0
        ? listEntry(user, 'signing', { remote_signing_update: rows })
        : listEntry(user, 'signing', { remote_list_stale: [{ user_id: user }] }),
    )
  }

  async function write(entry: LogEntry): Promise<void> {
    await writeDone(log, { entries: [entry] })
  }

  return {
    changed,
    async deleted(user, devices) {
      const known = await deviceKeys(user)
      return await changed(
        user,
        devices.filter((id) => known.has(id)).map((device) => ({ device })),
      )
    },
    async renamed(user, device) {
      const keys = (await deviceKeys(user)).get(device)
      const change: DeviceChange = keys === undefined ? { device, isThere: true } : { device, keys }
      return await changed(user, [change])
    },
    async signingKeysChanged(user, { master, selfSigning }) {
      const content = {
        user_id: user,
        ...(master === undefined ? {} : { master_key: master }),
        ...(selfSigning === undefined ? {} : { self_signing_key: selfSigning }),
      }
      const servers = await remoteServersOf(user)
      const outgoing = servers.map((destination) =>
        eduEntry(destination, { edu_type: 'm.signing_key_update', content }, `signing:${user}`),
      )
      return [listEntry(user, 'signing'), ...outgoing]
    },
    changedFor: listChanges.changedFor,
    onRemoteDeviceListUpdate,
    onRemoteSigningKeyUpdate,
  }
}

/** The row from which local syncs learn that `user`'s keys are to be asked for anew. */
export function listEntry(
  user: UserId,
  ref: string,
  tables: Readonly<Record<string, readonly JsonObject[]>> = {},
): LogEntry {
  const all = { device_list: [{ user_id: user }], ...tables }
  return { kind: 'deviceList', user, ref, payload: undefined, tables: all }
}

function keysOf(text: string): JsonObject {
  const keys: unknown = JSON.parse(text)
  return isObject(keys) ? keys : {}
}

/** Can these keys of an update be kept: the device's own, or none. */
function isUsable(keys: Json | undefined, user: UserId, device: string): boolean {
  if (keys === undefined || keys === null) return true
  return isOf(keys, user) && keys['device_id'] === device
}

function integersIn(list: Json | undefined): number[] {
  return Array.isArray(list) ? list.filter((one) => Number.isSafeInteger(one)).map(Number) : []
}
