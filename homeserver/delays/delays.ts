/**
 * Owns events that are sent later unless somebody cancels or restarts their delay (MSC4140): a call ends for others when
 * its participant falls silent. They are kept over a restart and sent by whichever process comes first.
 */
import { lenientCanonicalJson } from '../../spec/canonical-json.ts'
import { forbidden, MatrixError, notFound } from '../../spec/errors.ts'
import type { UserId } from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import type { Database } from '../database/database.ts'
import { storedObject } from '../database/stored-text.ts'
import type { Events } from '../events/events.ts'
import type { Clock } from '../platform/clock.ts'
import type { Logger } from '../platform/log.ts'
import type { Random } from '../platform/random.ts'
import type { Draft, Memberships, Requester, Rooms } from '../rooms/rooms.ts'
import type { LogWriter } from '../stream/log.ts'
import { firstAnswer, refusal } from '../stream/settled.ts'
import * as queries from './queries.ts'
import { createDelaySending, redactedBy } from './sending.ts'

/** A delayed event as its sender sees it; times in milliseconds. */
export interface DelayedEvent {
  readonly delayId: string
  readonly room: string
  readonly type: string
  readonly stateKey?: string
  readonly delayMs: number
  readonly runningSince: number
  readonly content: JsonObject
}

export type DelayAction = 'cancel' | 'restart' | 'send'

/** What clients do with delayed events. Whoever knows an id may act on it. */
export interface Delays {
  /**
   * Keeps an event for later and answers the delay's id; the same id for a repeated transaction.
   * @throws MatrixError M_FORBIDDEN, M_LIMIT_EXCEEDED, M_TOO_LARGE, and M_UNKNOWN with `org.matrix.msc4140.errcode`
   * M_MAX_DELAY_EXCEEDED
   */
  add(who: Requester, draft: Draft, delayMs: number): Promise<string>
  /** @throws MatrixError M_NOT_FOUND, and what sending throws */
  act(id: string, action: DelayAction): Promise<void>
  /** Those of a user that are still to be sent, the next one first. */
  of(user: UserId): Promise<readonly DelayedEvent[]>
  /** @throws MatrixError M_NOT_FOUND */
  get(user: UserId, id: string): Promise<DelayedEvent>
}

/** The slice as the composition root has it. */
export interface RunningDelays extends Delays, AsyncDisposable {
  start(): void
}

interface Needs {
  readonly db: Database
  readonly clock: Clock
  readonly random: Random
  readonly writer: Pick<LogWriter, 'write'>
  readonly log: Logger
  readonly rooms: Pick<Rooms, 'send' | 'redact'>
  readonly events: Pick<Events, 'currentEntry'>
  readonly memberships: Pick<Memberships, 'isJoined'>
  /** Longest delay in ms; 0 allows none. */
  readonly delayMaxMs: number
  readonly perUserMax: number
}

const idLength = 24
const contentBytesMax = 65_536
const leaseMs = 30_000

export function createDelays(needs: Needs): RunningDelays {
  const { db, clock, events } = needs
  const isSuperseded = (row: queries.DelayedRow) => isSupersededIn(events, row)
  const sending = createDelaySending({ ...needs, isSuperseded })

  /** Leaves out, and forgets, those in whose place somebody else has set state. */
  async function pending(rows: readonly queries.DelayedRow[]): Promise<queries.DelayedRow[]> {
    const [kept, gone]: [queries.DelayedRow[], string[]] = [[], []]
    for (const row of rows) {
      if (await isSuperseded(row)) gone.push(row.delay_id)
      else kept.push(row)
    }
    if (gone.length > 0) await queries.removeDelayed(db, gone)
    return kept
  }

  async function require(id: string): Promise<queries.DelayedRow> {
    const found = await queries.findDelayed(db, id)
    const [row] = await pending(found === undefined ? [] : [found])
    if (row === undefined) throw notFound('Delayed event')
    return row
  }

  return {
    async add(who, draft, delayMs) {
      const id = await store(needs, who, draft, delayMs)
      sending.expect(clock.now() + delayMs)
      return id
    },
    async act(id, action) {
      await require(id)
      const now = clock.now()
      if (action === 'cancel') {
        if (!(await queries.cancelDelay(db, id, now))) throw notFound('Delayed event')
      } else if (action === 'restart') {
        const at = await queries.restartDelay(db, id, now)
        if (at === undefined) throw notFound('Delayed event')
        sending.expect(at)
      } else {
        const row = await queries.takeOne(db, id, { now, until: now + leaseMs })
        if (row === undefined) throw notFound('Delayed event')
        await sending.send(row)
      }
    },
    of: async (user) => (await pending(await queries.delayedOf(db, user))).map(shown),
    async get(user, id) {
      const row = await require(id)
      if (row.user_id !== user) throw notFound('Delayed event')
      return shown(row)
    },
    start: () => sending.start(),
    [Symbol.asyncDispose]: () => sending[Symbol.asyncDispose](),
  }
}

