/** An accepted (or refused) event as one value for the log writer: its row, its edges, its state, its projections. */
import { stateKeyOf } from '../../spec/events/event.ts'
import { type EventId, isUserId, type ServerName } from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import { relationOf } from '../../spec/room/relation.ts'
import type { LogEntry } from '../stream/log.ts'
import type { EventPayload } from './events.ts'
import type { StateChange } from './room-views.ts'
import type { StoredEvent } from './stored-event.ts'

/** Builds the row of `memberships` for a member event; the table is the rooms slice's. */
export type MembershipRow = (event: StoredEvent) => JsonObject

/** Row of the table `events`; the log gives live events their position. */
export function eventRow(event: StoredEvent, replaces?: number): JsonObject {
  const { pdu } = event
  return {
    nr: event.nr,
    event_id: pdu.eventId,
    room_id: pdu.roomId,
    type: pdu.type,
    sender: pdu.sender,
    depth: pdu.depth,
    origin_server_ts: pdu.originServerTs,
    json: event.text,
    ...(pdu.stateKey !== undefined && { state_key: pdu.stateKey, auth: pdu.authEvents }),
    ...(event.position !== undefined && { position: event.position }),
    ...(event.stateBefore !== undefined && { state_before: event.stateBefore }),
    ...(event.stateAfter !== undefined && { state_after: event.stateAfter }),
    ...(event.rejected !== undefined && { rejected: event.rejected }),
    ...(event.softFailed && { soft_failed: true }),
    ...(event.txn && { txn_device: event.txn.device, txn_id: event.txn.id }),
    ...(replaces !== undefined && { replaces }),
  }
}

/** What an accepted event does, beside being there. */
export interface Effects {
  readonly changesState: boolean
  /** Number of the state event that this one replaces. */
  readonly replaces?: number | undefined
  /** The target of a redaction, and whether its sender may redact it; undefined while the target is unknown. */
  readonly redaction?:
    | { readonly redacts: EventId; readonly valid: boolean | undefined }
    | undefined
  readonly onBehalfOf?: ServerName | undefined
  readonly deliveredBy?: ServerName | undefined
  /** Something right before the event is not here. */
  readonly isAfterGap?: boolean | undefined
}

/** The log row of a live event with the rows of other tables that share its position. */
export function eventEntry(
  event: StoredEvent,
  effects: Effects,
  membershipRow: MembershipRow,
): LogEntry {
  const { pdu } = event
  const tables: Record<string, readonly JsonObject[]> = {
    events: [eventRow(event, effects.replaces)],
  }
  const isMember = pdu.type === 'm.room.member'
  if (effects.changesState && pdu.stateKey !== undefined) {
    tables['current_state'] = [
      currentStateRow(pdu.roomId, [stateKeyOf(pdu.type, pdu.stateKey), event.nr]),
    ]
    if (isMember) tables['memberships'] = [membershipRow(event)]
  }
  const relation = relationRow(event)
  if (relation !== undefined) tables['event_relations'] = [relation]
  if (effects.redaction !== undefined) {
    const { redacts, valid } = effects.redaction
    const row = { redacts, event_id: pdu.eventId, room_id: pdu.roomId }
    tables['redactions'] = [valid === undefined ? row : { ...row, valid }]
  }
  if (effects.isAfterGap) tables['timeline_gaps'] = [{ room_id: pdu.roomId }]
  const payload: EventPayload = {
    event,
    changesState: effects.changesState,
    ...(effects.onBehalfOf !== undefined && { onBehalfOf: effects.onBehalfOf }),
    ...(effects.deliveredBy !== undefined && { deliveredBy: effects.deliveredBy }),
    ...(effects.isAfterGap && { isAfterGap: true }),
    ...(effects.redaction?.valid === true && { redacts: effects.redaction.redacts }),
  }
  return {
    kind: 'event',
    room: pdu.roomId,
    ref: eventRef(event.nr, effects),
    payload,
    tables,
    ...(isMember && isUserId(pdu.stateKey) && { user: pdu.stateKey }),
  }
}

function eventRef(
  nr: number,
  { changesState, onBehalfOf, deliveredBy, isAfterGap }: Effects,
): string {
  const flags = `${changesState ? 1 : 0}${isAfterGap ? 'g' : ''}`
  return `${nr} ${flags} ${onBehalfOf ?? ''} ${deliveredBy ?? ''}`
}

/** Reads the `ref` of an event row. */
export function readEventRef(ref: string): {
  nr: number
  changesState: boolean
  isAfterGap: boolean
  onBehalfOf: string | undefined
  deliveredBy: string | undefined
} {
  const [nr = '0', flags = '', onBehalfOf, deliveredBy] = ref.split(' ')
  return {
    nr: Number(nr),
    changesState: flags.startsWith('1'),
    isAfterGap: flags.endsWith('g'),
    onBehalfOf: onBehalfOf || undefined,
    deliveredBy: deliveredBy || undefined,
  }
}

/** Keys of member events begin so. */
export const membershipPrefix = 'm.room.member\u0000'

/** Row of `current_state`; without an event it removes the key. */
export function currentStateRow(room: string, [key, nr]: StateChange): JsonObject {
  const [type = '', stateKey = ''] = splitKey(key)
  const row = { room_id: room, type, state_key: stateKey }
  return nr === undefined ? row : { ...row, event_nr: nr }
}

/** Type and state key of a key. */
export function splitKey(key: string): [type: string, stateKey: string] {
  const at = key.indexOf('\u0000')
  return [key.slice(0, at), key.slice(at + 1)]
}

/** Row of `event_relations`; the log gives live events their position. State events relate to nothing. */
export function relationRow({ pdu, position }: StoredEvent): JsonObject | undefined {
  const relation = pdu.stateKey === undefined ? relationOf(pdu) : undefined
  if (relation === undefined || !isKeepable(relation.relType)) return undefined
  const { relType, target, key } = relation
  return {
    event_id: pdu.eventId,
    relates_to: target,
    room_id: pdu.roomId,
    rel_type: relType,
    type: pdu.type,
    sender: pdu.sender,
    depth: pdu.depth,
    ...(position !== undefined && { position }),
    ...(key !== undefined && isKeepable(key) && { aggregation_key: key }),
  }
}

/** Longest kind of relation, and longest key of an annotation, that is kept. */
const relationTextMax = 500

/** Postgres keeps no NUL and no half of a surrogate pair. */
function isKeepable(text: string): boolean {
  return text.length <= relationTextMax && !/[\0\p{Surrogate}]/u.test(text)
}
