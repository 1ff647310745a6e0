/**
 * Owns what clients keep on the server for themselves: account data, tags, the list of ignored users, filters.
 * Every change is a row of the log (kind accountData, ref = type).
 */
import { createHash } from 'node:crypto'
import { MatrixError, notFound } from '../../spec/errors.ts'
import { isUserId, type RoomId, type UserId } from '../../spec/ids.ts'
import { isObject, type Json, type JsonObject } from '../../spec/json.ts'
import type { Database } from '../database/database.ts'
import { requireStorable, storedObject } from '../database/stored-text.ts'
import type { LogEntry, LogRow, LogWriter, Tail } from '../stream/log.ts'
import { writeDone } from '../stream/settled.ts'
import { createTailedCache } from '../stream/tailed-cache.ts'
import { createInvitePermissions, type InvitePermission } from './invite-permission.ts'
import * as queries from './queries.ts'
import { createTags, type Tags } from './tags.ts'

/** A piece of account data; `room` is absent for global data. `content` is JSON text. */
export interface AccountDatum {
  readonly room?: RoomId
  readonly type: string
  readonly content: string
  readonly position: number
}

/** The payload of log rows of kind accountData: the content as JSON text. */
export interface AccountDataPayload {
  readonly content: string
}

export interface AccountData extends Tags {
  /** Throws M_NOT_FOUND. */
  get(user: UserId, type: string): Promise<JsonObject>
  getRoom(user: UserId, room: RoomId, type: string): Promise<JsonObject>
  findRoom(user: UserId, room: RoomId, type: string): Promise<JsonObject | undefined>
  /** Throws M_BAD_JSON with status 405 for types that the server manages. */
  set(user: UserId, type: string, content: JsonObject): Promise<void>
  setRoom(user: UserId, room: RoomId, type: string, content: JsonObject): Promise<void>
  /**
   * Empty content stands for what was deleted: it is not there, but for whoever syncs from before the deletion. What
   * is not there is passed over; throws as `set` does. {@link https://github.com/matrix-org/matrix-spec-proposals/pull/3391}
   */
  delete(user: UserId, type: string): Promise<void>
  deleteRoom(user: UserId, room: RoomId, type: string): Promise<void>
  /** Everything at or below `upTo` that is not deleted, in the order in which it was last written, and always the push rules. */
  all(user: UserId, upTo?: number): Promise<readonly AccountDatum[]>
  /** What was last written with after < position <= upTo. */
  changedSince(user: UserId, after: number, upTo: number): Promise<readonly AccountDatum[]>
  /** Nobody ignores themselves. */
  ignoredUsers(user: UserId): Promise<ReadonlySet<UserId>>
  /** Whom the user lets invite them. */
  invitePermission(user: UserId): Promise<InvitePermission>
  /** Answers the filter's id; the same filter has the same id. `filter` has passed the border's schema. */
  createFilter(user: UserId, filter: JsonObject): Promise<string>
  /** Throws M_NOT_FOUND. */
  filter(user: UserId, id: string): Promise<JsonObject>
  /** The log entry of a change that the server itself makes (push rules, read markers). */
  entry(user: UserId, room: RoomId | undefined, type: string, content: JsonObject): LogEntry
}

const contentBytesMax = 65_536
const typeBytesMax = 255
const typesMax = 10_000
const forgottenAtOnce = 100
const filterBytesMax = 65_536
const ignoreListsMax = 20_000
const pushRulesType = 'm.push_rules'
const managedTypes: ReadonlySet<string> = new Set(['m.fully_read', pushRulesType])

export interface AccountDataNeeds {
  readonly db: Database
  readonly log: Pick<LogWriter, 'write'>
  readonly tail: Pick<Tail, 'subscribe' | 'loader'>
  /** Whose invites nobody can refuse: the server's own. */
  readonly alwaysWelcome?: UserId
  /** Push rules are account data that has another owner; position is that of the last change, 0 when there was none. */
  readonly pushRules: {
    accountData(user: UserId): Promise<{ readonly content: JsonObject; readonly position: number }>
  }
}

