/**
 * Transactions of other servers: PDUs to their rooms' queues, EDUs to their slices, one result per PDU. A bad PDU
 * never stops another; a transaction that is sent again gets the first answer.
 * {@link https://spec.matrix.org/v1.19/server-server-api/#transactions}
 */
import type { InboundAnswers } from '../homeserver/destinations/inbound-answers.ts'
import type { Events, Receipt } from '../homeserver/events/events.ts'
import type { Logger } from '../homeserver/platform/log.ts'
import type { RemoteMembership } from '../homeserver/rooms/remote-membership.ts'
import { eduSchema } from '../spec/events/edus.ts'
import { type EventId, isEventId, isRoomId, type RoomId, type ServerName } from '../spec/ids.ts'
import { isObject, type JsonObject } from '../spec/json.ts'
import { eventIdOf } from '../spec/room/event-format.ts'
import type { Access } from './access.ts'
import type { Budget } from './budget.ts'
import type { Edus } from './edus.ts'

export interface Transaction {
  readonly pdus?: readonly unknown[] | undefined
  readonly edus?: readonly unknown[] | undefined
}

export interface Transactions {
  /** Answers the body's text: `{"pdus": {<event id>: {} | {"error": …}}}`. */
  receive(origin: ServerName, txnId: string, transaction: Transaction): Promise<string>
}

/** What transactions ask of the engine. */
export type EventsForTransactions = Pick<Events, 'receive' | 'rulesOf'>

interface Needs {
  readonly events: EventsForTransactions
  readonly access: Pick<Access, 'isAllowed'>
  readonly membership: Pick<RemoteMembership, 'receiveRemoval'>
  readonly edus: Edus
  readonly inbound: InboundAnswers
  /** Spent for events that fail the checks on receipt; who has spent all has to wait. Without it nobody has to. */
  readonly badEvents?: Pick<Budget, 'spend'>
  readonly log: Logger
}

/** Events of one server that fail the checks on receipt, for want of a signature for example. */
export const badEventsLimits = { burst: 1_000, perSecond: 20 }

type Result = Readonly<Record<string, never>> | { readonly error: string }

export function createTransactions(needs: Needs): Transactions {
  const { events, access, edus, log } = needs

  async function process(origin: ServerName, transaction: Transaction): Promise<string> {
    const received = (transaction.edus ?? []).flatMap((edu) => eduSchema.safeParse(edu).data ?? [])
    // Typing and receipts may speak of events that come with them.
    const [early, late] = [received.filter(isForDevices), received.filter((e) => !isForDevices(e))]
    await edus.admit(origin)
    const done = edus.receive(origin, early)
    // It is awaited below; until then it must not count as nobody's.
    done.catch(() => {})
    const results = new Map<EventId, Result>()
    await Promise.all(
      [...byRoom(transaction.pdus ?? [])].map(([room, pdus]) =>
        receiveRoom(origin, room, pdus, results),
      ),
    )
    await edus.receive(origin, late)
    await done
    return JSON.stringify({ pdus: Object.fromEntries(results) })
  }

  async function receiveRoom(
    origin: ServerName,
    room: RoomId,
    pdus: readonly JsonObject[],
    results: Map<EventId, Result>,
  ): Promise<void> {
    try {
      if (!(await access.isAllowed(origin, room))) {
        const denied = { error: 'Server is banned from room' }
        for (const id of await idsOf(room, pdus)) results.set(id, denied)
        return
      }
      const receipts = await events.receive(origin, room, pdus)
      for (const [id, receipt] of receipts) results.set(id, resultOf(receipt))
      const isKnown = receipts.size > 0 || (await events.rulesOf(room)) !== undefined
      if (isKnown) needs.badEvents?.spend(origin, countBad(pdus, receipts))
      if (receipts.size === 0) await receiveRemovals(origin, room, pdus, results)
    } catch (error) {
      log.error({ origin, room, error }, 'PDUs could not be received')
      for (const id of await idsOf(room, pdus).catch(() => [])) {
        results.set(id, { error: 'Internal server error' })
      }
    }
  }

  /** Of a room that is not here, only the end of an invite is of interest. */
  async function receiveRemovals(
    origin: ServerName,
    room: RoomId,
    pdus: readonly JsonObject[],
    results: Map<EventId, Result>,
  ): Promise<void> {
    for (const pdu of pdus) {
      const id = await needs.membership.receiveRemoval(origin, room, pdu)
      if (id !== undefined) results.set(id, {})
    }
  }

  async function idsOf(room: RoomId, pdus: readonly JsonObject[]): Promise<EventId[]> {
    const rules = await events.rulesOf(room)
    if (rules === undefined) return pdus.map(({ event_id }) => event_id).filter(isEventId)
    return pdus.flatMap((pdu) => {
      try {
        return [eventIdOf(pdu, rules)]
      } catch {
        return []
      }
    })
  }

  return {
    async receive(origin, txnId, transaction) {
      return await needs.inbound.once(origin, txnId, () => process(origin, transaction))
    },
  }
}

/** Events that were dropped, and those that are not even events. */
function countBad(pdus: readonly JsonObject[], receipts: ReadonlyMap<EventId, Receipt>): number {
  const dropped = [...receipts.values()].filter(({ kind }) => kind === 'dropped')
  return Math.max(pdus.length - receipts.size, 0) + dropped.length
}

/** EDUs that do not depend on the transaction's events. */
function isForDevices({ edu_type }: { readonly edu_type: string }): boolean {
  return !['m.typing', 'm.receipt', 'm.presence'].includes(edu_type)
}

/** PDUs that name a room, in their order; others cannot be checked against any version and are dropped. */
function byRoom(pdus: readonly unknown[]): Map<RoomId, JsonObject[]> {
  const rooms = new Map<RoomId, JsonObject[]>()
  for (const pdu of pdus) {
    if (!isObject(pdu)) continue
    const { room_id: room } = pdu
    if (!isRoomId(room)) continue
    const list = rooms.get(room)
    if (list) list.push(pdu)
    else rooms.set(room, [pdu])
  }
  return rooms
}

function resultOf(receipt: Receipt): Result {
  switch (receipt.kind) {
    case 'accepted':
    case 'known':
    case 'soft-failed':
      return {}
    case 'rejected':
    case 'dropped':
      return { error: receipt.reason }
    default:
      return receipt satisfies never
  }
}
