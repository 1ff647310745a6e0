/** Joining and knocking: here, or by the servers of a room that is elsewhere. */
import { MatrixError } from '../../spec/errors.ts'
import type { RoomAlias, RoomId, ServerName } from '../../spec/ids.ts'
import { createPerKeyQueue } from '../platform/per-key-queue.ts'
import { type ChangeNeeds, type Core, candidatesFor, filled } from './change-core.ts'
import { guestMark } from './guest-eviction.ts'
import { type Candidates, type Entry, type Handshakes, isUnable } from './handshakes.ts'
import type { MemberChange } from './member-plan.ts'
import { storeOutOfBand } from './out-of-band.ts'
import type { Requester, Rooms } from './rooms.ts'
import { strippedFrom } from './shown-state.ts'

interface Needs extends ChangeNeeds {
  readonly core: Core
  readonly handshakes: Handshakes
  readonly resolveAlias: Rooms['resolveAlias']
}

/** Joins of one remote room that may wait for each other. */
const joinsWaitingMax = 1_000

export function createEntering(needs: Needs): Pick<Rooms, 'join' | 'knock'> {
  const { serverName, events, handshakes, core } = needs
  const joins = createPerKeyQueue({ waitingMax: joinsWaitingMax })

  async function find(
    who: Requester,
    target: RoomId | RoomAlias,
    via: readonly ServerName[],
  ): Promise<Candidates & { readonly room: RoomId; readonly isInvited: boolean }> {
    const { room, servers } = isAlias(target)
      ? await needs.resolveAlias(target)
      : { room: target, servers: [] }
    const row = await core.rowOf(who.user, room)
    const isInvited = row?.membership === 'invite'
    return { room, isInvited, ...candidatesFor(row, room, [...servers, ...via]) }
  }

  async function joinHere(change: MemberChange, entry: Entry): Promise<void> {
    const { room, user } = entry
    // Who is banned is not known while members are missing.
    const isJoined = (await core.rowOf(user, room))?.membership === 'join'
    if (!isJoined && (await events.partial.isPartial(room))) {
      await joinByOthers(entry, new MatrixError('M_UNKNOWN', 'the room is not complete yet'))
      return
    }
    try {
      await core.apply(room, change)
    } catch (error) {
      if (!isUnable(error)) throw error
      await joinByOthers(entry, error)
    }
  }

  /** Another server in the room may be able to let the user in. */
  async function joinByOthers(entry: Entry, reason: unknown): Promise<void> {
    const others = [...(await events.serversIn(entry.room))].filter(
      (server) => server !== serverName,
    )
    if (others.length === 0) throw reason
    await handshakes.join({ ...entry, candidates: [...entry.candidates, ...others] })
  }

  /** One at a time for each room: when the first has brought the room here, the others join it here. */
  async function joinElsewhere(change: MemberChange, entry: Entry): Promise<void> {
    if (change.isGuest) {
      throw new MatrixError(
        'M_GUEST_ACCESS_FORBIDDEN',
        'Rooms of other servers are closed to guests',
      )
    }
    await joins.run(entry.room, async () => {
      if (await core.isHere(entry.room)) await joinHere(change, entry)
      else await handshakes.join(entry)
    })
  }

  return {
    async join(who, target, { via, content: asked, reason }) {
      const { user, guest } = who
      const place = await find(who, target, via)
      const { room } = place
      const given = filled({ ...asked, reason })
      const mark = guest ? guestMark : {}
      const content = { ...(await core.profile(user)), ...given, ...mark }
      const change: MemberChange = {
        ...{ action: 'join', sender: user, target: user, content, isGuest: guest },
        isIdempotent: Object.keys(given).length === 0,
      }
      const entry: Entry = { ...place, user, membership: 'join', content }
      if (await core.isHere(room)) await joinHere(change, entry)
      else await joinElsewhere(change, entry)
      return room
    },
    async knock(who, target, { via, reason }) {
      const { user } = who
      const place = await find(who, target, via)
      const { room } = place
      const content = { ...(await core.profile(user)), ...filled({ reason }) }
      if (await core.isHere(room)) {
        await core.apply(room, { action: 'knock', sender: user, target: user, content })
        return room
      }
      const entry: Entry = { ...place, user, membership: 'knock', content }
      const { pdu, rules, state } = await handshakes.knock(entry)
      await storeOutOfBand(needs, pdu, rules, strippedFrom(state))
      return room
    },
  }
}

function isAlias(target: RoomId | RoomAlias): target is RoomAlias {
  return target.startsWith('#')
}
