/**
 * Reads the log for what is searched: texts of events and names of users. One process reads on behind what happens, a
 * bounded part a second, so that nothing waits for it; who searches has the rest read first.
 */

import type { EventId, RoomId, ServerName, UserId } from '../../spec/ids.ts'
import { isUserId, serverOfUser } from '../../spec/ids.ts'
import { type JsonObject, stringAt } from '../../spec/json.ts'
import type { Database } from '../database/database.ts'
import type { Events } from '../events/events.ts'
import { splitKey } from '../events/persist.ts'
import { isPurge } from '../events/purged.ts'
import { isStatePayload, type StateChange } from '../events/room-views.ts'
import type { Clock } from '../platform/clock.ts'
import type { Logger } from '../platform/log.ts'
import { isEventPayload } from '../rooms/memberships.ts'
import type { MembershipRow, Memberships } from '../rooms/rooms.ts'
import type { LogRow, Position, Tail } from '../stream/log.ts'
import * as queries from './queries.ts'
import { isSearched, textRow } from './texts.ts'
import { nameWords } from './words.ts'

export interface Indexer extends AsyncDisposable {
  start(): void
  /** Reads everything that this process has seen; gives up after a while, for what is there is better than nothing. */
  catchUp(): Promise<void>
}

interface Needs {
  readonly db: Database
  readonly tail: Pick<Tail, 'subscribe' | 'position' | 'read'>
  readonly clock: Clock
  readonly logger: Logger
  readonly serverName: ServerName
  readonly events: Pick<Events, 'byNumber' | 'currentEntry'>
  readonly memberships: Pick<Memberships, 'ofRoom'>
  readonly profileOf: (user: UserId) => Promise<JsonObject>
  /** Is this the process that reads on by itself. */
  readonly owns: (key: string) => boolean
}

/** Rows that are kept for reading without the database, that are read at once, and how often; times in ms. */
const keptMax = 4_000
const rowsMax = 500
const tickMs = 1_000
const catchUpMs = 5_000
const namesMax = 500

export function createIndexer(needs: Needs): Indexer {
  const { db, tail, clock, logger } = needs
  /** What matters of everything after `floor`. */
  let kept: LogRow[] = []
  let floor: Position | undefined
  let known: Position | undefined
  let running: Promise<unknown> | undefined
  let ticker: Disposable | undefined
  let ticks = 0

  tail.subscribe('search', (rows) => {
    floor ??= (rows[0]?.position ?? 1) - 1
    for (const row of rows) if (matters(row)) kept.push(row)
    if (kept.length <= keptMax) return
    floor = kept[kept.length - keptMax / 2 - 1]?.position ?? floor
    kept = kept.slice(-keptMax / 2)
  })

  /** Reads a stretch of the log; false when there is nothing more. */
  async function step(): Promise<boolean> {
    const from = known ?? (await queries.findProgress(db))
    const upTo = tail.position
    if (from >= upTo) return false
    const { rows, to } = await stretch(from, upTo)
    if (to <= from) return false
    // Before it is noted as read: what is written twice does no harm.
    await names(needs, rows)
    const done = await queries.advance(db, { from, to }, await texts(rows), redacted(rows))
    known = done ? to : undefined
    if (!done) return true
    for (const { room } of rows.filter(isPurge)) if (room !== undefined) await sweep(room)
    const end = to
    if (floor !== undefined && end > floor) {
      kept = kept.filter(({ position }) => position > end)
      floor = end
    }
    return to < upTo
  }

  async function stretch(from: Position, upTo: Position) {
    if (floor !== undefined && from >= floor) {
      const rows = kept.filter(({ position }) => position > from && position <= upTo)
      const to = rows.length > rowsMax ? rows[rowsMax - 1]?.position : undefined
      return { rows: rows.slice(0, rowsMax), to: to ?? upTo }
    }
    const page = await tail.read(from, rowsMax)
    return { rows: page.filter(matters), to: page.at(-1)?.position ?? from }
  }

  async function texts(rows: readonly LogRow[]): Promise<JsonObject[]> {
    const found: JsonObject[] = []
    for (const { payload } of rows) {
      if (!isEventPayload(payload)) continue
      const row = textRow(payload.event)
      if (row !== undefined && !(await isEncrypted(row.room_id))) found.push(row)
    }
    return found
  }

  async function isEncrypted(room: RoomId): Promise<boolean> {
    return (await needs.events.currentEntry(room, 'm.room.encryption', '')) !== undefined
  }

  async function backfill(): Promise<boolean> {
    const nrs = await queries.backfilled(db, rowsMax)
    if (nrs.length === 0) return false
    const found = await needs.events.byNumber(nrs)
    const rows: JsonObject[] = []
    for (const event of found.values()) {
      const row = textRow(event)
      if (row !== undefined && !(await isEncrypted(row.room_id))) rows.push(row)
    }
    await queries.putBackfilled(db, rows, nrs)
    return nrs.length === rowsMax
  }

  /** Drops the texts of events that a purge has taken. */
  async function sweep(room: RoomId): Promise<void> {
    for (let after = 0; ; ) {
      const nrs = await queries.numbersOf(db, room, after, rowsMax)
      const found = await needs.events.byNumber(nrs)
      const gone = nrs.filter((nr) => found.get(nr)?.position === undefined)
      if (gone.length > 0) await queries.deleteTexts(db, gone)
      if (nrs.length < rowsMax) return
      after = nrs.at(-1) ?? after
    }
  }

  /** One reader at a time in this process. */
  function alone<T>(work: () => Promise<T>): Promise<T> {
    const turn = (running ?? Promise.resolve()).catch(() => {}).then(work)
    running = turn
    return turn
  }

  function tick(): void {
    if (!needs.owns('search')) return
    const isIdle = kept.length === 0 && known !== undefined
    ticks++
    if (isIdle && ticks % 10 !== 0) return
    void alone(async () => {
      await step()
      if (ticks % 10 === 0) await backfill()
    }).catch((error: unknown) => logger.warn({ error }, 'the log could not be read for searching'))
  }

  return {
    start() {
      ticker = clock.every(tickMs, tick)
    },
    async catchUp() {
      const until = clock.now() + catchUpMs
      await alone(async () => {
        known = undefined
        while ((await step()) && clock.now() < until);
        while ((await backfill()) && clock.now() < until);
      })
    },
    async [Symbol.asyncDispose]() {
      ticker?.[Symbol.dispose]()
      await running?.catch(() => {})
    },
  }
}

