/** Events of local users: built on the newest extremities, authorised by the current state, signed. */
import type { SigningKey } from '../../spec/crypto/ed25519.ts'
import { referenceHash } from '../../spec/crypto/hash.ts'
import { forbidden, MatrixError } from '../../spec/errors.ts'
import { type Pdu, type StateKey, stateKeyOf } from '../../spec/events/event.ts'
import { type EventId, idBytesMax, isWithin, type RoomId, type ServerName } from '../../spec/ids.ts'
import type { Json, JsonObject } from '../../spec/json.ts'
import { authEventKeys } from '../../spec/room/auth-events.ts'
import { authorize } from '../../spec/room/authorize.ts'
import { prevEventsMax } from '../../spec/room/event-fields.ts'
import { finishPdu } from '../../spec/room/event-format.ts'
import type { RoomVersionRules } from '../../spec/room/version.ts'
import type { Clock } from '../platform/clock.ts'
import type { Random } from '../platform/random.ts'
import { createOf } from './accept.ts'
import type { LocalDraft } from './events.ts'
import type { EventStore } from './store.ts'
import type { StoredEvent } from './stored-event.ts'
import { type TurnRoom, turnEvents, turnState } from './turns.ts'

export interface BuildNeeds {
  readonly serverName: ServerName
  readonly key: SigningKey
  readonly store: EventStore
  readonly clock: Clock
  readonly random: Random
}

const depthMax = Number.MAX_SAFE_INTEGER
const eventIdLength = 24

/** Builds and authorises. @throws MatrixError M_FORBIDDEN with the rule that refused; M_TOO_LARGE, M_BAD_JSON */
export async function buildEvent(
  needs: BuildNeeds,
  turn: TurnRoom,
  draft: LocalDraft,
): Promise<Pdu> {
  const { store } = needs
  const create = await createOf(turn, store)
  const keys = authEventKeys(draft, turn.rules)
  const auth = await turnState(turn, store, keys)
  const prevs = turn.extremities.slice(-prevEventsMax)
  const json = draftJson(needs, draft, {
    room: turn.room,
    rules: turn.rules,
    depth: Math.min(turn.depth + 1, depthMax),
    prevs: await edges(turn, store, prevs),
    auth: await authEdges(turn, auth),
  })
  const pdu = finishPdu(json, turn.rules, needs.serverName, needs.key)
  requireAuthorised(pdu, turn.rules, auth, create)
  return pdu
}

/** The create event of a new room, or an event on top of what is only in memory (a room being made). */
export interface Place {
  readonly room: RoomId | undefined
  readonly rules: RoomVersionRules
  readonly depth: number
  /** As the room version writes them: ids, or pairs of id and hash. */
  readonly prevs: readonly Json[]
  readonly auth: readonly Json[]
}

/** The members of an event before hashes and signatures. */
export function draftJson(needs: BuildNeeds, draft: LocalDraft, place: Place): JsonObject {
  const { rules, room } = place
  const json: Record<string, Json> = {
    auth_events: place.auth,
    content: contentOf(draft, rules),
    depth: place.depth,
    origin_server_ts: draft.originServerTs ?? needs.clock.now(),
    prev_events: place.prevs,
    sender: draft.sender,
    type: draft.type,
  }
  if (room !== undefined) json['room_id'] = room
  if (draft.stateKey !== undefined) json['state_key'] = draft.stateKey
  if (draft.redacts !== undefined && !rules.redactsInContent) json['redacts'] = draft.redacts
  if (rules.eventIdFormat === 'opaque') {
    json['event_id'] = `$${needs.random.text(eventIdLength)}:${needs.serverName}`
    json['origin'] = needs.serverName
  }
  return json
}

function contentOf(draft: LocalDraft, rules: RoomVersionRules): JsonObject {
  if (draft.redacts === undefined || !rules.redactsInContent) return draft.content
  return { ...draft.content, redacts: draft.redacts }
}

/** @throws MatrixError M_FORBIDDEN with the rule that refused; M_TOO_LARGE for a long type or state key */
export function requireAuthorised(
  pdu: Pdu,
  rules: RoomVersionRules,
  auth: ReadonlyMap<StateKey, StoredEvent>,
  create: StoredEvent | undefined,
): void {
  for (const name of ['type', 'stateKey'] as const) {
    if (!isWithin(pdu[name] ?? '', idBytesMax))
      throw new MatrixError('M_TOO_LARGE', `${name}: must be at most ${idBytesMax} bytes`)
  }
  const verdict = authorize(pdu, rules, (type, key) =>
    type === 'm.room.create' ? create?.pdu : auth.get(stateKeyOf(type, key))?.pdu,
  )
  if (verdict.kind === 'reject') throw forbidden(verdict.reason)
}

async function edges(
  turn: TurnRoom,
  store: EventStore,
  ids: readonly EventId[],
): Promise<readonly Json[]> {
  if (turn.rules.eventFormat === 'list') return ids
  const events = await turnEvents(turn, store, ids)
  return ids.map((id) => pairOf(id, events.get(id)?.pdu, turn.rules))
}

async function authEdges(
  turn: TurnRoom,
  auth: ReadonlyMap<StateKey, StoredEvent>,
): Promise<readonly Json[]> {
  const events = [...auth.values()]
  if (turn.rules.eventFormat === 'list') return events.map(({ pdu }) => pdu.eventId)
  return events.map(({ pdu }) => pairOf(pdu.eventId, pdu, turn.rules))
}

/** v1–2: an edge is the id with the hash of what it points at. */
function pairOf(id: EventId, pdu: Pdu | undefined, rules: RoomVersionRules): Json {
  if (pdu === undefined) throw new MatrixError('M_UNKNOWN', 'an event of the room is missing')
  return [id, { sha256: referenceHash(pdu.json, rules) }]
}
