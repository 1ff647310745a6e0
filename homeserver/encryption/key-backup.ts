/**
 * Owns the encrypted backups of room keys. Every change is one statement that locks the backup's row, so that the
 * count and the etag it answers belong together. {@link https://spec.matrix.org/v1.19/client-server-api/#server-side-key-backups}
 */
import { badJson, invalidParam, MatrixError, notFound } from '../../spec/errors.ts'
import { isRoomId, type UserId } from '../../spec/ids.ts'
import {
  booleanAt,
  integerAt,
  isObject,
  type Json,
  type JsonObject,
  objectAt,
} from '../../spec/json.ts'
import type { Database } from '../database/database.ts'
import { requireStorable, storedObject } from '../database/stored-text.ts'
import * as queries from './backup-queries.ts'

export interface BackupVersion {
  readonly version: string
  readonly algorithm: string
  readonly authData: JsonObject
  readonly count: number
  readonly etag: string
}

/** What of a backup is meant: a session, a room, or everything. */
interface BackupPart {
  readonly room?: string
  readonly session?: string
}

interface BackupState {
  readonly count: number
  readonly etag: string
}

export interface KeyBackup {
  /** Answers the new version, which is the current one from now on. */
  createVersion(user: UserId, algorithm: string, authData: JsonObject): Promise<string>
  /** The current version when `version` is absent; throws M_NOT_FOUND. */
  version(user: UserId, version?: string): Promise<BackupVersion>
  /** Only `auth_data` can change; throws M_INVALID_PARAM for another algorithm. */
  updateVersion(
    user: UserId,
    version: string,
    algorithm: string,
    authData: JsonObject,
  ): Promise<void>
  deleteVersion(user: UserId, version: string): Promise<void>
  /**
   * Stores keys: `data` is a session's, a room's `{sessions}` or `{rooms}`, as `part` says. A stored session is
   * replaced by a better one only. Throws M_WRONG_ROOM_KEYS_VERSION for a version that is not the current one.
   */
  put(user: UserId, version: string, part: BackupPart, data: JsonObject): Promise<BackupState>
  /** In the form of `put`; throws M_NOT_FOUND for an unknown version, or session. */
  get(user: UserId, version: string, part: BackupPart): Promise<JsonObject>
  delete(user: UserId, version: string, part: BackupPart): Promise<BackupState>
}

const algorithmBytesMax = 255
const authDataBytesMax = 65_536
const sessionsPerPutMax = 10_000
const sessionDataBytesMax = 65_536
const idBytesMax = 255

export function createKeyBackup({ db }: { db: Database }): KeyBackup {
  async function found(user: UserId, version?: string): Promise<queries.BackupRow> {
    const number = version === undefined ? undefined : versionNumber(version)
    const row = await queries.findBackup(db, user, number)
    if (row === undefined) throw notFound('backup version')
    return row
  }

  return {
    async createVersion(user, algorithm, authData) {
      requireStorable('algorithm', algorithm, algorithmBytesMax)
      return String(await queries.insertBackup(db, user, algorithm, requireAuthData(authData)))
    },
    async version(user, version) {
      const row = await found(user, version)
      const { algorithm, etag, count } = row
      return {
        version: String(row.version),
        algorithm,
        authData: storedObject(row.auth_data),
        count,
        etag: String(etag),
      }
    },
    async updateVersion(user, version, algorithm, authData) {
      const row = await found(user, version)
      if (row.algorithm !== algorithm) throw invalidParam('algorithm', 'does not match the backup')
      await queries.setAuthData(db, user, row.version, requireAuthData(authData))
    },
    async deleteVersion(user, version) {
      const row = await found(user, version)
      await queries.deleteBackup(db, user, row.version)
    },
    async put(user, version, part, data) {
      const sessions = sessionsIn(part, data)
      const current = await found(user)
      const wanted = await found(user, version)
      if (wanted.version !== current.version) throw wrongVersion(current.version)
      const state = await queries.putSessions(db, user, wanted.version, sessions)
      if (state === undefined) throw notFound('backup version')
      return { count: state.count, etag: String(state.etag) }
    },
    async get(user, version, part) {
      const row = await found(user, version)
      const sessions = await queries.sessionsOf(db, user, row.version, part)
      return shaped(part, sessions)
    },
    async delete(user, version, part) {
      const row = await found(user, version)
      const state = await queries.deleteSessions(db, user, row.version, part)
      if (state === undefined) throw notFound('backup version')
      return { count: state.count, etag: String(state.etag) }
    },
  }
}