async function store(needs: Needs, who: Requester, draft: Draft, delayMs: number): Promise<string> {
  const { db, clock, random, writer } = needs
  const { txn } = draft
  const once = txn && {
    scope: 'delayed event',
    key: JSON.stringify([who.user, txn.device, txn.endpoint, txn.txnId]),
  }
  const first = once && (await firstAnswer(db, once))
  if (first !== undefined) return first
  await requireAllowed(needs, who, draft, delayMs)
  const id = random.text(idLength)
  const row = await rowOf(needs, who, draft, { id, delayMs, now: clock.now() })
  const verdict = await writer.write({
    entries: [],
    tables: { delayed_events: [row] },
    ...(once && { once: { ...once, answer: id } }),
  })
  if (verdict.kind === 'duplicate') return verdict.answer
  if (verdict.kind !== 'done') throw refusal(verdict)
  return id
}

async function requireAllowed(
  { db, clock, memberships, delayMaxMs, perUserMax }: Needs,
  { user }: Requester,
  draft: Draft,
  delayMs: number,
): Promise<void> {
  const { room, content, stateKey, type } = draft
  if (delayMaxMs === 0) throw forbidden('This server does not delay events')
  if (delayMs > delayMaxMs) throw tooLong(delayMs, delayMaxMs)
  if (type === 'm.room.create') throw forbidden('A room is created once')
  if (type === 'm.room.member' && stateKey === undefined) {
    throw new MatrixError('M_BAD_JSON', 'a membership is a state event')
  }
  redactedBy(draft)
  if (Buffer.byteLength(lenientCanonicalJson(content)) > contentBytesMax) {
    throw new MatrixError('M_TOO_LARGE', `content: larger than ${contentBytesMax} bytes`)
  }
  if (!(await memberships.isJoined(user, room))) {
    throw forbidden(`User ${user} not in room ${room}`)
  }
  const { count, soonest } = await queries.countDelayed(db, user)
  if (count < perUserMax) return
  throw new MatrixError('M_LIMIT_EXCEEDED', `more than ${perUserMax} delayed events`, {
    fields: { retry_after_ms: Math.max(1_000, (soonest ?? 0) - clock.now()) },
  })
}

/** As clients of calls look for it. */
function tooLong(delayMs: number, maxMs: number): MatrixError {
  return new MatrixError('M_UNKNOWN', `a delay of ${delayMs} ms is longer than ${maxMs} ms`, {
    status: 400,
    fields: {
      'org.matrix.msc4140.errcode': 'M_MAX_DELAY_EXCEEDED',
      'org.matrix.msc4140.max_delay': maxMs,
    },
  })
}

async function rowOf(
  { events }: Pick<Needs, 'events'>,
  { user, device, guest, appservice }: Requester,
  { room, type, stateKey, content, originServerTs }: Draft,
  { id, delayMs, now }: { readonly id: string; readonly delayMs: number; readonly now: number },
): Promise<JsonObject> {
  const replaced =
    stateKey === undefined ? undefined : await events.currentEntry(room, type, stateKey)
  return {
    ...{ delay_id: id, user_id: user, guest, room_id: room, type },
    ...{ content: JSON.stringify(content), delay_ms: delayMs, running_since: now },
    device_id: device ?? null,
    appservice: appservice ?? null,
    state_key: stateKey ?? null,
    origin_server_ts: originServerTs ?? null,
    replaces: replaced?.pdu.eventId ?? null,
  }
}

/** State that somebody else has set since is newer than what was meant to follow the old. */
async function isSupersededIn(
  events: Pick<Events, 'currentEntry'>,
  row: queries.DelayedRow,
): Promise<boolean> {
  if (row.state_key === null) return false
  const pdu = (await events.currentEntry(row.room_id, row.type, row.state_key))?.pdu
  return pdu !== undefined && pdu.eventId !== row.replaces && pdu.sender !== row.user_id
}

function shown(row: queries.DelayedRow): DelayedEvent {
  return {
    delayId: row.delay_id,
    room: row.room_id,
    type: row.type,
    ...(row.state_key !== null && { stateKey: row.state_key }),
    delayMs: row.delay_ms,
    runningSince: row.running_since,
    content: storedObject(row.content),
  }
}
