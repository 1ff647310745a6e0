/**
 * When one of our users comes into the room that replaces another, what they set for the old one holds for the new one.
 * {@link https://spec.matrix.org/v1.19/client-server-api/#room-upgrades}
 */
import {
  isRoomId,
  isUserId,
  type RoomId,
  type ServerName,
  serverOfUser,
  type UserId,
} from '../../spec/ids.ts'
import { objectAt } from '../../spec/json.ts'
import type { EventPayload, Events } from '../events/events.ts'
import type { Logger } from '../platform/log.ts'
import type { Tail } from '../stream/log.ts'
import { membershipIn } from './membership-row.ts'
import { isEventPayload } from './memberships.ts'
import type { Memberships } from './rooms.ts'

interface Needs {
  readonly serverName: ServerName
  readonly tail: Pick<Tail, 'subscribe'>
  readonly events: Pick<Events, 'currentEntry'>
  readonly memberships: Pick<Memberships, 'localJoined'>
  /** Is this the process that looks after the room. */
  readonly owns: (room: RoomId) => boolean
  /** Copies what a user has set for one room to another; may be done again. */
  readonly carrySettings: (user: UserId, from: RoomId, to: RoomId) => Promise<void>
  readonly logger?: Logger
}

/** Members of the new room who are looked after when the tombstone comes later than they. */
const membersMax = 1_000

/** Watches rooms; before the tail starts. */
export function followUpgrades(needs: Needs): void {
  const { serverName, tail, owns, logger } = needs

  tail.subscribe('upgraded rooms', (rows) => {
    for (const { kind, payload } of rows) {
      if (kind !== 'event' || !isEventPayload(payload) || !payload.changesState) continue
      const work = workOf(payload)
      // What is missed here (the process ends just now) costs a user their tag, and no message.
      void work?.catch((error: unknown) =>
        logger?.warn({ room: payload.event.pdu.roomId, error }, 'settings were not carried over'),
      )
    }
  })

  function workOf({ event }: EventPayload): Promise<void> | undefined {
    const { type, stateKey, roomId, content } = event.pdu
    if (type === 'm.room.tombstone' && stateKey === '') {
      const next = content['replacement_room']
      return isRoomId(next) && owns(roomId) ? carryAll(needs, roomId, next) : undefined
    }
    if (type !== 'm.room.member' || !isUserId(stateKey)) return undefined
    if (serverOfUser(stateKey) !== serverName || membershipIn(content) !== 'join') return undefined
    if (event.replaces?.content['membership'] === 'join' || !owns(roomId)) return undefined
    return carryFor(needs, stateKey, roomId)
  }
}

/** The room was replaced: those who are in the new one already. */
async function carryAll(needs: Needs, from: RoomId, to: RoomId): Promise<void> {
  if ((await predecessorOf(needs, to)) !== from) return
  for (const user of (await needs.memberships.localJoined(to)).slice(0, membersMax)) {
    await needs.carrySettings(user, from, to)
  }
}

async function carryFor(needs: Needs, user: UserId, to: RoomId): Promise<void> {
  const from = await predecessorOf(needs, to)
  if (from === undefined) return
  const tombstone = await needs.events.currentEntry(from, 'm.room.tombstone', '')
  // Anybody can call a room the successor of another; only the other can agree.
  if (tombstone?.pdu.content['replacement_room'] !== to) return
  await needs.carrySettings(user, from, to)
}

async function predecessorOf({ events }: Needs, room: RoomId): Promise<RoomId | undefined> {
  const create = await events.currentEntry(room, 'm.room.create', '')
  const from = create && objectAt(create.pdu.content, 'predecessor')?.['room_id']
  return isRoomId(from) ? from : undefined
}
