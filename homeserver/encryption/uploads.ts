import { canonicalJson } from '../../spec/canonical-json.ts'
import { badJson, invalidParam, MatrixError } from '../../spec/errors.ts'
import type { DeviceId, UserId } from '../../spec/ids.ts'
import { isObject, type Json, type JsonObject } from '../../spec/json.ts'
import type { Database } from '../database/database.ts'
import { requireStorable } from '../database/stored-text.ts'
import type { Requester } from '../rooms/rooms.ts'
import type { LogEntry, LogWriter } from '../stream/log.ts'
import { writeDone } from '../stream/settled.ts'
import type { DeviceLists } from './device-lists.ts'
import { type Counts, countsChanged } from './key-counts.ts'
import * as queries from './queries.ts'

interface NamedKey {
  readonly algorithm: string
  readonly keyId: string
  /** Canonical JSON, so that the same key uploaded again is the same text. */
  readonly key: string
}

const keysPerUploadMax = 1000
const oneTimeKeysPerDeviceMax = 5000
const keyNameBytesMax = 255
const keyBytesMax = 8192
const deviceKeysBytesMax = 65_536

/** The upload of a device's own keys; the same keys again change nothing. */
export function createUploads(needs: {
  db: Database
  log: Pick<LogWriter, 'write'>
  deviceLists: Pick<DeviceLists, 'changed'>
  counts: (user: UserId, device: DeviceId) => Promise<Counts>
}) {
  const { db, log } = needs

  async function deviceKeysEntries(
    user: UserId,
    device: DeviceId,
    given: Json,
  ): Promise<readonly LogEntry[]> {
    const keys = requireDeviceKeys(user, device, given)
    const text = canonicalJson(keys)
    if (Buffer.byteLength(text) > deviceKeysBytesMax) throw badJson('device_keys', 'too large')
    const stored = await queries.deviceKeysOf(db, [user])
    if (stored.find((row) => row.device_id === device)?.keys === text) return []
    const [first, ...others] = await needs.deviceLists.changed(user, [{ device, keys }])
    if (first === undefined) return []
    const row = { user_id: user, device_id: device, keys: text }
    return [{ ...first, tables: { ...first.tables, device_keys: [row] } }, ...others]
  }

  /** Those that are not stored yet; throws M_INVALID_PARAM when a stored key of the same id is another one. */
  async function newOneTimeKeys(
    user: UserId,
    device: DeviceId,
    keys: readonly NamedKey[],
  ): Promise<NamedKey[]> {
    if (keys.length === 0) return []
    const found = await queries.findOneTimeKeys(db, user, device, keys)
    const stored = new Map(found.map((row) => [`${row.algorithm}:${row.key_id}`, row.key]))
    return keys.filter(({ algorithm, keyId, key }) => {
      const before = stored.get(`${algorithm}:${keyId}`)
      if (before !== undefined && before !== key) {
        throw invalidParam(`one_time_keys.${algorithm}:${keyId}`, 'another key of this id exists')
      }
      return before === undefined
    })
  }

  async function requireSpace(user: UserId, device: DeviceId, adding: number): Promise<void> {
    if (adding === 0) return
    const total = Object.values(await needs.counts(user, device)).reduce((a, b) => a + b, adding)
    if (total > oneTimeKeysPerDeviceMax) {
      throw new MatrixError(
        'M_LIMIT_EXCEEDED',
        `more than ${oneTimeKeysPerDeviceMax} one-time keys`,
        {
          status: 400,
        },
      )
    }
  }

  /** What a write of these keys consists of; empty when they are all stored already. */
  async function entriesOf(user: UserId, device: DeviceId, body: JsonObject): Promise<LogEntry[]> {
    const entries: LogEntry[] = []
    const given = body['device_keys']
    if (given !== undefined && given !== null)
      entries.push(...(await deviceKeysEntries(user, device, given)))
    const named = (key: NamedKey) => ({
      user_id: user,
      device_id: device,
      algorithm: key.algorithm,
      key_id: key.keyId,
      key: key.key,
    })
    const oneTime = await newOneTimeKeys(user, device, namedKeys(body, 'one_time_keys'))
    await requireSpace(user, device, oneTime.length)
    const fallback = namedKeys(body, 'fallback_keys')
    if (oneTime.length > 0 || fallback.length > 0) {
      const tables = { one_time_keys: oneTime.map(named), fallback_keys: fallback.map(named) }
      entries.push(countsChanged(user, device, tables))
    }
    return entries
  }

  async function upload({ user, device }: Requester, body: JsonObject): Promise<Counts> {
    if (device === undefined)
      throw new MatrixError('M_FORBIDDEN', 'keys belong to a device: this token has none')
    const entries = await entriesOf(user, device, body)
    if (entries.length > 0) await writeDone(log, { entries })
    return await needs.counts(user, device)
  }

  return { upload, entriesOf }
}

/** The identity keys must name the device they are uploaded by. */
function requireDeviceKeys(user: UserId, device: DeviceId, given: Json): JsonObject {
  if (!isObject(given)) throw badJson('device_keys', 'not an object')
  if (given['user_id'] !== user)
    throw invalidParam('device_keys.user_id', 'not the user of this token')
  if (given['device_id'] !== device)
    throw invalidParam('device_keys.device_id', 'not the device of this token')
  if (!isObject(given['keys'])) throw badJson('device_keys.keys', 'not an object')
  if (!Array.isArray(given['algorithms'])) throw badJson('device_keys.algorithms', 'not an array')
  if (!isObject(given['signatures'])) throw badJson('device_keys.signatures', 'not an object')
  // What servers add is not the device's to say.
  const { unsigned: _unsigned, ...keys } = given
  return keys
}

function namedKeys(body: JsonObject, field: string): NamedKey[] {
  const keys = body[field] ?? {}
  if (!isObject(keys)) throw badJson(field, 'not an object')
  const names = Object.keys(keys)
  if (names.length > keysPerUploadMax)
    throw invalidParam(field, `more than ${keysPerUploadMax} keys`)
  return names.map((name) => {
    requireStorable(field, name, keyNameBytesMax)
    const colon = name.indexOf(':')
    if (colon < 1) throw invalidParam(`${field}.${name}`, 'not of the form algorithm:id')
    const value = keys[name] ?? null
    if (typeof value !== 'string' && !isObject(value))
      throw badJson(`${field}.${name}`, 'not a key')
    const key = canonicalJson(value)
    if (Buffer.byteLength(key) > keyBytesMax) throw badJson(`${field}.${name}`, 'too large')
    return { algorithm: name.slice(0, colon), keyId: name.slice(colon + 1), key }
  })
}