export function createAccountData(needs: AccountDataNeeds): AccountData {
  const { db, log, tail, pushRules } = needs
  tail.loader('accountData', (rows) => loadPayloads(db, rows, rulesDatum))
  const ignored = createTailedCache<ReadonlySet<UserId>>({
    tail,
    name: 'ignored_users',
    entriesMax: ignoreListsMax,
    load: async (key) => {
      const users = ignoredIn(await find(userKey(key), undefined, 'm.ignored_user_list'))
      users.delete(userKey(key))
      return users
    },
    staleBy: (row) =>
      row.kind === 'accountData' && row.ref === 'm.ignored_user_list' ? row.user : undefined,
  })

  async function find(
    user: UserId,
    room: RoomId | undefined,
    type: string,
  ): Promise<JsonObject | undefined> {
    if (type === pushRulesType && room === undefined)
      return (await pushRules.accountData(user)).content
    const row = await queries.findAccountData(db, user, room ?? '', type)
    return row && storedObject(row.content)
  }

  async function get(user: UserId, room: RoomId | undefined, type: string): Promise<JsonObject> {
    const content = await find(user, room, type)
    if (content === undefined || isDeleted(content)) throw notFound('account data')
    return content
  }

  async function set(
    user: UserId,
    room: RoomId | undefined,
    type: string,
    content: JsonObject,
  ): Promise<void> {
    requireUnmanaged(type)
    requireStorable('type', type, typeBytesMax)
    if ((await find(user, room, type)) === undefined) await requireRoomForOneMore(user, room)
    await writeDone(log, { entries: [entry(user, room, type, content)] })
  }

  async function remove(user: UserId, room: RoomId | undefined, type: string): Promise<void> {
    requireUnmanaged(type)
    const content = await find(user, room, type)
    if (content === undefined || isDeleted(content)) return
    await writeDone(log, { entries: [entry(user, room, type, {})] })
  }

  async function requireRoomForOneMore(user: UserId, room: RoomId | undefined): Promise<void> {
    if ((await queries.countAccountDataTypes(db, user, room ?? '')) < typesMax) return
    // What was deleted is remembered for whoever syncs from before; the oldest make room.
    if ((await queries.forgetDeletedAccountData(db, user, room ?? '', forgottenAtOnce)) === 0) {
      throw new MatrixError('M_TOO_LARGE', `more than ${typesMax} types of account data`)
    }
  }

  async function rulesDatum(user: UserId): Promise<AccountDatum> {
    const { content, position } = await pushRules.accountData(user)
    return { type: pushRulesType, content: JSON.stringify(content), position }
  }

  async function changedSince(
    user: UserId,
    after: number,
    upTo: number,
  ): Promise<readonly AccountDatum[]> {
    const rows = await queries.accountDataBetween(db, user, after, upTo)
    const rules = await rulesDatum(user)
    const isChanged = rules.position > after && rules.position <= upTo
    return isChanged ? [...rows.map(datumOf), rules] : rows.map(datumOf)
  }

  return {
    get: (user, type) => get(user, undefined, type),
    getRoom: get,
    findRoom: find,
    set: (user, type, content) => set(user, undefined, type, content),
    setRoom: set,
    delete: (user, type) => remove(user, undefined, type),
    deleteRoom: remove,
    async all(user, upTo = Number.MAX_SAFE_INTEGER) {
      return (await changedSince(user, -1, upTo)).filter(({ content }) => content !== '{}')
    },
    changedSince,
    ignoredUsers: (user) => ignored.get(user),
    invitePermission: createInvitePermissions({
      tail,
      find: (user, type) => find(user, undefined, type),
      alwaysWelcome: needs.alwaysWelcome,
    }),
    ...createTags({ db, log, entry }),
    async createFilter(user, filter) {
      const text = JSON.stringify(filter)
      if (Buffer.byteLength(text) > filterBytesMax) {
        throw new MatrixError('M_TOO_LARGE', `filter: larger than ${filterBytesMax} bytes`)
      }
      return await storeFilter(db, user, text)
    },
    async filter(user, id) {
      const text = /^[0-9]{1,15}$/.test(id)
        ? await queries.findFilter(db, user, Number(id))
        : undefined
      if (text === undefined) throw notFound('filter')
      return storedObject(text)
    },
    entry,
  }
}

/** The log entry that writes a piece of account data. */
export function entry(
  user: UserId,
  room: RoomId | undefined,
  type: string,
  content: JsonObject,
): LogEntry {
  const text = JSON.stringify(content)
  if (Buffer.byteLength(text) > contentBytesMax) {
    throw new MatrixError('M_TOO_LARGE', `account data: larger than ${contentBytesMax} bytes`)
  }
  const payload: AccountDataPayload = { content: text }
  const row = { user_id: user, room_id: room ?? '', type, content: text }
  const tables = { account_data: [row] }
  const head = { kind: 'accountData', user, ref: type, payload, tables } as const
  return room === undefined ? head : { ...head, room }
}

async function storeFilter(db: Database, user: UserId, text: string): Promise<string> {
  const hash = createHash('sha256').update(text).digest('base64url')
  // Two first filters of a user at the same moment want the same id: the loser looks again.
  for (let attempt = 0; attempt < 5; attempt++) {
    const id = await queries.insertFilter(db, user, text, hash)
    if (id !== undefined) return String(id)
  }
  throw new MatrixError('M_UNKNOWN', 'the filter could not be stored')
}

async function loadPayloads(
  db: Database,
  rows: readonly LogRow[],
  rulesDatum: (user: UserId) => Promise<AccountDatum>,
): Promise<readonly AccountDataPayload[]> {
  const keys = rows.map((row) => ({ user: row.user ?? '', room: row.room ?? '', type: row.ref }))
  const found = new Map<string, string>()
  for (const row of await queries.accountDataByKeys(db, keys)) {
    found.set(JSON.stringify([row.user_id, row.room_id, row.type]), row.content)
  }
  return await Promise.all(
    keys.map(async ({ user, room, type }) => {
      if (type === pushRulesType && isUserId(user)) return await rulesDatum(user)
      return { content: found.get(JSON.stringify([user, room, type])) ?? '{}' }
    }),
  )
}

function datumOf(row: queries.AccountDataRow): AccountDatum {
  const { type, content, position } = row
  return row.room_id === ''
    ? { type, content, position }
    : { room: row.room_id, type, content, position }
}

function requireUnmanaged(type: string): void {
  if (!managedTypes.has(type)) return
  throw new MatrixError('M_BAD_JSON', `${type} is managed by the server`, { status: 405 })
}

function isDeleted(content: JsonObject): boolean {
  return Object.keys(content).length === 0
}

/** Whom a list of ignored users names. */
export function ignoredIn(content: JsonObject | undefined): Set<UserId> {
  const users: Json | undefined = content?.['ignored_users']
  return new Set(isObject(users) ? Object.keys(users).filter(isUserId) : [])
}

function userKey(key: string): UserId {
  if (!isUserId(key)) throw new Error('cache key is not a user id')
  return key
}
