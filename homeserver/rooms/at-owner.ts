/**
 * Rooms of a server of several processes: what writes to a room is done by the process that owns it, whichever was
 * asked. Ownership is advice and fences decide, so this is only about speed: a room's memory stays in one place.
 */
import { z } from 'zod'
import { lenientCanonicalJson } from '../../spec/canonical-json.ts'
import { MatrixError } from '../../spec/errors.ts'
import {
  deviceIdSchema,
  type EventId,
  eventIdSchema,
  isRoomId,
  isUserId,
  type RoomAlias,
  type RoomId,
  roomIdSchema,
  type ServerName,
  serverNameSchema,
  type UserId,
  userIdSchema,
} from '../../spec/ids.ts'
import { isObject, type JsonObject, stringAt } from '../../spec/json.ts'
import type { Events } from '../events/events.ts'
import { type OwnedMethods, ownedMethodLimits } from '../stream/owned-methods.ts'
import { createAllRooms } from './all-rooms.ts'
import type { EngineRooms } from './create-rooms.ts'
import type { Memberships, Requester, Rooms } from './rooms.ts'

const requester = z.object({
  user: userIdSchema,
  device: deviceIdSchema.exactOptional(),
  guest: z.boolean(),
  admin: z.boolean(),
  appservice: z.string().exactOptional(),
})
const txn = z
  .object({ device: deviceIdSchema, endpoint: z.string(), txnId: z.string() })
  .exactOptional()
const content = z.custom<JsonObject>(isObject)
const reason = z.string().exactOptional()
const via = z.array(serverNameSchema).readonly()
const place = { who: requester, room: roomIdSchema }
const draft = z.object({
  room: roomIdSchema,
  type: z.string(),
  stateKey: z.string().exactOptional(),
  content,
  redacts: eventIdSchema.exactOptional(),
  txn,
  originServerTs: z.number().exactOptional(),
})
const joinOptions = z.object({ via, content: content.exactOptional(), reason })
const knockOptions = z.object({ via, reason })
const inviteOptions = z.object({ reason, isDirect: z.boolean().exactOptional() })
const upgradeRequest = z.object({
  version: z.string(),
  additionalCreators: z.array(userIdSchema).readonly().exactOptional(),
})
const change = z.enum(['kick', 'ban', 'unban'])
const totalMs = ownedMethodLimits.remoteMs

interface Needs {
  readonly events: Pick<Events, 'currentEntry'>
  readonly memberships: Pick<Memberships, 'ofUser'>
}

/** The same rooms, with everything that writes to one room carried to its owner. */
export function atOwner(
  rooms: EngineRooms,
  methods: OwnedMethods,
  { events, memberships }: Needs,
): EngineRooms {
  const parts = { rooms, methods, repeat: repeating(events) }
  const entering = enteringAtOwner(parts)
  const renew = renewingAtOwner(parts)
  const leave = (room: RoomId, user: UserId) =>
    entering.leave({ user, guest: false, admin: false }, room)
  return {
    ...rooms,
    ...sendingAtOwner(parts),
    ...entering,
    ...moderatingAtOwner(parts),
    ...upgradingAtOwner(parts, events),
    renew,
    ...createAllRooms({ memberships, renew, leave }),
  }
}

interface Parts {
  readonly rooms: EngineRooms
  readonly methods: OwnedMethods
  readonly repeat: Repeat
}

function sendingAtOwner({ rooms, methods, repeat }: Parts): Pick<Rooms, 'send' | 'redact'> {
  const send = methods.add({
    name: 'rooms/send',
    args: z.object({ who: requester, draft }),
    result: eventIdSchema,
    run({ who, draft: wanted }, repeated) {
      const { room, type, stateKey: target } = wanted
      const membership = stringAt(wanted.content, 'membership')
      const work = () => rooms.send(who, wanted)
      // Of other events a repetition has the first one's key, or says the same again.
      return type === 'm.room.member' && isUserId(target) && membership !== undefined
        ? repeat(repeated, { who, room, target, membership }, work)
        : work()
    },
  })
  const redact = methods.add({
    name: 'rooms/redact',
    args: z.object({ ...place, redacts: eventIdSchema, reason, txn }),
    result: eventIdSchema,
    run: (call) => rooms.redact(call.who, call.room, call.redacts, call.reason, call.txn),
  })
  return {
    async send(who, wanted) {
      // JSON between processes would make null of infinity, which has to be refused.
      if (!methods.isOurs(wanted.room)) lenientCanonicalJson(wanted.content)
      return await send(wanted.room, { who, draft: wanted })
    },
    redact: (who, room, redacts, why, key) =>
      redact(room, { who, room, redacts, ...because(why), ...(key !== undefined && { txn: key }) }),
  }
}

