/** Sends delayed events when their time has come: by whichever process is first, in order within a room, once. */
import { MatrixError } from '../../spec/errors.ts'
import { parseDeviceId, parseEventId } from '../../spec/ids.ts'
import { type JsonObject, stringAt } from '../../spec/json.ts'
import type { Database } from '../database/database.ts'
import { storedObject } from '../database/stored-text.ts'
import type { Clock } from '../platform/clock.ts'
import type { Logger } from '../platform/log.ts'
import type { Requester, Rooms } from '../rooms/rooms.ts'
import * as queries from './queries.ts'

export const sendingLimits = {
  /** How often what other processes left behind is looked for, in ms. */
  pollMs: 5_000,
  /** Events that are taken at a time. */
  batch: 100,
  /** How long a process that has taken an event may need to send it, in ms. */
  leaseMs: 30_000,
  attemptsMax: 10,
  retryMinMs: 500,
  retryMaxMs: 60_000,
} as const

/** The device in whose name a delay's transaction stands: no client's. */
const device = parseDeviceId('delayed event')

export interface SendingNeeds {
  readonly db: Database
  readonly clock: Clock
  readonly log: Logger
  readonly rooms: Pick<Rooms, 'send' | 'redact'>
  /** Has somebody else set the state meanwhile. */
  readonly isSuperseded: (row: queries.DelayedRow) => Promise<boolean>
}

export interface DelaySending extends AsyncDisposable {
  start(): void
  /** Something is to be sent at this time. */
  expect(at: number): void
  /** Sends an event that this process has taken. Rejects when it was refused; it is gone then as well. */
  send(row: queries.DelayedRow): Promise<void>
}

export function createDelaySending(needs: SendingNeeds): DelaySending {
  return new Sender(needs)
}

class Sender implements DelaySending {
  readonly #needs: SendingNeeds
  readonly #stopping = new AbortController()
  #timer = new AbortController()
  #nextAt = Number.POSITIVE_INFINITY
  #looking: Promise<void> | undefined
  #lookAgain = false
  #started = false

  constructor(needs: SendingNeeds) {
    this.#needs = needs
  }

  start(): void {
    this.#started = true
    this.#look()
  }

  expect(at: number): void {
    if (at >= this.#nextAt || !this.#started || this.#stopping.signal.aborted) return
    this.#timer.abort()
    this.#timer = new AbortController()
    this.#nextAt = at
    const { clock } = this.#needs
    clock.sleep(Math.max(0, at - clock.now()), this.#timer.signal).then(
      () => {
        this.#nextAt = Number.POSITIVE_INFINITY
        this.#look()
      },
      () => {},
    )
  }

  async send(row: queries.DelayedRow): Promise<void> {
    const { db, rooms, isSuperseded } = this.#needs
    try {
      if (!(await isSuperseded(row))) await sendNow(rooms, row)
    } catch (error) {
      if (!isRefusal(error)) {
        await this.#giveBack(row, error)
        throw error
      }
      await queries.removeDelayed(db, [row.delay_id])
      throw error
    }
    await queries.removeDelayed(db, [row.delay_id])
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort()
    this.#timer.abort()
    await this.#looking
  }

  #look(): void {
    this.#lookAgain = true
    if (this.#stopping.signal.aborted) return
    this.#looking ??= this.#sendDue()
      .catch((error: unknown) =>
        this.#needs.log.warn({ error }, 'delayed events could not be read'),
      )
      .finally(() => {
        this.#looking = undefined
        this.expect(this.#needs.clock.now() + sendingLimits.pollMs)
      })
  }

  async #sendDue(): Promise<void> {
    const { db, clock } = this.#needs
    const { batch, leaseMs } = sendingLimits
    while (this.#lookAgain && !this.#stopping.signal.aborted) {
      this.#lookAgain = false
      const now = clock.now()
      const taken = await queries.takeDue(db, { now, until: now + leaseMs, limit: batch })
      await Promise.all([...byRoom(taken).values()].map((rows) => this.#sendInOrder(rows)))
      if (taken.length === batch) this.#lookAgain = true
    }
    const next = await queries.nextDue(db)
    if (next !== undefined) this.expect(next)
  }

  async #sendInOrder(rows: readonly queries.DelayedRow[]): Promise<void> {
    for (const row of rows) {
      await this.send(row).catch((error: unknown) => {
        this.#needs.log.info({ error, room: row.room_id }, 'a delayed event was not sent')
      })
    }
  }

  async #giveBack({ delay_id: id, attempts }: queries.DelayedRow, error: unknown): Promise<void> {
    const { db, clock, log } = this.#needs
    const { attemptsMax, retryMinMs, retryMaxMs } = sendingLimits
    log.warn({ error, delay: id, attempts }, 'a delayed event could not be sent')
    if (attempts >= attemptsMax) return await queries.removeDelayed(db, [id])
    const at = clock.now() + Math.min(retryMinMs * 2 ** attempts, retryMaxMs)
    await queries.returnDelayed(db, id, at)
    this.expect(at)
  }
}

/** What a redaction takes back; nothing for any other event. @throws MatrixError M_INVALID_PARAM */
export function redactedBy({
  type,
  stateKey,
  content,
}: {
  readonly type: string
  readonly stateKey?: string
  readonly content: JsonObject
}) {
  if (type !== 'm.room.redaction' || stateKey !== undefined) return undefined
  const redacts = stringAt(content, 'redacts')
  return redacts === undefined ? undefined : parseEventId(redacts)
}

/** A redaction sent as any other event is one all the same. */
async function sendNow(rooms: SendingNeeds['rooms'], row: queries.DelayedRow): Promise<void> {
  const [who, draft] = [senderOf(row), draftOf(row)]
  const redacts = redactedBy(draft)
  if (redacts === undefined) await rooms.send(who, draft)
  else await rooms.redact(who, draft.room, redacts, stringAt(draft.content, 'reason'), draft.txn)
}

/** What the room does not take now, it will not take later. */
function isRefusal(error: unknown): boolean {
  return error instanceof MatrixError && error.status < 429
}

function byRoom(
  rows: readonly queries.DelayedRow[],
): ReadonlyMap<string, readonly queries.DelayedRow[]> {
  const rooms = new Map<string, queries.DelayedRow[]>()
  for (const row of rows) {
    const others = rooms.get(row.room_id)
    if (others === undefined) rooms.set(row.room_id, [row])
    else others.push(row)
  }
  return rooms
}

function senderOf({ user_id: user, device_id, guest, appservice }: queries.DelayedRow): Requester {
  return {
    ...{ user, guest, admin: false },
    ...(device_id !== null && { device: device_id }),
    ...(appservice !== null && { appservice }),
  }
}

function draftOf(row: queries.DelayedRow): Parameters<Rooms['send']>[1] {
  return {
    room: row.room_id,
    type: row.type,
    content: storedObject(row.content),
    txn: { device, endpoint: 'delayed_event', txnId: row.delay_id },
    ...(row.state_key !== null && { stateKey: row.state_key }),
    ...(row.origin_server_ts !== null && { originServerTs: row.origin_server_ts }),
  }
}