function versionNumber(version: string): number {
  if (!/^[0-9]{1,15}$/.test(version)) throw notFound('backup version')
  return Number(version)
}

function requireAuthData(authData: JsonObject): string {
  const text = JSON.stringify(authData)
  if (Buffer.byteLength(text) > authDataBytesMax) throw badJson('auth_data', 'too large')
  return text
}

function wrongVersion(current: number): MatrixError {
  return new MatrixError('M_WRONG_ROOM_KEYS_VERSION', 'not the current backup version', {
    fields: { current_version: String(current) },
  })
}

function sessionsIn({ room, session }: BackupPart, data: JsonObject): queries.SessionRow[] {
  if (room !== undefined && session !== undefined) return [sessionRow(room, session, data)]
  const rooms = room === undefined ? requireObject('rooms', data['rooms']) : { [room]: data }
  const rows = Object.entries(rooms).flatMap(([id, ofRoom]) => {
    const sessions = requireObject(
      `rooms.${id}.sessions`,
      objectAt(requireObject(`rooms.${id}`, ofRoom), 'sessions'),
    )
    return Object.entries(sessions).map(([name, value]) => sessionRow(id, name, value))
  })
  if (rows.length > sessionsPerPutMax)
    throw new MatrixError('M_TOO_LARGE', `more than ${sessionsPerPutMax} sessions`)
  return rows
}

function sessionRow(room: string, session: string, value: Json): queries.SessionRow {
  const at = `rooms.${room}.sessions.${session}`
  const data = requireObject(at, value)
  if (!isRoomId(room)) throw invalidParam('roomId', 'not a room id')
  requireStorable('sessionId', session, idBytesMax)
  const sessionData = JSON.stringify(requireObject(`${at}.session_data`, data['session_data']))
  if (Buffer.byteLength(sessionData) > sessionDataBytesMax)
    throw badJson(`${at}.session_data`, 'too large')
  return {
    room_id: room,
    session_id: session,
    first_message_index: requireCount(
      `${at}.first_message_index`,
      integerAt(data, 'first_message_index'),
    ),
    forwarded_count: requireCount(`${at}.forwarded_count`, integerAt(data, 'forwarded_count')),
    is_verified: booleanAt(data, 'is_verified') ?? false,
    session_data: sessionData,
  }
}

function requireObject(field: string, value: Json | undefined): JsonObject {
  if (!isObject(value)) throw badJson(field, 'not an object')
  return value
}

function requireCount(field: string, value: number | undefined): number {
  if (value === undefined || value < 0) throw badJson(field, 'not a count')
  return value
}

function shaped({ room, session }: BackupPart, rows: readonly queries.SessionRow[]): JsonObject {
  if (room !== undefined && session !== undefined) {
    const [row] = rows
    if (row === undefined) throw notFound('session')
    return sessionJson(row)
  }
  if (room !== undefined)
    return { sessions: Object.fromEntries(rows.map((row) => [row.session_id, sessionJson(row)])) }
  const rooms: Record<string, { sessions: Record<string, JsonObject> }> = {}
  for (const row of rows) {
    const ofRoom = rooms[row.room_id] ?? { sessions: {} }
    rooms[row.room_id] = ofRoom
    ofRoom.sessions[row.session_id] = sessionJson(row)
  }
  return { rooms }
}

function sessionJson(row: queries.SessionRow): JsonObject {
  return {
    first_message_index: row.first_message_index,
    forwarded_count: row.forwarded_count,
    is_verified: row.is_verified,
    session_data: storedObject(row.session_data),
  }
}
