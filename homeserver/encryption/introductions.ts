/**
 * Tells servers of a user's devices when the two come into a room together: from then on they get the updates, and
 * these need something to begin with. A server that misses it asks when it needs to know.
 * {@link https://spec.matrix.org/v1.19/server-server-api/#device-management}
 */
import {
  isUserId,
  type RoomId,
  type ServerName,
  serverOfUser,
  type UserId,
} from '../../spec/ids.ts'
import { isObject, type JsonObject, stringAt } from '../../spec/json.ts'
import { eduEntry } from '../destinations/destinations.ts'
import type { Logger } from '../platform/log.ts'
import { isEventPayload } from '../rooms/memberships.ts'
import type { Memberships } from '../rooms/rooms.ts'
import type { LogEntry, LogRow, LogWriter, Tail } from '../stream/log.ts'
import { writeDone } from '../stream/settled.ts'

interface Needs {
  readonly log: Pick<LogWriter, 'write'>
  readonly tail: Pick<Tail, 'subscribe'>
  readonly memberships: Pick<Memberships, 'ofUser' | 'ofRoom' | 'localJoined'>
  readonly serverName: ServerName
  /** Is this user one for this process. */
  readonly owns: (key: string) => boolean
  /** The answer of user/devices. */
  readonly localDevicesOf: (user: UserId) => Promise<JsonObject>
  /** Ids of the devices of local users, also of those without keys. */
  readonly deviceNames: (
    users: readonly UserId[],
  ) => Promise<ReadonlyMap<UserId, ReadonlyMap<string, unknown>>>
  readonly logger: Logger
}

/** Devices that a server is told of; it asks for the others, since no update refers to one before. */
const devicesMax = 20
/** Users of whom a server is told that comes into a room; it asks for those whom it needs. */
const usersMax = 50
/** Entries of one write. */
const entriesMax = 500

/** Begins to follow the log. */
export function createIntroductions(needs: Needs): Disposable {
  const { memberships, serverName } = needs

  function onRows(rows: readonly LogRow[]): void {
    for (const { kind, payload, position } of rows) {
      if (kind !== 'event' || !isEventPayload(payload) || !payload.changesState) continue
      const { type, stateKey: user, roomId, content } = payload.event.pdu
      if (type !== 'm.room.member' || stringAt(content, 'membership') !== 'join') continue
      if (!isUserId(user) || !needs.owns(`device lists of ${user}`)) continue
      introduce(user, roomId, position).catch((error: unknown) => {
        needs.logger.warn(
          { user, room: roomId, error },
          'servers of a room were not told of devices',
        )
      })
    }
  }

  async function introduce(user: UserId, room: RoomId, position: number): Promise<void> {
    const members = await memberships.ofRoom(room)
    const row = members.get(user)
    if (row?.membership !== 'join' || row.since !== position) return
    const server = serverOfUser(user)
    if (server === serverName) return await tell(user, await newServers(user, room))
    const joined = [...members.values()].filter(({ membership }) => membership === 'join')
    if (joined.some((other) => other.user !== user && serverOfUser(other.user) === server)) return
    const locals = await memberships.localJoined(room)
    for (const local of locals.slice(0, usersMax)) {
      if ((await newServers(local, room)).includes(server)) await tell(local, [server])
    }
  }

  async function tell(user: UserId, servers: readonly ServerName[]): Promise<void> {
    if (servers.length === 0) return
    const updates = await updatesOf(user)
    const entries = servers.flatMap((server) =>
      updates.map(({ device, content }): LogEntry => {
        const edu = { edu_type: 'm.device_list_update', content }
        return eduEntry(server, edu, `device:${user}:${device}`)
      }),
    )
    for (let at = 0; at < entries.length; at += entriesMax)
      await writeDone(needs.log, { entries: entries.slice(at, at + entriesMax) })
  }

  /** Servers in the room that share no other room with the user. */
  async function newServers(user: UserId, room: RoomId): Promise<ServerName[]> {
    const servers = await serversIn(room)
    servers.delete(serverName)
    for (const [other, { membership }] of await memberships.ofUser(user)) {
      if (servers.size === 0) break
      if (other === room || membership !== 'join') continue
      for (const server of await serversIn(other)) servers.delete(server)
    }
    return [...servers]
  }

  async function serversIn(room: RoomId): Promise<Set<ServerName>> {
    const servers = new Set<ServerName>()
    for (const { user, membership } of (await memberships.ofRoom(room)).values())
      if (membership === 'join') servers.add(serverOfUser(user))
    return servers
  }

  /** Updates that refer to none before: whoever gets one asks for the whole list if it has another. */
  async function updatesOf(user: UserId): Promise<{ device: string; content: JsonObject }[]> {
    const { stream_id = 0, devices } = await needs.localDevicesOf(user)
    const keys = new Map(
      (Array.isArray(devices) ? devices : []).flatMap((one) =>
        isObject(one) ? [[one['device_id'], one['keys']] as const] : [],
      ),
    )
    const ids = [...((await needs.deviceNames([user])).get(user)?.keys() ?? [])]
    const withKeysFirst = ids.sort((a, b) => Number(keys.has(b)) - Number(keys.has(a)))
    return withKeysFirst.slice(0, devicesMax).map((device) => {
      const own = keys.get(device)
      const head = { user_id: user, device_id: device, stream_id, prev_id: [] }
      return { device, content: own === undefined ? head : { ...head, keys: own } }
    })
  }

  return needs.tail.subscribe('device lists for new servers', onRows)
}
