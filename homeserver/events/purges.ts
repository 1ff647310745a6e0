/**
 * Taking history, or a whole room, out of the database: in pieces, each in the room's turn, and never under the log's
 * lock. A job goes on where a process that died has left off. State that is no longer referred to is collected after.
 */
import { MatrixError, notFound } from '../../spec/errors.ts'
import { type EventId, isRoomId, type RoomId, type ServerName } from '../../spec/ids.ts'
import { isObject, type JsonObject } from '../../spec/json.ts'
import type { Database } from '../database/database.ts'
import type { Job, Jobs } from '../jobs/jobs.ts'
import type { Clock } from '../platform/clock.ts'
import type { Logger } from '../platform/log.ts'
import type { Random } from '../platform/random.ts'
import type { LogWrite, LogWriter } from '../stream/log.ts'
import { writeDone } from '../stream/settled.ts'
import { headRow } from './accept.ts'
import { collectNodes } from './collecting.ts'
import { purgeEntry } from './purged.ts'
import {
  blockRoom,
  depthAtTime,
  forgetRoomRows,
  isRoomBlocked,
  lastPositionBelow,
  type PurgeRow,
  purgeEvents,
  purgesOf,
  unblockRoom,
} from './queries.ts'
import type { EventStore } from './store.ts'
import type { Turns } from './turns.ts'

/** A purge as those see it who asked for it. */
export interface Purge {
  readonly id: string
  readonly room: RoomId
  readonly kind: 'history' | 'room'
  readonly status: 'active' | 'complete' | 'failed'
  readonly detail: JsonObject
}

export interface Purges {
  /**
   * Begins to delete what comes before an event, or before what was sent at a time (milliseconds), in a room's history;
   * events of this server's users only when asked. The newest events and the state stay. Answers the purge's id.
   * @throws MatrixError M_NOT_FOUND for an event or a room that is not here; M_BAD_STATE while another purge runs
   */
  purgeHistory(
    room: RoomId,
    before: { readonly event: EventId } | { readonly ts: number },
    options: { readonly withLocal: boolean },
  ): Promise<string>
  /** Purges by their id, or of a room; the newest first. */
  find(by: { readonly id: string } | { readonly room: RoomId }): Promise<readonly Purge[]>
  /** The row that says how far a purge is, for a log write. */
  row(purge: Purge): JsonObject
  /** Deletes everything about a room. Its local users must have left; nothing of it can be read while this runs. */
  forgetRoom(room: RoomId): Promise<void>
  isBlocked(room: RoomId): Promise<boolean>
  /** Whether users of this server may enter a room. */
  setBlocked(room: RoomId, isBlocked: boolean, by: string): Promise<void>
}

const historyJob = 'events.purge-history'
const collectJob = 'events.collect-state'
/** Rows of one statement; purges that are listed. */
const pieceMax = 500
const listedMax = 20
/** What is under way in other processes when a purge ends is done after this time. */
const collectAfterMs = 30_000

interface Needs {
  readonly db: Database
  readonly store: EventStore
  readonly turns: Turns
  readonly writer: LogWriter
  readonly jobs: Pick<Jobs, 'row' | 'handle' | 'wake'>
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly serverName: ServerName
}

