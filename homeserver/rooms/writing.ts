/** Sending events: the engine's rules above the auth rules. One append and no wait but for what is in memory. */
import { badJson, forbidden, invalidParam, MatrixError, notFound } from '../../spec/errors.ts'
import {
  type EventId,
  isRoomAlias,
  isUserId,
  type RoomAlias,
  type RoomId,
  type UserId,
} from '../../spec/ids.ts'
import { arrayAt, type Json, type JsonObject } from '../../spec/json.ts'
import { levelFor, powerLevelsOf, userLevel } from '../../spec/room/power-levels.ts'
import { stateOwner } from '../../spec/room/state-owner.ts'
import type { Events, LocalDraft, LocalTxn, TurnPlan, TurnView } from '../events/events.ts'
import type { StoredEvent } from '../events/stored-event.ts'
import { isSame } from './member-plan.ts'
import type { MembershipChanges } from './membership.ts'
import { relationRefusal } from './relation-checks.ts'
import type { Draft, Memberships, Requester, Rooms, TxnKey } from './rooms.ts'

interface Needs {
  readonly events: Events
  readonly memberships: Pick<Memberships, 'isJoined'>
  readonly changes: Pick<MembershipChanges, 'put'>
  /** Where an alias leads; undefined when nowhere. */
  readonly roomOfAlias: (alias: RoomAlias) => Promise<RoomId | undefined>
}

/** Alternative aliases of one event; each is looked up. */
const aliasesMax = 100

export function createWriting(needs: Needs): Pick<Rooms, 'send' | 'redact'> {
  const { events, memberships, changes } = needs

  async function requireJoined(user: UserId, room: RoomId): Promise<void> {
    if (!(await memberships.isJoined(user, room)))
      throw forbidden(`User ${user} not in room ${room}`)
  }

  async function append(who: Requester, draft: Draft): Promise<EventId> {
    const { room, type, stateKey, content, redacts, txn, originServerTs } = draft
    const local = {
      type,
      sender: who.user,
      content,
      ...(stateKey !== undefined && { stateKey }),
      ...(redacts !== undefined && { redacts }),
      ...(originServerTs !== undefined && { originServerTs }),
    }
    const isRelated = content['m.relates_to'] !== undefined
    const refusal = isRelated ? await relationRefusal(events, who.user, draft) : undefined
    const plan = (view: TurnView): TurnPlan | Promise<TurnPlan> => {
      // Said here, so that a repeated request is answered as it was the first time.
      if (refusal !== undefined) throw refusal
      return stateKey === undefined
        ? { kind: 'append', draft: local }
        : unlessSame(view, { ...local, stateKey })
    }
    const event = await events.append(room, plan, txn && localTxn(who, txn))
    return event.pdu.eventId
  }

  return {
    async send(who, draft) {
      requireSendable(draft)
      const { room, type, stateKey, content } = draft
      if (type === 'm.room.member' && stateKey !== undefined) {
        if (!isUserId(stateKey)) throw invalidParam('state_key', 'not a user id')
        return (await changes.put(who, room, stateKey, content)).pdu.eventId
      }
      await requireJoined(who.user, room)
      if (stateKey?.startsWith('@')) await requireOwner(events, room, stateKey)
      if (type === 'm.room.canonical_alias' && stateKey === '') {
        await requireAliases(needs, room, content)
      }
      return await append(who, draft)
    },
    async redact(who, room, redacts, reason, txn) {
      await requireJoined(who.user, room)
      await requireRedactable(events, who.user, room, redacts)
      return await append(who, {
        room,
        type: 'm.room.redaction',
        content: reason === undefined ? {} : { reason },
        redacts,
        ...(txn && { txn }),
      })
    },
  }
}

/** State that already says this is not said again. */
async function unlessSame(
  view: TurnView,
  draft: LocalDraft & { readonly stateKey: string },
): Promise<TurnPlan> {
  const event = await view.state(draft.type, draft.stateKey)
  if (event !== undefined && isSame(event, draft.sender, draft.content)) {
    return { kind: 'stay', event }
  }
  return { kind: 'append', draft }
}

/** Where state has owners, a key that begins as a user id does has to name one. */
async function requireOwner(events: Events, room: RoomId, stateKey: string): Promise<void> {
  if (!(await events.rulesOf(room))?.ownedState || stateOwner(stateKey) !== undefined) return
  throw badJson('state_key', 'neither a user id nor one with an underscore and more behind it')
}

function requireSendable({ type, stateKey }: Draft): void {
  if (type === 'm.room.create') throw forbidden('A room is created once')
  if (type === 'm.room.member' && stateKey === undefined) {
    throw new MatrixError('M_BAD_JSON', 'a membership is a state event')
  }
}

function localTxn(who: Requester, txn: TxnKey): LocalTxn {
  return { user: who.user, device: txn.device, endpoint: txn.endpoint, txnId: txn.txnId }
}

/** {@link https://spec.matrix.org/v1.19/client-server-api/#mroomredaction} */
async function requireRedactable(
  events: Events,
  user: UserId,
  room: RoomId,
  redacts: EventId,
): Promise<void> {
  const target = (await events.get([redacts])).get(redacts)
  if (target !== undefined && target.pdu.roomId !== room) {
    throw invalidParam('event_id', 'the event is of another room')
  }
  if (target?.pdu.type === 'm.room.create') throw forbidden('A create event cannot be redacted')
  if (target?.pdu.type === 'm.room.server_acl') throw forbidden('A server ACL cannot be redacted')
  if (target?.pdu.sender === user || (await mayRedact(events, user, room))) return
  if (target === undefined) throw notFound('Event')
  throw forbidden("You don't have permission to redact events")
}

async function mayRedact(events: Events, user: UserId, room: RoomId): Promise<boolean> {
  const rules = await events.rulesOf(room)
  if (rules === undefined) return false
  const entry = async (type: string): Promise<StoredEvent | undefined> =>
    await events.currentEntry(room, type, '')
  const create = await entry('m.room.create')
  const levels = powerLevelsOf(rules, create?.pdu, (await entry('m.room.power_levels'))?.pdu)
  return userLevel(levels, user) >= levelFor(levels, 'redact')
}

/** New aliases of a room must lead to it. {@link https://spec.matrix.org/v1.19/client-server-api/#mroomcanonical_alias} */
async function requireAliases(needs: Needs, room: RoomId, content: JsonObject): Promise<void> {
  const current = await needs.events.currentEntry(room, 'm.room.canonical_alias', '')
  const known = new Set(namedIn(current?.pdu.content ?? {}))
  const named = namedIn(content)
  if (named.length > aliasesMax) throw invalidParam('alt_aliases', `more than ${aliasesMax}`)
  for (const alias of named) {
    if (!isRoomAlias(alias)) throw invalidParam('alias', 'not a room alias')
    if (known.has(alias)) continue
    const to = await needs.roomOfAlias(alias)
    if (to !== room) {
      throw new MatrixError('M_BAD_ALIAS', `${alias} does not lead to this room`)
    }
  }
}

function namedIn(content: JsonObject): Json[] {
  const alias = content['alias']
  const others = arrayAt(content, 'alt_aliases') ?? []
  const isSet = alias !== undefined && alias !== null && alias !== ''
  return isSet ? [alias, ...others] : [...others]
}
