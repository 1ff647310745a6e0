/**
 * Owns the one device of a user that nobody is signed in on: it takes messages while all others are away, and a later
 * device reads them in its place. {@link https://github.com/matrix-org/matrix-spec-proposals/pull/3814}
 */
import { badJson, forbidden, invalidParam, notFound } from '../../spec/errors.ts'
import type { DeviceId, UserId } from '../../spec/ids.ts'
import { type JsonObject, stringAt } from '../../spec/json.ts'
import type { Database } from '../database/database.ts'
import { requireStorable, storedObject } from '../database/stored-text.ts'
import type { Clock } from '../platform/clock.ts'
import type { LogEntry, LogWriter } from '../stream/log.ts'
import { writeDone } from '../stream/settled.ts'
import type { Encryption } from './encryption.ts'
import type { ToDeviceMessage } from './inboxes.ts'
import * as queries from './queries.ts'
import type { ToDevice } from './to-device.ts'

interface DehydratedDevice {
  readonly deviceId: DeviceId
  readonly deviceData: JsonObject
}

interface NewDehydratedDevice extends DehydratedDevice {
  readonly displayName?: string
  /** `device_keys`, `one_time_keys` and `fallback_keys`, as for an upload of keys. */
  readonly keys: JsonObject
}

export interface DehydratedDevices {
  /** Throws M_NOT_FOUND when there is none. */
  get(user: UserId): Promise<DehydratedDevice>
  /**
   * Puts a device in place of the one there is. Throws M_INVALID_PARAM for the id of a device of the user's that is
   * none of this kind, and what an upload of keys throws.
   */
  put(user: UserId, device: NewDehydratedDevice): Promise<void>
  /** Answers the id of what was deleted; throws M_NOT_FOUND when there is none. */
  delete(user: UserId): Promise<DeviceId>
  /**
   * The oldest `limit` messages after a position; reading them deletes none. `next` is the position of the last one,
   * when there are more. Throws M_FORBIDDEN for another device.
   */
  messages(
    user: UserId,
    device: DeviceId,
    page: { after: number; limit: number },
  ): Promise<{ messages: readonly ToDeviceMessage[]; next?: number }>
}

const dataBytesMax = 65_536
const displayNameBytesMax = 1024

export function createDehydratedDevices(needs: {
  db: Database
  log: Pick<LogWriter, 'write'>
  clock: Pick<Clock, 'now'>
  encryption: Pick<Encryption, 'uploadEntries'>
  toDevice: Pick<ToDevice, 'pending'>
  sessions: {
    deleteDevices(user: UserId, devices: readonly DeviceId[]): Promise<void>
    deviceNames(
      users: readonly UserId[],
    ): Promise<ReadonlyMap<UserId, ReadonlyMap<DeviceId, unknown>>>
  }
}): DehydratedDevices {
  const { db, log, clock, encryption, toDevice, sessions } = needs

  async function get(user: UserId): Promise<DehydratedDevice> {
    const row = await queries.dehydratedDeviceOf(db, user)
    if (row === undefined) throw notFound('dehydrated device')
    return { deviceId: row.device_id, deviceData: storedObject(row.device_data) }
  }

  return {
    get,
    async put(user, { deviceId, deviceData, displayName, keys }) {
      const data = requireData(deviceData)
      const name = displayName ?? null
      if (name !== null) requireStorable('initial_device_display_name', name, displayNameBytesMax)
      const before = await queries.dehydratedDeviceOf(db, user)
      const known = (await sessions.deviceNames([user])).get(user)
      if (deviceId !== before?.device_id && known?.has(deviceId))
        throw invalidParam('device_id', 'a device of this id is signed in')
      // Refused before the old one goes.
      await encryption.uploadEntries(user, deviceId, keys)
      if (before !== undefined) await sessions.deleteDevices(user, [before.device_id])
      const made: LogEntry = {
        ...{ kind: 'invalidate', user, ref: `sessions:${user}`, payload: undefined },
        tables: {
          device_made: [
            { user_id: user, device_id: deviceId, display_name: name, at: clock.now() },
          ],
          dehydrated_device: [{ user_id: user, device_id: deviceId, device_data: data }],
        },
      }
      const entries = await encryption.uploadEntries(user, deviceId, keys)
      await writeDone(log, { entries: [made, ...entries] })
    },
    async delete(user) {
      const { deviceId } = await get(user)
      await sessions.deleteDevices(user, [deviceId])
      return deviceId
    },
    async messages(user, device, { after, limit }) {
      const row = await queries.dehydratedDeviceOf(db, user)
      if (row?.device_id !== device) throw forbidden('not your dehydrated device')
      const range = { after, upTo: Number.MAX_SAFE_INTEGER, limit: limit + 1 }
      const found = await toDevice.pending(user, device, range)
      const messages = found.slice(0, limit)
      const last = found.length > limit ? messages.at(-1) : undefined
      return { messages, ...(last !== undefined && { next: last.position }) }
    },
  }
}

function requireData(data: JsonObject): string {
  if (stringAt(data, 'algorithm') === undefined) throw badJson('device_data.algorithm', 'missing')
  const text = JSON.stringify(data)
  if (Buffer.byteLength(text) > dataBytesMax) throw badJson('device_data', 'too large')
  return text
}
