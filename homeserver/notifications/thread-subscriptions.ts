/**
 * Owns which threads users are subscribed to. Every change is a row of the log (kind threadSubscription, ref = root of
 * the thread); of two changes of one subscription only the later one is kept.
 * {@link https://github.com/matrix-org/matrix-spec-proposals/pull/4306}
 */
import { MatrixError, notFound } from '../../spec/errors.ts'
import { type EventId, isEventId, type RoomId, type UserId } from '../../spec/ids.ts'
import { relationOf } from '../../spec/room/relation.ts'
import type { Database } from '../database/database.ts'
import type { Events } from '../events/events.ts'
import type { Requester, Rooms } from '../rooms/rooms.ts'
import type { LogWrite, LogWriter, Position, Tail } from '../stream/log.ts'
import { refusal } from '../stream/settled.ts'
import { createTailedCache } from '../stream/tailed-cache.ts'
import * as queries from './thread-subscription-queries.ts'

/** What became of a user's subscription to a thread. */
export interface ThreadSubscriptionChange {
  readonly room: RoomId
  readonly root: EventId
  /** Position of the change in the log: what MSC4308 calls the bump stamp. */
  readonly position: Position
  /** Absent when the user unsubscribed. */
  readonly subscription?: ThreadSubscription
}

export interface ThreadSubscription {
  /** The user's client subscribed by itself. */
  readonly automatic: boolean
}

export interface ThreadSubscriptions {
  /** @throws MatrixError M_NOT_FOUND when there is none, or the requester may not see the thread's root */
  get(who: Requester, room: RoomId, root: EventId): Promise<ThreadSubscription>
  /**
   * Subscribes the requester; `cause` is the event for which the client did so by itself.
   * @throws MatrixError M_NOT_FOUND for a root or cause that the requester may not see, IO.ELEMENT.MSC4306.M_NOT_IN_THREAD
   *   for a cause outside of the thread, IO.ELEMENT.MSC4306.M_CONFLICTING_UNSUBSCRIPTION for one from before the
   *   requester unsubscribed, M_LIMIT_EXCEEDED
   */
  subscribe(who: Requester, room: RoomId, root: EventId, cause?: EventId): Promise<void>
  /** Also when there is no subscription. @throws MatrixError M_NOT_FOUND as `get` does for the root */
  unsubscribe(who: Requester, room: RoomId, root: EventId): Promise<void>
  /** The newest `limit` changes with after < position <= upTo, the oldest first, each thread once. */
  changesFor(
    user: UserId,
    after: Position,
    upTo: Position,
    limit: number,
  ): Promise<readonly ThreadSubscriptionChange[]>
  /** Who is subscribed to a thread; cached. */
  subscribers(room: RoomId, root: EventId): Promise<ReadonlySet<UserId>>
}

/** Threads that one user can have said something about. */
export const subscriptionsMax = 100_000
const threadsCachedMax = 2_000
const attemptsMax = 10
const scope = 'thread subscription'

export interface ThreadSubscriptionsNeeds {
  readonly db: Database
  readonly log: Pick<LogWriter, 'write'>
  readonly tail: Pick<Tail, 'subscribe'>
  readonly events: Pick<Events, 'extremities'>
  readonly rooms: Pick<Rooms, 'event'>
}

