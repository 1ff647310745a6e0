/** Who may see an event: the one place where history visibility is decided, for users and for servers. */
import { type Pdu, type StateKey, stateKeyOf } from '../../spec/events/event.ts'
import { isUserId, type ServerName, serverOfUser, type UserId } from '../../spec/ids.ts'
import { stringAt } from '../../spec/json.ts'
import { maySee, serverMaySee } from '../../spec/room/visibility.ts'
import type { Snapshots } from '../state/state.ts'
import type { Events, Seen } from './events.ts'
import type { RoomViews } from './room-views.ts'
import type { EventStore } from './store.ts'
import type { StateRoot, StoredEvent } from './stored-event.ts'

interface Needs {
  readonly store: EventStore
  readonly snapshots: Snapshots
  readonly views: RoomViews
  /** Whom a user ignores; nobody does when absent. */
  readonly ignoredUsers?: (user: UserId) => Promise<ReadonlySet<UserId>>
}

const visibilityType = 'm.room.history_visibility'
const memberType = 'm.room.member'
/** Joins the branches of a room that have become many; it says nothing to anybody. */
export const dummyType = 'org.matrix.dummy_event'
const visibilityKey = stateKeyOf(visibilityType, '')
const memberPrefix = stateKeyOf(memberType, '')

export function createVisibility({
  store,
  snapshots,
  views,
  ignoredUsers,
}: Needs): Pick<Events, 'visibleTo' | 'serverMaySee'> {
  async function entryAt(root: StateRoot | undefined, key: StateKey): Promise<Pdu | undefined> {
    if (root === undefined) return undefined
    const nr = await snapshots.lookup(root, key)
    return nr === undefined ? undefined : (await store.byNumber([nr])).get(nr)?.pdu
  }

  async function currentMember(event: StoredEvent, user: UserId): Promise<StoredEvent | undefined> {
    const nr = (await views.get(event.pdu.roomId))?.entries.get(stateKeyOf(memberType, user))
    return nr === undefined
      ? undefined
      : (store.peekNumber(nr) ?? (await store.byNumber([nr])).get(nr))
  }

  /** Many events share a snapshot: what was read of one is not read again. */
  function reader() {
    const read = new Map<string, Promise<string | undefined>>()
    return (
      root: StateRoot | undefined,
      key: StateKey,
      field: string,
    ): Promise<string | undefined> => {
      const name = `${root} ${key}`
      const known = read.get(name)
      if (known !== undefined) return known
      const value = entryAt(root, key).then((pdu) => pdu && stringAt(pdu.content, field))
      read.set(name, value)
      return value
    }
  }

  return {
    async visibleTo(user, events) {
      const seen: Seen[] = []
      const read = reader()
      const memberKey = stateKeyOf(memberType, user)
      const currents = new Map<string, StoredEvent | undefined>()
      const ignored = await ignoredUsers?.(user)
      for (const event of events) {
        const { pdu } = event
        if (pdu.type === dummyType) continue
        // Of those whom one ignores only state is shown. {@link https://spec.matrix.org/v1.19/client-server-api/#ignoring-users}
        if (pdu.stateKey === undefined && ignored?.has(pdu.sender)) continue
        if (!currents.has(pdu.roomId)) currents.set(pdu.roomId, await currentMember(event, user))
        const current = currents.get(pdu.roomId)
        const now = current && membershipOf(current.pdu)
        if (now === 'join' && isSince(current, event)) {
          seen.push({ event, membership: 'join' })
          continue
        }
        const membershipAtEvent = await read(event.stateBefore, memberKey, 'membership')
        const isOwn = pdu.type === memberType && pdu.stateKey === user
        const isVisibility = pdu.type === visibilityType && pdu.stateKey === ''
        const isVisible = maySee({
          historyVisibility: await read(event.stateBefore, visibilityKey, 'history_visibility'),
          ...(isVisibility && {
            historyVisibilityAfter: stringAt(pdu.content, 'history_visibility'),
          }),
          membershipAtEvent,
          ...(isOwn && { membershipAfterEvent: membershipOf(pdu) }),
          currentMembership: now,
          joinedSince: now === 'join' || hasBeenIn(current, event),
        })
        const after = isOwn ? membershipOf(pdu) : undefined
        if (isVisible) seen.push({ event, membership: after ?? membershipAtEvent ?? 'leave' })
      }
      return seen
    },
    async serverMaySee(server, event) {
      const { pdu, stateBefore } = event
      const visibility = await entryAt(stateBefore, visibilityKey)
      const historyVisibility = visibility && stringAt(visibility.content, 'history_visibility')
      const isVisibility = pdu.type === visibilityType && pdu.stateKey === ''
      const memberships =
        historyVisibility === 'joined' || historyVisibility === 'invited'
          ? await membershipsOf(server, event)
          : []
      return serverMaySee({
        historyVisibility,
        ...(isVisibility && {
          historyVisibilityAfter: stringAt(pdu.content, 'history_visibility'),
        }),
        memberships,
      })
    },
  }

  /** Memberships of a server's users before an event, and after it when it is one of theirs. */
  async function membershipsOf(
    server: ServerName,
    { pdu, stateBefore }: StoredEvent,
  ): Promise<string[]> {
    const found: string[] = []
    const add = (member: Pdu | undefined) => {
      if (member?.type !== memberType || !isUserId(member.stateKey)) return
      if (serverOfUser(member.stateKey) === server) found.push(membershipOf(member) ?? '')
    }
    add(pdu)
    // Who was a member then has a member event now, of whatever kind.
    for (const key of (await views.get(pdu.roomId))?.entries.keys() ?? []) {
      if (key.startsWith(memberPrefix) && key.endsWith(`:${server}`)) {
        add(await entryAt(stateBefore, key))
      }
    }
    return found
  }
}

/** A member who has been in the room, without a break that we know of, since before the event. */
function isSince(member: StoredEvent | undefined, event: StoredEvent): boolean {
  const since = member?.position
  return since !== undefined && since > 0 && event.position !== undefined && event.position >= since
}

/** Somebody who left was in the room after the event when they left later than it was sent. */
function hasBeenIn(current: StoredEvent | undefined, event: StoredEvent): boolean {
  if (current === undefined || current.replaces === undefined) return false
  const wasIn = current.replaces.content['membership'] === 'join'
  return wasIn && event.pdu.depth < current.pdu.depth
}

function membershipOf(pdu: Pdu): string | undefined {
  return stringAt(pdu.content, 'membership')
}
