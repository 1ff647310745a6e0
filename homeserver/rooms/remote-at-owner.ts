/** The handshakes of other servers' users in a server of several processes: done by the process that owns the room. */
import { z } from 'zod'
import { MatrixError } from '../../spec/errors.ts'
import {
  type EventId,
  eventIdSchema,
  roomIdSchema,
  serverNameSchema,
  userIdSchema,
} from '../../spec/ids.ts'
import { isObject, type JsonObject } from '../../spec/json.ts'
import type { Events } from '../events/events.ts'
import type { StoredEvent } from '../events/stored-event.ts'
import { type OwnedMethods, ownedMethodLimits } from '../stream/owned-methods.ts'
import type { RemoteMembership } from './remote-membership.ts'

const object = z.custom<JsonObject>(isObject)
const eventIds = z.array(eventIdSchema)
const template = z.object({ room_version: z.string(), event: object })
const place = { origin: serverNameSchema, room: roomIdSchema }
const action = z.enum(['makeJoin', 'makeLeave', 'makeKnock'])
const made = z.object({
  ...place,
  action,
  user: userIdSchema,
  versions: z.array(z.string()).readonly(),
})
const totalMs = ownedMethodLimits.remoteMs

/** The same handshakes, carried to the owner of the room. An invite is of no room that is here and stays. */
export function handshakesAtOwner(
  membership: RemoteMembership,
  methods: OwnedMethods,
  events: Pick<Events, 'get'>,
): RemoteMembership {
  const make = methods.add({
    name: 'rooms/make-membership',
    args: made,
    result: template,
    run: ({ action: make, origin, room, user, versions }) =>
      membership[make](origin, room, user, versions),
  })
  const sendJoin = methods.add({
    name: 'rooms/send-join',
    args: z.object({ ...place, event: object, omitMembers: z.boolean() }),
    result: z.object({
      event: eventIdSchema,
      state: eventIds,
      authChain: eventIds,
      serversInRoom: z.array(serverNameSchema),
      membersOmitted: z.boolean(),
    }),
    async run({ origin, room, event, omitMembers }) {
      const joined = await membership.sendJoin(origin, room, event, omitMembers)
      return {
        event: joined.event.pdu.eventId,
        state: idsOf(joined.state),
        authChain: idsOf(joined.authChain),
        serversInRoom: [...joined.serversInRoom],
        membersOmitted: joined.membersOmitted,
      }
    },
    totalMs,
  })
  const sendLeave = methods.add({
    name: 'rooms/send-leave',
    args: z.object({ ...place, event: object }),
    result: z.null(),
    async run({ origin, room, event }) {
      await membership.sendLeave(origin, room, event)
      return null
    },
    totalMs,
  })
  const sendKnock = methods.add({
    name: 'rooms/send-knock',
    args: z.object({ ...place, event: object }),
    result: z.array(object).readonly(),
    run: ({ origin, room, event }) => membership.sendKnock(origin, room, event),
    totalMs,
  })

  return {
    ...membership,
    makeJoin: (origin, room, user, versions) =>
      make(room, { action: 'makeJoin', origin, room, user, versions }),
    makeLeave: (origin, room, user) =>
      make(room, { action: 'makeLeave', origin, room, user, versions: [] }),
    makeKnock: (origin, room, user, versions) =>
      make(room, { action: 'makeKnock', origin, room, user, versions }),
    async sendJoin(origin, room, event, omitMembers = false) {
      if (methods.isOurs(room)) return await membership.sendJoin(origin, room, event, omitMembers)
      const joined = await sendJoin(room, { origin, room, event, omitMembers })
      const all = await events.get([joined.event, ...joined.state, ...joined.authChain])
      const load = (id: EventId): StoredEvent => {
        const stored = all.get(id)
        if (stored === undefined) throw new MatrixError('M_UNKNOWN', 'an event of the room is gone')
        return stored
      }
      return {
        event: load(joined.event),
        state: joined.state.map(load),
        authChain: joined.authChain.map(load),
        serversInRoom: joined.serversInRoom,
        membersOmitted: joined.membersOmitted,
      }
    },
    async sendLeave(origin, room, event) {
      await sendLeave(room, { origin, room, event })
    },
    sendKnock: (origin, room, event) => sendKnock(room, { origin, room, event }),
  }
}

function idsOf(events: readonly StoredEvent[]): EventId[] {
  return events.map(({ pdu }) => pdu.eventId)
}
