/**
 * What waits for other servers: EDUs that must arrive (outbox), rooms in which a server misses events of ours, how far
 * the senders have come, and the answers given to their transactions. The sending itself is federation/sender.ts.
 */
import type { RoomId, ServerName } from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import type { Database } from '../database/database.ts'
import type { Clock } from '../platform/clock.ts'
import type { Logger } from '../platform/log.ts'
import type { LogEntry, Position } from '../stream/log.ts'
import { type Administration, createAdministration } from './administration.ts'
import { type Backoff, createBackoff, type RetrySettings } from './backoff.ts'
import { createInboundAnswers, type InboundAnswers } from './inbound-answers.ts'
import {
  advanceBehind,
  behindOf,
  cursors,
  deleteCursors,
  deleteFromOutbox,
  outboxOf,
  trimOutbox,
  upsertBehind,
  upsertCursor,
  waitingDestinations,
} from './queries.ts'

/** An EDU as it stands in a transaction. */
export interface Edu {
  readonly edu_type: string
  readonly content: JsonObject
}

/** The oldest and the newest event of ours that a destination misses in a room. */
export interface Behind {
  readonly room: RoomId
  readonly first: Position
  readonly last: Position
}

export interface Destinations extends AsyncDisposable {
  readonly backoff: Backoff
  readonly inbound: InboundAnswers
  readonly administration: Administration
  /** EDUs for a server, oldest first, with the ids to acknowledge. */
  outbox(
    server: ServerName,
    limit: number,
  ): Promise<{ id: number; eduType: string; content: string }[]>
  acknowledge(ids: readonly number[]): Promise<void>
  behind(server: ServerName, limit: number): Promise<Behind[]>
  noteBehind(rows: readonly (Behind & { destination: ServerName })[]): Promise<void>
  /** The server has what was sent up to `upTo` in each of the rooms. */
  caughtUp(
    server: ServerName,
    rooms: readonly { readonly room: RoomId; readonly upTo: Position }[],
  ): Promise<void>
  /** Servers for which something waits. */
  waiting(): Promise<ServerName[]>
  /** Up to where each process, also of those that are gone, has handled our events. */
  cursors(): Promise<{ process: string; position: Position; ageMs: number }[]>
  setCursor(process: string, position: Position): Promise<void>
  dropCursors(processes: readonly string[]): Promise<void>
}

/** EDUs kept for a destination; beyond that the oldest are dropped. */
const outboxMax = 10_000
/** Servers that are looked at when a process starts. */
const waitingMax = 50_000
const trimEveryMs = 600_000

/** The log entry that puts an EDU into a destination's outbox; one with a collapse key replaces the one before it. */
export function eduEntry(destination: ServerName, edu: Edu, collapseKey?: string): LogEntry {
  const row = {
    destination,
    edu_type: edu.edu_type,
    content: JSON.stringify(edu.content),
    ...(collapseKey !== undefined && { collapse_key: collapseKey }),
  }
  return { kind: 'outbox', ref: destination, payload: undefined, tables: { outbox: [row] } }
}

export async function createDestinations(needs: {
  readonly db: Database
  readonly clock: Clock
  readonly log: Logger
  readonly retry?: RetrySettings | undefined
}): Promise<Destinations> {
  const { db, clock, log } = needs
  const backoff = await createBackoff(needs)
  const inbound = createInboundAnswers(needs)
  const trimmer = clock.every(trimEveryMs, () => {
    trimOutbox(db, outboxMax).then(
      (dropped) => dropped > 0 && log.warn({ dropped }, 'outbox was full'),
      (error: unknown) => log.warn({ error }, 'outbox could not be trimmed'),
    )
  })
  return {
    backoff,
    inbound,
    administration: createAdministration({ db, backoff }),
    async outbox(server, limit) {
      const rows = await outboxOf(db, server, limit)
      return rows.map(({ id, edu_type, content }) => ({ id, eduType: edu_type, content }))
    },
    acknowledge: (ids) => deleteFromOutbox(db, ids),
    async behind(server, limit) {
      const rows = await behindOf(db, server, limit)
      return rows.map((row) => ({
        room: row.room_id,
        first: row.first_position,
        last: row.last_position,
      }))
    },
    async noteBehind(rows) {
      const stored = rows.map(({ destination, room, first, last }) => ({
        destination,
        room_id: room,
        first_position: first,
        last_position: last,
      }))
      if (stored.length > 0) await upsertBehind(db, JSON.stringify(stored))
    },
    async caughtUp(server, rooms) {
      if (rooms.length > 0) await advanceBehind(db, server, rooms)
    },
    waiting: async () => (await waitingDestinations(db, waitingMax)).map(({ server }) => server),
    cursors: async () =>
      (await cursors(db)).map(({ process, position, age_ms }) => ({
        process,
        position,
        ageMs: age_ms,
      })),
    setCursor: (process, position) => upsertCursor(db, process, position),
    dropCursors: (processes) => deleteCursors(db, processes),
    async [Symbol.asyncDispose]() {
      trimmer[Symbol.dispose]()
      await backoff[Symbol.asyncDispose]()
      await inbound[Symbol.asyncDispose]()
    },
  }
}