export function createPurges(needs: Needs): Purges {
  const { db, store, turns, writer, jobs, clock, random, log, serverName } = needs

  async function depthOf(room: RoomId, before: { event: EventId } | { ts: number }) {
    if ('ts' in before) return await depthAtTime(db, room, before.ts)
    const event = (await store.get([before.event])).get(before.event)
    const isThere = event?.pdu.roomId === room && event.position !== undefined
    return isThere ? event.pdu.depth : undefined
  }

  async function purgePieces(room: RoomId, depth: number, keptServer: string | undefined) {
    for (;;) {
      const gone = await turns.run(room, () => purgeEvents(db, room, depth, keptServer, pieceMax))
      if (gone === 0) return
    }
  }

  jobs.handle(historyJob, async (job) => {
    const { room, depth, with_local: withLocal } = job.payload
    if (!isRoomId(room) || typeof depth !== 'number') return undefined
    const [purge] = await find({ id: job.id })
    try {
      await purgePieces(room, depth, withLocal === true ? undefined : serverName)
    } catch (error) {
      if (!isLastTry(job, error)) throw error
      log.warn({ room, error }, 'history could not be purged')
      return purge && { entries: [], tables: { purges: [row({ ...purge, status: 'failed' })] } }
    }
    return { ...endOf(room), ...(purge && ended({ ...purge, status: 'complete' }, room)) }
  })

  function ended(purge: Purge, room: RoomId): Pick<LogWrite, 'tables'> {
    return { tables: { purges: [row(purge)], jobs: [collection(room)] } }
  }

  /** What tells everybody that events are gone, and takes the room from whoever has it in memory. */
  function endOf(room: RoomId): Omit<LogWrite, 'once'> {
    turns.forget(room)
    return { claim: { room }, entries: [purgeEntry(room, false)] }
  }

  function collection(room: RoomId): JsonObject {
    return jobs.row(collectJob, { room }, { runAtMs: clock.now() + collectAfterMs })
  }

  jobs.handle(collectJob, async ({ payload: { room } }) => {
    if (!isRoomId(room)) return undefined
    const gone = await collectNodes(db, room)
    log.info({ room, gone }, 'unreferenced state was collected')
    return undefined
  })

  async function find(by: { readonly id: string } | { readonly room: RoomId }): Promise<Purge[]> {
    return (await purgesOf(db, by, listedMax)).flatMap((one) => purgeOf(one) ?? [])
  }

  return {
    async purgeHistory(room, before, { withLocal }) {
      const depth = await depthOf(room, before)
      if (depth === undefined) throw notFound('Event')
      if ((await find({ room })).some(({ status }) => status === 'active')) {
        throw new MatrixError('M_BAD_STATE', 'a purge of this room is running', { status: 400 })
      }
      const purge = {
        id: random.text(16),
        room,
        kind: 'history',
        status: 'active',
        detail: {},
      } as const
      const payload = { room, depth, with_local: withLocal }
      // Clients that have not heard of what goes are told that they miss something.
      const position = (await lastPositionBelow(db, room, depth)) + 1
      await writeDone(writer, {
        entries: [purgeEntry(room, false)],
        tables: {
          timeline_gaps: [{ room_id: room, position }],
          purges: [row(purge)],
          jobs: [jobs.row(historyJob, payload, { id: purge.id })],
        },
      })
      jobs.wake()
      return purge.id
    },
    find,
    row,
    async forgetRoom(room) {
      // Nobody can write to a room that has no head, and nobody reads its state.
      await turns.runUnknown(room, async (turn) => {
        const heads = turn && [{ ...headRow(turn), extremities: [] }]
        await writeDone(writer, {
          claim: { room },
          entries: [purgeEntry(room, true)],
          ...(heads && { tables: { room_heads: heads } }),
        })
        turns.forget(room)
      })
      while ((await forgetRoomRows(db, room, pieceMax)) > 0);
      await writeDone(writer, {
        entries: [purgeEntry(room, true)],
        tables: { jobs: [collection(room)] },
      })
    },
    isBlocked: (room) => isRoomBlocked(db, room),
    setBlocked: (room, isBlocked, by) =>
      isBlocked ? blockRoom(db, room, by) : unblockRoom(db, room),
  }
}

function row({ id, room, kind, status, detail }: Purge): JsonObject {
  return { id, room_id: room, kind, status, detail: JSON.stringify(detail) }
}

function purgeOf({ id, room_id: room, kind, status, detail }: PurgeRow): Purge | undefined {
  const parsed: unknown = JSON.parse(detail)
  if (!isRoomId(room) || !isObject(parsed)) return undefined
  return {
    id,
    room,
    kind: kind === 'room' ? 'room' : 'history',
    status: status === 'active' || status === 'complete' ? status : 'failed',
    detail: parsed,
  }
}

/** What the room's absence causes will not be better another time. */
function isLastTry({ attempts }: Job, error: unknown): boolean {
  return attempts >= triesMax || (error instanceof MatrixError && error.status === 404)
}

const triesMax = 5
