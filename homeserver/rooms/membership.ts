/** Changes of memberships that our users ask for, in rooms that are here and in rooms of other servers. */
import type { SigningKey } from '../../spec/crypto/ed25519.ts'
import { badJson, forbidden, MatrixError, notFound } from '../../spec/errors.ts'
import {
  isUserId,
  type RoomAlias,
  type RoomId,
  type ServerName,
  serverOfRoom,
  serverOfUser,
  type UserId,
} from '../../spec/ids.ts'
import type { Json, JsonObject } from '../../spec/json.ts'
import { finishPdu } from '../../spec/room/event-format.ts'
import type { Database } from '../database/database.ts'
import type { Events, TurnView } from '../events/events.ts'
import type { StoredEvent } from '../events/stored-event.ts'
import type { Clock } from '../platform/clock.ts'
import { createPerKeyQueue } from '../platform/per-key-queue.ts'
import type { LogWriter } from '../stream/log.ts'
import { writeDone } from '../stream/settled.ts'
import type { Entry, Handshakes } from './handshakes.ts'
import { readStrippedState } from './invite-state.ts'
import { type MemberChange, planMember } from './member-plan.ts'
import { membershipIn } from './membership-row.ts'
import { forgottenRef } from './memberships.ts'
import { storeOutOfBand } from './out-of-band.ts'
import type { MembershipRow, Memberships, Requester, Rooms } from './rooms.ts'
import { strippedFrom } from './shown-state.ts'

/** What the other parts of the slice use of it. */
export interface MembershipChanges
  extends Pick<Rooms, 'join' | 'knock' | 'leave' | 'invite' | 'kick' | 'ban' | 'unban' | 'forget'> {
  /** A member event as a client wrote it, by PUT of state. */
  put(who: Requester, room: RoomId, target: UserId, content: JsonObject): Promise<StoredEvent>
  /** Carries a changed name or avatar into the rooms that the user is in. */
  propagateProfile(user: UserId, profile: JsonObject): Promise<void>
  /** Leaves every room and rejects every invite; may be called again. */
  leaveAll(user: UserId): Promise<void>
}

export interface ChangeNeeds {
  readonly serverName: ServerName
  readonly key: SigningKey
  readonly db: Database
  readonly clock: Clock
  readonly log: Pick<LogWriter, 'write'>
  readonly events: Events
  readonly memberships: Memberships
  readonly handshakes: Handshakes
  readonly profileOf: (user: UserId) => Promise<JsonObject>
  readonly resolveAlias: (
    alias: RoomAlias,
  ) => Promise<{ room: RoomId; servers: readonly ServerName[] }>
}

/** Rooms that are changed at a time, for what concerns all rooms of a user. */
const concurrent = 10
/** Joins of one remote room that may wait for each other. */
const joinsWaitingMax = 1_000