/** Is a row of interest: most are not. */
function matters(row: LogRow): boolean {
  if (row.kind === 'event') {
    if (!isEventPayload(row.payload)) return false
    const { event, redacts, changesState } = row.payload
    const isMember = changesState && event.pdu.type === 'm.room.member'
    return isMember || redacts !== undefined || isSearched(event.pdu)
  }
  if (row.kind === 'state') return row.ref === '*' || row.ref.includes('m.room.member')
  return isPurge(row)
}

function redacted(rows: readonly LogRow[]): EventId[] {
  return rows.flatMap(({ payload }) => (isEventPayload(payload) ? (payload.redacts ?? []) : []))
}

/** Learns the names of those who came into rooms, or have another name. */
async function names(needs: Needs, rows: readonly LogRow[]): Promise<void> {
  const { db, serverName, memberships, profileOf } = needs
  const locals = new Set<UserId>()
  const others: { user: UserId; name: string }[] = []
  const note = (user: UserId, name: string | undefined) => {
    if (serverOfUser(user) === serverName) locals.add(user)
    else others.push({ user, name: (name ?? '').replaceAll('\0', '') })
  }
  const isWhole = new Set<RoomId>()
  for (const { kind, room, payload } of rows) {
    if (kind === 'state' && room !== undefined && !isWhole.has(room)) {
      const changes = isStatePayload(payload) && !payload.isAll ? payload.changes : undefined
      if (changes === undefined) isWhole.add(room)
      const all = await memberships.ofRoom(room)
      for (const row of changes === undefined ? all.values() : membersIn(changes, all)) {
        if (row.membership === 'join') note(row.user, row.displayName)
      }
    }
    if (kind !== 'event' || !isEventPayload(payload)) continue
    const { type, stateKey, content } = payload.event.pdu
    if (type !== 'm.room.member' || content['membership'] !== 'join') continue
    if (isUserId(stateKey)) note(stateKey, stringAt(content, 'displayname'))
  }
  const mine = []
  for (const user of locals) {
    mine.push({
      user,
      name: (stringAt(await profileOf(user), 'displayname') ?? '').replaceAll('\0', ''),
    })
  }
  const all = [
    ...mine.map((one) => ({ ...one, sole: true })),
    ...others.map((one) => ({ ...one, sole: false })),
  ]
  for (let at = 0; at < all.length; at += namesMax) {
    const some = all.slice(at, at + namesMax)
    await queries.putNames(
      db,
      some.map((one) => ({ ...one, words: nameWords(one.user, one.name) })),
    )
  }
}

/** Those of a room's members whose membership changed. */
function membersIn(
  changes: readonly StateChange[],
  members: ReadonlyMap<UserId, MembershipRow>,
): MembershipRow[] {
  return changes.flatMap(([key]) => {
    const [type, user] = splitKey(key)
    return type === 'm.room.member' && isUserId(user) ? (members.get(user) ?? []) : []
  })
}
