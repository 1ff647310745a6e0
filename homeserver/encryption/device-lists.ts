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
import { isObject, type JsonObject } from '../../spec/json.ts'
import type { Database } from '../database/database.ts'
import { eduEntry } from '../destinations/destinations.ts'
import type { Memberships } from '../rooms/rooms.ts'
import type { LogEntry, LogWriter, Tail } from '../stream/log.ts'
import { writeDone } from '../stream/settled.ts'
import { createListChanges, type ListChanges } from './list-changes.ts'
import * as queries from './queries.ts'

/** What became of one device. */
interface DeviceChange {
  readonly device: DeviceId
  /** Absent for a device that is gone. */
  readonly keys?: JsonObject
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
}

export function createDeviceLists(needs: DeviceListsNeeds): DeviceLists {
  const { db, log, memberships, serverName } = needs
  const listChanges = createListChanges(needs)

  async function remoteServersOf(user: UserId): Promise<ServerName[]> {
    const servers = new Set<ServerName>()
    for (const other of await memberships.sharingWith(user)) servers.add(serverOfUser(other))
    servers.delete(serverName)
    return [...servers]
  }

  async function changed(
    user: UserId,
    changes: readonly DeviceChange[],
  ): Promise<readonly LogEntry[]> {
    if (changes.length === 0) return []
    const { previous, ids } = await queries.takeStreamIds(db, user, changes.length)
    const edus = changes.map(({ device, keys }, n) => {
      const before = n === 0 ? previous : ids[n - 1]
      const prev_id = before === null || before === undefined ? [] : [before]
      const head = { user_id: user, device_id: device, stream_id: ids[n] ?? 0, prev_id }
      return {
        device,
        content: keys === undefined ? { ...head, deleted: true } : { ...head, keys },
      }
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

  async function deviceKeys(user: UserId): Promise<Map<DeviceId, JsonObject>> {
    const rows = await queries.deviceKeysOf(db, [user])
    return new Map(rows.map((row) => [row.device_id, keysOf(row.keys)]))
  }

  /** A remote user's change is of interest while somebody here shares a room. */
  async function onRemoteChange(
    origin: ServerName,
    content: JsonObject,
    ref: string,
  ): Promise<void> {
    const user = content['user_id']
    if (!isUserId(user) || serverOfUser(user) !== origin || origin === serverName) return
    if ((await memberships.sharingWith(user)).size === 0) return
    const entry = listEntry(user, ref, { remote_list_stale: [{ user_id: user }] })
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
      return keys === undefined ? [] : await changed(user, [{ device, keys }])
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
    onRemoteDeviceListUpdate: (origin, content) => onRemoteChange(origin, content, 'devices'),
    onRemoteSigningKeyUpdate: (origin, content) => onRemoteChange(origin, content, 'signing'),
  }
}

/** The row from which local syncs learn that `user`'s keys are to be asked for anew. */
function listEntry(
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
