/** What a server is given with whose user's join we took. {@link https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_joinroomideventid} */
import { stateKeyOf } from '../../spec/events/event.ts'
import { isUserId, type ServerName, serverOfUser, type UserId } from '../../spec/ids.ts'
import type { Events } from '../events/events.ts'
import type { StoredEvent } from '../events/stored-event.ts'
import type { MembershipRow, Memberships } from './rooms.ts'

export interface Joined {
  /** The join as it was accepted, with our signature where the room's rules need it. */
  readonly event: StoredEvent
  /** The state before it. */
  readonly state: readonly StoredEvent[]
  readonly authChain: readonly StoredEvent[]
  /** Servers with a joined user before the join. */
  readonly serversInRoom: readonly ServerName[]
  /** The state lacks member events. */
  readonly membersOmitted: boolean
}

interface Needs {
  readonly events: Pick<Events, 'stateAt' | 'sparseStateAt' | 'authChain' | 'serversIn'>
  readonly memberships: Pick<Memberships, 'ofRoom'>
}

/** Members who give a room without a name one. */
const heroesMax = 5

export async function joinAnswer(
  { events, memberships }: Needs,
  join: StoredEvent,
  omitMembers: boolean,
): Promise<Joined> {
  const { pdu, stateBefore: root = 0 } = join
  const others = [...(await memberships.ofRoom(pdu.roomId)).values()].filter(
    ({ user }) => user !== pdu.sender,
  )
  const state = omitMembers
    ? await withoutMembers(events, join, others)
    : [...(await events.stateAt(root)).values()]
  const chain = await events.authChain([...state.map((event) => event.pdu.eventId), pdu.eventId])
  // What is in the state need not be said again to those who asked for less.
  const said = new Set(omitMembers ? state.map(({ nr }) => nr) : [])
  return {
    event: join,
    state,
    authChain: chain.filter(({ nr }) => !said.has(nr)),
    serversInRoom: await serversBefore(events, join, others),
    membersOmitted: omitMembers,
  }
}

/** The state but for its members; with the members who name the room where nothing else does. */
async function withoutMembers(
  events: Needs['events'],
  { pdu, stateBefore = 0 }: StoredEvent,
  others: readonly MembershipRow[],
): Promise<readonly StoredEvent[]> {
  const state = await events.sparseStateAt(pdu.roomId, stateBefore, [pdu.sender])
  const isNamed = ['m.room.name', 'm.room.canonical_alias'].some((type) =>
    state.has(stateKeyOf(type, '')),
  )
  if (isNamed) return [...state.values()]
  // Large rooms have names: to put their members in order takes long.
  const members = [pdu.sender, ...heroesOf(others)]
  return [...(await events.sparseStateAt(pdu.roomId, stateBefore, members)).values()]
}

/** The first who came; those who are gone when nobody else is there. */
function heroesOf(others: readonly MembershipRow[]): UserId[] {
  const here = others.filter(({ membership }) => membership === 'join' || membership === 'invite')
  const gone = others.filter(({ membership }) => membership === 'leave' || membership === 'ban')
  return (here.length > 0 ? here : gone)
    .sort((a, b) => a.since - b.since)
    .slice(0, heroesMax)
    .map(({ user }) => user)
}

async function serversBefore(
  events: Needs['events'],
  { pdu, replaces }: StoredEvent,
  others: readonly MembershipRow[],
): Promise<readonly ServerName[]> {
  const servers = [...(await events.serversIn(pdu.roomId))]
  const own = isUserId(pdu.sender) ? serverOfUser(pdu.sender) : undefined
  const wasIn =
    replaces?.content['membership'] === 'join' ||
    others.some(({ user, membership }) => membership === 'join' && serverOfUser(user) === own)
  return wasIn ? servers : servers.filter((server) => server !== own)
}
