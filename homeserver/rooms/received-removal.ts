/** An invite that is taken back, or a knock that is refused, of one of our users in a room that this server is not in. */
import type { Pdu } from '../../spec/events/event.ts'
import {
  type EventId,
  isUserId,
  type RoomId,
  type ServerName,
  serverOfRoom,
  serverOfUser,
} from '../../spec/ids.ts'
import { type JsonObject, stringAt } from '../../spec/json.ts'
import { examinePdu, redactPdu } from '../../spec/room/event-format.ts'
import type { RoomVersionRules } from '../../spec/room/version.ts'
import type { Db } from '../database/database.ts'
import type { Events } from '../events/events.ts'
import type { KeyRing } from '../ports.ts'
import type { LogWriter } from '../stream/log.ts'
import { readStrippedState } from './invite-state.ts'
import { storeOutOfBand } from './out-of-band.ts'
import type { MembershipRow, Memberships } from './rooms.ts'
import { isSignedBy } from './signed-by.ts'

interface Needs {
  readonly serverName: ServerName
  readonly keys: KeyRing
  readonly db: Db
  readonly log: Pick<LogWriter, 'write'>
  readonly events: Events
  readonly memberships: Memberships
}

/**
 * Takes a leave or ban of a user who was invited or has knocked; answers its id, or undefined when it is none that can
 * be believed. The room's state is not here to judge it by: only who has invited can take the invite back, and only
 * users of servers that are known to have a part in the room can refuse a knock.
 */
export async function receiveRemoval(
  needs: Needs,
  origin: ServerName,
  room: RoomId,
  json: JsonObject,
): Promise<EventId | undefined> {
  const { events, memberships, serverName, keys } = needs
  const rules = await events.rulesOf(room)
  if (rules === undefined || (await events.serversIn(room)).has(serverName)) return undefined
  const pdu = readPdu(json, rules)
  const user = pdu?.stateKey
  if (!pdu || !isUserId(user) || !isRemoval(pdu, room, origin)) return undefined
  const row = (await memberships.ofUser(user)).get(room)
  if (row === undefined || !(await isBelieved(needs, row, pdu))) return undefined
  if (!(await isSignedBy(keys, origin, pdu, rules))) return undefined
  await storeOutOfBand(needs, pdu, rules)
  return pdu.eventId
}

async function isBelieved({ db }: Needs, row: MembershipRow, pdu: Pdu): Promise<boolean> {
  if (row.membership === 'invite') return row.sender === pdu.sender
  if (row.membership !== 'knock') return false
  const server = serverOfUser(pdu.sender)
  if (serverOfRoom(row.room) === server) return true
  const shown = await readStrippedState(db, row.room, row.user)
  return shown.some(({ sender }) => isUserId(sender) && serverOfUser(sender) === server)
}

function readPdu(json: JsonObject, rules: RoomVersionRules): Pdu | undefined {
  try {
    const { pdu, contentHashMatches } = examinePdu(json, rules)
    return contentHashMatches ? pdu : redactPdu(pdu, rules)
  } catch {
    return undefined
  }
}

function isRemoval(pdu: Pdu, room: RoomId, origin: ServerName): boolean {
  const membership = stringAt(pdu.content, 'membership')
  return (
    pdu.type === 'm.room.member' &&
    pdu.roomId === room &&
    (membership === 'leave' || membership === 'ban') &&
    serverOfUser(pdu.sender) === origin
  )
}