function enteringAtOwner(parts: Parts): Pick<Rooms, 'join' | 'knock' | 'leave'> {
  const { rooms, methods, repeat } = parts
  const join = methods.add({
    name: 'rooms/join',
    args: z.object({ ...place, options: joinOptions }),
    result: roomIdSchema,
    run: ({ who, room, options }) => rooms.join(who, room, options),
    totalMs,
  })
  const knock = methods.add({
    name: 'rooms/knock',
    args: z.object({ ...place, options: knockOptions }),
    result: roomIdSchema,
    async run({ who, room, options }, repeated) {
      const wanted = { who, room, target: who.user, membership: 'knock' }
      await repeat(repeated, wanted, () => rooms.knock(who, room, options))
      return room
    },
    totalMs,
  })
  const leave = methods.add({
    name: 'rooms/leave',
    args: z.object({ ...place, reason }),
    result: z.null(),
    async run({ who, room, reason: why }, repeated) {
      const wanted = { who, room, target: who.user, membership: 'leave' }
      await repeat(repeated, wanted, () => rooms.leave(who, room, why))
      return null
    },
    totalMs,
  })

  /** The room that is meant, with servers that may know it: who owns it is seen by its id. */
  async function meant<O extends { readonly via: readonly ServerName[] }>(
    target: RoomId | RoomAlias,
    options: O,
  ): Promise<{ room: RoomId; options: O }> {
    if (isRoomId(target)) return { room: target, options }
    const { room, servers } = await rooms.resolveAlias(target)
    return { room, options: { ...options, via: [...servers, ...options.via] } }
  }

  return {
    async join(who, target, given) {
      const { room, options } = await meant(target, given)
      return await join(room, { who, room, options })
    },
    async knock(who, target, given) {
      const { room, options } = await meant(target, given)
      return await knock(room, { who, room, options })
    },
    async leave(who, room, why) {
      await leave(room, { who, room, ...because(why) })
    },
  }
}

function moderatingAtOwner(parts: Parts): Pick<Rooms, 'invite' | 'kick' | 'ban' | 'unban'> {
  const { rooms, methods, repeat } = parts
  const invite = methods.add({
    name: 'rooms/invite',
    args: z.object({ ...place, user: userIdSchema, options: inviteOptions }),
    result: z.null(),
    async run({ who, room, user, options }, repeated) {
      const wanted = { who, room, target: user, membership: 'invite' }
      await repeat(repeated, wanted, () => rooms.invite(who, room, user, options))
      return null
    },
    totalMs,
  })
  const moderate = methods.add({
    name: 'rooms/moderate',
    args: z.object({ ...place, change, user: userIdSchema, reason }),
    result: z.null(),
    async run({ change: action, who, room, user, reason: why }, repeated) {
      const wanted = { who, room, target: user, membership: action === 'ban' ? 'ban' : 'leave' }
      await repeat(repeated, wanted, () => rooms[action](who, room, user, why))
      return null
    },
  })
  const moderating =
    (action: z.output<typeof change>): Rooms['kick'] =>
    async (who, room, user, why) => {
      await moderate(room, { change: action, who, room, user, ...because(why) })
    }
  return {
    async invite(who, room, user, options) {
      await invite(room, { who, room, user, options })
    },
    kick: moderating('kick'),
    ban: moderating('ban'),
    unban: moderating('unban'),
  }
}

function upgradingAtOwner(
  { rooms, methods }: Parts,
  events: Pick<Events, 'currentEntry'>,
): Pick<Rooms, 'upgrade'> {
  const upgrade = methods.add({
    name: 'rooms/upgrade',
    args: z.object({ ...place, request: upgradeRequest }),
    result: roomIdSchema,
    async run({ who, room, request }, repeated) {
      const tombstone = repeated
        ? (await events.currentEntry(room, 'm.room.tombstone', ''))?.pdu
        : undefined
      const next = tombstone?.content['replacement_room']
      // The first owner has done it: the answer was lost.
      if (tombstone?.sender === who.user && isRoomId(next)) return next
      return await rooms.upgrade(who, room, request)
    },
    totalMs,
  })
  return { upgrade: (who, room, request) => upgrade(room, { who, room, request }) }
}

function renewingAtOwner({ rooms, methods }: Parts): EngineRooms['renew'] {
  const renew = methods.add({
    name: 'rooms/renew',
    args: z.object({ room: roomIdSchema, user: userIdSchema, profile: content }),
    result: z.null(),
    async run({ room, user, profile }) {
      await rooms.renew(room, user, profile)
      return null
    },
  })
  return async (room, user, profile) => {
    await renew(room, { room, user, profile })
  }
}

function because(why: string | undefined): { reason?: string } {
  return why === undefined ? {} : { reason: why }
}

interface Wanted {
  readonly who: Requester
  readonly room: RoomId
  readonly target: UserId
  readonly membership: string
}

/** Does a change of a membership, which an owner that died may have done already. */
type Repeat = <T>(repeated: boolean, wanted: Wanted, work: () => Promise<T>) => Promise<T | EventId>

/** The second time it would be refused ("is not in the room"), although it is what the caller asked for. */
function repeating(events: Pick<Events, 'currentEntry'>): Repeat {
  return async (repeated, { who, room, target, membership }, work) => {
    try {
      return await work()
    } catch (error) {
      if (!repeated || !(error instanceof MatrixError)) throw error
      const pdu = (await events.currentEntry(room, 'm.room.member', target))?.pdu
      if (pdu?.sender !== who.user || pdu.content['membership'] !== membership) throw error
      return pdu.eventId
    }
  }
}