export function createMembershipChanges(needs: ChangeNeeds): MembershipChanges {
  const { serverName, db, log, events, memberships, handshakes, profileOf } = needs
  const joins = createPerKeyQueue({ waitingMax: joinsWaitingMax })

  const isLocal = (user: UserId) => serverOfUser(user) === serverName
  const isHere = async (room: RoomId) => (await events.serversIn(room)).has(serverName)
  const rowOf = async (user: UserId, room: RoomId) => (await memberships.ofUser(user)).get(room)

  async function requireHere(who: Requester, room: RoomId): Promise<void> {
    if (!(await isHere(room))) throw forbidden(`User ${who.user} not in room ${room}`)
  }

  function apply(room: RoomId, change: MemberChange): Promise<StoredEvent> {
    return events.append(room, (view) => planMember(needs, view, change))
  }

  /** A change by one user to another, in a room that is here. */
  async function act(
    who: Requester,
    room: RoomId,
    action: MemberChange['action'],
    target: UserId,
    content: JsonObject,
  ): Promise<StoredEvent> {
    await requireHere(who, room)
    return await apply(room, { action, sender: who.user, target, content })
  }

  async function profile(user: UserId): Promise<JsonObject> {
    if (!isLocal(user)) return {}
    const { displayname, avatar_url } = await profileOf(user)
    return filled({ displayname, avatar_url })
  }

  async function join(who: Requester, room: RoomId, entry: Entry, isGiven: boolean): Promise<void> {
    const { content } = entry
    const change = {
      action: 'join' as const,
      sender: who.user,
      target: who.user,
      content,
      isGuest: who.guest,
      isIdempotent: !isGiven,
    }
    if (!(await isHere(room))) return await joinRemote(who, room, entry, change)
    try {
      await apply(room, change)
    } catch (error) {
      if (!isUnable(error)) throw error
      // Another server in the room may be able to let the user in.
      const others = [...(await events.serversIn(room))].filter((server) => server !== serverName)
      if (others.length === 0) throw error
      await handshakes.join({ ...entry, candidates: [...entry.candidates, ...others] })
    }
  }

  /** One at a time for each room: when the first has brought the room here, the others join it here. */
  async function joinRemote(
    who: Requester,
    room: RoomId,
    entry: Entry,
    change: MemberChange,
  ): Promise<void> {
    if (who.guest)
      throw new MatrixError('M_GUEST_ACCESS_FORBIDDEN', 'Rooms of other servers are closed to guests')
    await joins.run(room, async () => {
      if (await isHere(room)) await apply(room, change)
      else await handshakes.join(entry)
    })
  }

  /** Servers that may let a user in: those that were named, who invited them, who made the room. */
  async function candidatesFor(
    row: MembershipRow | undefined,
    room: RoomId,
    named: readonly ServerName[],
  ): Promise<readonly ServerName[]> {
    const inviter = row?.membership === 'invite' ? [serverOfUser(row.sender)] : []
    const maker = serverOfRoom(room)
    return [...new Set([...inviter, ...named, ...(maker === undefined ? [] : [maker])])]
  }

  async function enter(
    who: Requester,
    target: RoomId | RoomAlias,
    via: readonly ServerName[],
  ): Promise<{ room: RoomId; candidates: readonly ServerName[] }> {
    const { room, servers } = isAlias(target)
      ? await needs.resolveAlias(target)
      : { room: target, servers: [] }
    const row = await rowOf(who.user, room)
    return { room, candidates: await candidatesFor(row, room, [...servers, ...via]) }
  }

  /** Ends an invite or a knock in a room of other servers; when none of them answers, here alone. */
  async function leaveRemote(row: MembershipRow, reason: string | undefined): Promise<void> {
    const { room, user } = row
    const seen = await readStrippedState(db, room, user)
    const senders = seen.flatMap(({ sender }) => (isUserId(sender) ? [serverOfUser(sender)] : []))
    const candidates = [serverOfUser(row.sender), ...(await candidatesFor(row, room, senders))]
    const entry = {
      room,
      user,
      membership: 'leave' as const,
      content: filled({ reason }),
      candidates,
    }
    const made = await handshakes.leave(entry).catch(async (error) => {
      if (!(error instanceof MatrixError)) throw error
      return await leaveAlone(row, reason)
    })
    await storeOutOfBand(needs, made.pdu, made.rules)
  }

  async function leaveAlone({ room, user, eventId }: MembershipRow, reason: string | undefined) {
    const rules = await events.rulesOf(room)
    const before = (await events.get([eventId])).get(eventId)?.pdu
    if (rules === undefined || before === undefined) throw notFound('Room')
    const { auth_events, prev_events, event_id, origin, unsigned, ...rest } = before.json
    const draft = {
      ...rest,
      ...(event_id !== undefined && {
        event_id: `${eventId.split(':')[0]}-left:${serverName}`,
        origin: serverName,
      }),
      ...{ auth_events: auth_events ?? [], prev_events: prev_events ?? [] },
      content: { membership: 'leave', ...filled({ reason }) },
      origin_server_ts: needs.clock.now(),
      sender: user,
      depth: before.depth + 1,
    }
    return { rules, pdu: finishPdu(draft, rules, serverName, needs.key) }
  }

  async function leave(user: UserId, room: RoomId, content: JsonObject): Promise<void> {
    const row = await rowOf(user, room)
    if (await isHere(room)) {
      await apply(room, { action: 'leave', sender: user, target: user, content })
    } else if (row === undefined) throw notFound('Room')
    else if (row.membership === 'ban') throw forbidden('You are banned from this room')
    else if (row.membership !== 'leave') {
      const { reason } = content
      await leaveRemote(row, typeof reason === 'string' ? reason : undefined)
    }
  }

  async function inviteRemote(who: Requester, room: RoomId, change: MemberChange): Promise<void> {
    let isKnown = false
    const pdu = await events.prepare(room, async (view: TurnView) => {
      const plan = await planMember(needs, view, change)
      isKnown = plan.kind === 'stay'
      return plan
    })
    if (isKnown) return
    const rules = await events.rulesOf(room)
    if (rules === undefined) throw notFound('Room')
    const server = serverOfUser(change.target)
    await events.commitPrepared(await handshakes.invite(pdu, rules, server, who.user))
  }

  async function renew(room: RoomId, user: UserId, profile: JsonObject): Promise<void> {
    await events.append(room, async (view) => {
      const before = await view.state('m.room.member', user)
      if (before === undefined) throw forbidden('not in the room')
      if (membershipIn(before.pdu.content) !== 'join') return { kind: 'stay', event: before }
      const {
        displayname: _,
        avatar_url: __,
        join_authorised_via_users_server: ___,
        ...kept
      } = before.pdu.content
      const content = { ...kept, ...profile }
      return await planMember(needs, view, { action: 'join', sender: user, target: user, content })
    })
  }

  return {
    async join(who, target, { via, content, reason }) {
      const { room, candidates } = await enter(who, target, via)
      const given = filled({ ...content, reason })
      const isGiven = Object.keys(given).length > 0
      const entry: Entry = {
        ...{ room, user: who.user, membership: 'join', candidates },
        content: { ...(await profile(who.user)), ...given },
      }
      await join(who, room, entry, isGiven)
      return room
    },
    async knock(who, target, { via, reason }) {
      const { room, candidates } = await enter(who, target, via)
      const user = who.user
      const content = { ...(await profile(user)), ...filled({ reason }) }
      if (await isHere(room)) {
        await apply(room, { action: 'knock', sender: user, target: user, content })
        return room
      }
      const entry: Entry = { room, user, membership: 'knock', content, candidates }
      const { pdu, rules, state } = await handshakes.knock(entry)
      await storeOutOfBand(needs, pdu, rules, strippedFrom(state))
      return room
    },
    leave: (who, room, reason) => leave(who.user, room, filled({ reason })),
    async invite(who, room, target, { reason, isDirect }) {
      await requireHere(who, room)
      const content = {
        ...(await profile(target)),
        ...filled({ reason }),
        ...(isDirect === true && { is_direct: true }),
      }
      const change = { action: 'invite' as const, sender: who.user, target, content }
      if (isLocal(target)) await apply(room, change)
      else await inviteRemote(who, room, change)
    },
    kick: async (who, room, user, reason) =>
      void (await act(who, room, 'kick', user, filled({ reason }))),
    ban: async (who, room, user, reason) =>
      void (await act(who, room, 'ban', user, filled({ reason }))),
    unban: async (who, room, user, reason) =>
      void (await act(who, room, 'unban', user, filled({ reason }))),
    async forget({ user }, room) {
      const row = await rowOf(user, room)
      if (row === undefined || row.forgotten) return
      if (row.membership !== 'leave' && row.membership !== 'ban') {
        throw new MatrixError('M_UNKNOWN', `User ${user} in room ${room}`, { status: 400 })
      }
      await writeDone(log, {
        entries: [
          {
            ...{ kind: 'invalidate', room, user, ref: forgottenRef, payload: undefined },
            tables: { forgotten: [{ room_id: room, user_id: user }] },
          },
        ],
      })
    },
    async put(who, room, target, content) {
      const membership = membershipIn(content)
      if (membership === undefined) throw badJson('membership', 'not a membership')
      await requireHere(who, room)
      const fills = membership === 'join' || membership === 'invite'
      const whole = { ...(fills ? await profile(target) : {}), ...content }
      const change: MemberChange = {
        ...{ action: membership, sender: who.user, target, content: whole },
        isGuest: who.guest,
      }
      if (membership !== 'invite' || isLocal(target)) return await apply(room, change)
      await inviteRemote(who, room, change)
      const event = await events.currentEntry(room, 'm.room.member', target)
      if (event === undefined) throw notFound('Event')
      return event
    },
    async propagateProfile(user, given) {
      const { displayname, avatar_url } = given
      const fields = filled({ displayname, avatar_url })
      const rows = [...(await memberships.ofUser(user)).values()]
      const rooms = rows.filter(({ membership }) => membership === 'join')
      // A room that does not take it keeps the old name; the profile itself has changed.
      await inTurns(
        rooms,
        ({ room }) => renew(room, user, fields),
        () => {},
      )
    },
    async leaveAll(user) {
      const rows = [...(await memberships.ofUser(user)).values()]
      const open = rows.filter(({ membership }) => membership !== 'leave' && membership !== 'ban')
      let failure: unknown
      await inTurns(
        open,
        ({ room }) => leave(user, room, {}),
        (error) => {
          if (!(error instanceof MatrixError) || error.status >= 429) failure = error
        },
      )
      if (failure !== undefined) throw failure
    },
  }

  async function inTurns<T>(
    list: readonly T[],
    work: (one: T) => Promise<void>,
    onError: (error: unknown) => void,
  ): Promise<void> {
    for (let at = 0; at < list.length; at += concurrent) {
      await Promise.all(list.slice(at, at + concurrent).map((one) => work(one).catch(onError)))
    }
  }
}

/** The fields that have a value. */
function filled(fields: Readonly<Record<string, Json | undefined>>): JsonObject {
  const content: Record<string, Json> = {}
  for (const [key, value] of Object.entries(fields)) if (value !== undefined) content[key] = value
  return content
}

function isAlias(target: RoomId | RoomAlias): target is RoomAlias {
  return target.startsWith('#')
}

/** Could not this server decide on a restricted join. */
function isUnable(error: unknown): boolean {
  return (
    error instanceof MatrixError &&
    (error.errcode === 'M_UNABLE_TO_AUTHORISE_JOIN' || error.errcode === 'M_UNABLE_TO_GRANT_JOIN')
  )
}