/** Builds it; before the tail starts. */
export function createThreadSubscriptions(needs: ThreadSubscriptionsNeeds): ThreadSubscriptions {
  const { db, log, events, rooms } = needs
  const subscribed = subscribersCache(needs)

  /** Writes what `decide` makes of the row as it is; again when another request was first. */
  async function change(
    user: UserId,
    room: RoomId,
    root: EventId,
    decide: (row: queries.ThreadSubscriptionRow | undefined) => Promise<Wanted | undefined>,
  ): Promise<void> {
    for (let attempt = 0; attempt < attemptsMax; attempt++) {
      const row = await queries.findThreadSubscription(db, user, room, root)
      const wanted = await decide(row)
      if (wanted === undefined) return
      if (row === undefined) await requireRoomForOneMore(user)
      const verdict = await log.write(writeOf(user, room, root, row?.position ?? 0, wanted))
      if (verdict.kind === 'done') return
      if (verdict.kind !== 'duplicate') throw refusal(verdict)
    }
    throw new MatrixError('M_UNKNOWN', 'the subscription is changing too often')
  }

  async function requireRoomForOneMore(user: UserId): Promise<void> {
    if ((await queries.countThreadSubscriptions(db, user)) < subscriptionsMax) return
    throw new MatrixError('M_LIMIT_EXCEEDED', `more than ${subscriptionsMax} thread subscriptions`)
  }

  /** The event for which a client subscribes by itself. */
  async function causeIn(who: Requester, room: RoomId, root: EventId, id: EventId) {
    const { event } = await rooms.event(who, room, id)
    const relation = relationOf(event.pdu)
    if (relation?.relType === 'm.thread' && relation.target === root) return event
    throw new MatrixError('IO.ELEMENT.MSC4306.M_NOT_IN_THREAD', 'automatic: not in the thread')
  }

  return {
    async get(who, room, root) {
      await rooms.event(who, room, root)
      const row = await queries.findThreadSubscription(db, who.user, room, root)
      if (row?.subscribed !== true) throw notFound('Subscription')
      return { automatic: row.automatic }
    },
    async subscribe(who, room, root, causeId) {
      await rooms.event(who, room, root)
      const cause = causeId && (await causeIn(who, room, root, causeId))
      const automatic = cause !== undefined
      await change(who.user, room, root, async (row) => {
        // Whoever subscribed by hand stays so.
        if (row?.subscribed && (automatic || !row.automatic)) return undefined
        if (cause !== undefined && row !== undefined && isBefore(cause, row)) throw conflict()
        return { subscribed: true, automatic, depth: 0 }
      })
    },
    async unsubscribe(who, room, root) {
      await rooms.event(who, room, root)
      await change(who.user, room, root, async (row) => {
        if (row?.subscribed !== true) return undefined
        const { depth } = await events.extremities(room)
        return { subscribed: false, automatic: false, depth }
      })
    },
    async changesFor(user, after, upTo, limit) {
      const rows = await queries.threadSubscriptionsBetween(db, user, { after, upTo, limit })
      return rows.map(changeOf)
    },
    async subscribers(room, root) {
      return isEventId(root) ? await subscribed.get(threadKey(room, root)) : new Set()
    },
  }
}

function subscribersCache({ db, tail }: Pick<ThreadSubscriptionsNeeds, 'db' | 'tail'>) {
  return createTailedCache<ReadonlySet<UserId>>({
    tail,
    name: 'thread_subscribers',
    entriesMax: threadsCachedMax,
    load: async (key) => {
      const [room = '', root = ''] = key.split(' ')
      const rows = await queries.subscribersOf(db, room, root)
      return new Set(rows.map(({ user_id }) => user_id))
    },
    staleBy: ({ kind, room = '', ref }) =>
      kind === 'threadSubscription' ? threadKey(room, ref) : undefined,
  })
}

interface Wanted {
  readonly subscribed: boolean
  readonly automatic: boolean
  readonly depth: number
}

function writeOf(
  user: UserId,
  room: RoomId,
  root: EventId,
  before: Position,
  wanted: Wanted,
): LogWrite {
  const row = { user_id: user, room_id: room, root, ...wanted }
  const tables = { thread_subscriptions: [row] }
  return {
    once: { scope, key: JSON.stringify([user, room, root, before]), answer: '' },
    entries: [{ kind: 'threadSubscription', user, room, ref: root, payload: undefined, tables }],
  }
}

/** Was an event here when the user unsubscribed; what was fetched as history later has no place in the log. */
function isBefore(
  { position = 0, pdu }: { readonly position?: number; readonly pdu: { readonly depth: number } },
  row: queries.ThreadSubscriptionRow,
): boolean {
  return position > 0 ? position <= row.position : pdu.depth <= row.depth
}

function conflict(): MatrixError {
  return new MatrixError(
    'IO.ELEMENT.MSC4306.M_CONFLICTING_UNSUBSCRIPTION',
    'automatic: the event is from before the thread was unsubscribed from',
    { status: 409 },
  )
}

function changeOf(row: queries.ThreadSubscriptionRow): ThreadSubscriptionChange {
  const { room_id: room, root, subscribed, automatic, position } = row
  return subscribed
    ? { room, root, position, subscription: { automatic } }
    : { room, root, position }
}

function threadKey(room: string, root: string): string {
  return `${room} ${root}`
}
