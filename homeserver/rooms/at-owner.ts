/**
 * Rooms of a server of several processes: what writes to a room is done by the process that owns it, whichever was
 * asked. Ownership is advice and fences decide, so this is only about speed: a room's memory stays in one place.
 */
import { z } from 'zod'
import { MatrixError } from '../../spec/errors.ts'
import {
  deviceIdSchema,
  eventIdSchema,
  isRoomId,
  isUserId,
  type RoomId,
  roomIdSchema,
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
  const done = doneBefore(events)

  const send = methods.add({
    name: 'rooms/send',
    args: z.object({ who: requester, draft }),
    result: eventIdSchema,
    run: ({ who, draft: wanted }, repeated) => {
      const target = repeated && wanted.type === 'm.room.member' ? wanted.stateKey : undefined
      const membership = stringAt(wanted.content, 'membership')
      const work = () => rooms.send(who, wanted)
      return isUserId(target) && membership !== undefined
        ? done({ who, room: wanted.room, target, membership }, work)
        : work()
    },
  })
  const redact = methods.add({
    name: 'rooms/redact',
    args: z.object({ ...place, redacts: eventIdSchema, reason, txn }),
    result: eventIdSchema,
    run: (call) => rooms.redact(call.who, call.room, call.redacts, call.reason, call.txn),
  })
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
    run: async ({ who, room, options }, repeated) => {
      const work = () => rooms.knock(who, room, options)
      if (!repeated) return await work()
      await done({ who, room, target: who.user, membership: 'knock' }, work)
      return room
    },
    totalMs,
  })
  const leave = methods.add({
    name: 'rooms/leave',
    args: z.object({ ...place, reason }),
    result: z.null(),
    run: async ({ who, room, reason: why }, repeated) => {
      const work = () => rooms.leave(who, room, why)
      if (repeated) await done({ who, room, target: who.user, membership: 'leave' }, work)
      else await work()
      return null
    },
    totalMs,
  })
  const invite = methods.add({
    name: 'rooms/invite',
    args: z.object({ ...place, user: userIdSchema, options: inviteOptions }),
    result: z.null(),
    run: async ({ who, room, user, options }, repeated) => {
      const work = () => rooms.invite(who, room, user, options)
      if (repeated) await done({ who, room, target: user, membership: 'invite' }, work)
      else await work()
      return null
    },
    totalMs,
  })
  const moderate = methods.add({
    name: 'rooms/moderate',
    args: z.object({ ...place, change, user: userIdSchema, reason }),
    result: z.null(),
    run: async ({ change: action, who, room, user, reason: why }, repeated) => {
      const work = () => rooms[action](who, room, user, why)
      const membership = action === 'ban' ? 'ban' : 'leave'
      if (repeated) await done({ who, room, target: user, membership }, work)
      else await work()
      return null
    },
  })

  const renew = methods.add({
    name: 'rooms/renew',
    args: z.object({ room: roomIdSchema, user: userIdSchema, profile: content }),
    result: z.null(),
    run: async ({ room, user, profile }) => {
      await rooms.renew(room, user, profile)
      return null
    },
  })

  const moderating =
    (action: z.output<typeof change>): Rooms['kick'] =>
    async (who, room, user, why) => {
      await moderate(room, { change: action, who, room, user, ...because(why) })
    }

  const allRooms = createAllRooms({
    memberships,
    renew: async (room, user, profile) => void (await renew(room, { room, user, profile })),
    leave: async (room, user) => {
      await leave(room, { room, who: { user, guest: false, admin: false } })
    },
  })

  return {
    ...rooms,
    ...allRooms,
    renew: async (room, user, profile) => void (await renew(room, { room, user, profile })),
    send: (who, wanted) => send(wanted.room, { who, draft: wanted }),
    redact: (who, room, redacts, why, key) =>
      redact(room, { who, room, redacts, ...because(why), ...(key !== undefined && { txn: key }) }),
    async join(who, target, options) {
      if (isRoomId(target)) return await join(target, { who, room: target, options })
      const { room, servers } = await rooms.resolveAlias(target)
      return await join(room, {
        who,
        room,
        options: { ...options, via: [...servers, ...options.via] },
      })
    },
    async knock(who, target, options) {
      if (isRoomId(target)) return await knock(target, { who, room: target, options })
      const { room, servers } = await rooms.resolveAlias(target)
      return await knock(room, {
        who,
        room,
        options: { ...options, via: [...servers, ...options.via] },
      })
    },
    async leave(who, room, why) {
      await leave(room, { who, room, ...because(why) })
    },
    async invite(who, room, user, options) {
      await invite(room, { who, room, user, options })
    },
    kick: moderating('kick'),
    ban: moderating('ban'),
    unban: moderating('unban'),
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

/**
 * A change of a membership that an owner may have made before it died: it is refused the second time ("is not in the
 * room"), although it is what the caller asked for.
 */
function doneBefore(events: Pick<Events, 'currentEntry'>) {
  return async <T>({ who, room, target, membership }: Wanted, work: () => Promise<T>) => {
    try {
      return await work()
    } catch (error) {
      if (!(error instanceof MatrixError)) throw error
      const pdu = (await events.currentEntry(room, 'm.room.member', target))?.pdu
      if (pdu?.sender !== who.user || pdu.content['membership'] !== membership) throw error
      return pdu.eventId
    }
  }
}
