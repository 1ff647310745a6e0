/** What clients keep about single devices in account data goes with the device. */
import type { DeviceId, UserId } from '../../spec/ids.ts'
import type { Db } from '../database/database.ts'
import type { LogEntry } from '../stream/log.ts'
import { entry } from './account-data.ts'
import * as queries from './queries.ts'

/** {@link https://github.com/matrix-org/matrix-spec-proposals/pull/3890} */
const prefixes = [
  'm.local_notification_settings.',
  'org.matrix.msc3890.local_notification_settings.',
]

/** The log entries that delete the settings of devices that are gone. */
export async function deletedSettings(
  db: Db,
  user: UserId,
  devices: readonly DeviceId[],
): Promise<readonly LogEntry[]> {
  const types = devices.flatMap((device) => prefixes.map((prefix) => `${prefix}${device}`))
  const keys = types.map((type) => ({ user, room: '', type }))
  const found = await queries.accountDataByKeys(db, keys)
  return found.flatMap(({ type, content }) =>
    content === '{}' ? [] : [entry(user, undefined, type, {})],
  )
}
