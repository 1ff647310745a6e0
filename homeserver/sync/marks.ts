import type { UserId } from '../../spec/ids.ts'
import type { Presence } from '../presence/presence.ts'
import type { Typing } from '../receipts/typing.ts'
import type { Memberships } from '../rooms/rooms.ts'
import type { LogRow, Position, Tail } from '../stream/log.ts'
import { membersIn } from './recent.ts'
import { type Watched, type WatchedUsers, wake } from './watched-users.ts'

export interface MarkNeeds {
  readonly tail: Pick<Tail, 'subscribe'>
  readonly memberships: Pick<Memberships, 'ofUser'>
  readonly typing: Pick<Typing, 'onTyping' | 'changedAt'>
  readonly presence: Pick<Presence, 'onChange' | 'stamp'>
}

export interface Marks {
  /** Resolves when whom the rows concern that the tail has passed is found out; nothing when it is. */
  settled(): Promise<unknown> | undefined
}

/** Marks and wakes those watched whom a row of the log, typing or presence may concern; too many rather than too few. */
export function leaveMarks(needs: MarkNeeds, users: WatchedUsers): Marks {
  const { memberships, typing, presence } = needs
  /** Under way: whom presence and device lists concern is asked of the memberships. */
  const searching = new Set<Promise<void>>()

  /** Calls back for those watched who share a room with a user, and for the user. */
  function forSharing(user: UserId, found: (watched: Watched) => void): void {
    const search = findSharing(user)
      .then((sharing) => {
        for (const watched of sharing) found(watched)
      })
      .finally(() => searching.delete(search))
    searching.add(search)
  }

  async function findSharing(user: UserId): Promise<Iterable<Watched>> {
    const own = users.peek(user)
    const sharing = new Set<Watched>(own === undefined ? [] : [own])
    try {
      for (const [room, { membership }] of await memberships.ofUser(user)) {
        if (membership === 'join') for (const one of users.inRoom(room)) sharing.add(one)
      }
      return sharing
    } catch {
      // Whom it concerns could not be read: everybody looks for themselves.
      return users.all()
    }
  }

  needs.tail.subscribe('waiting syncs', (rows) => {
    for (const row of rows) {
      if (row.kind !== 'deviceList') mark(users, row)
      else if (row.user) forSharing(row.user, (watched) => touch(watched, row.position))
    }
  })
  typing.onTyping(({ room }) => {
    const stamp = typing.changedAt(room)
    for (const watched of users.inRoom(room)) {
      if (watched.typing >= stamp) continue
      watched.typing = stamp
      wake(watched)
    }
  })
  presence.onChange(({ user }) => {
    const { stamp } = presence
    forSharing(user, (watched) => {
      watched.presence = Math.max(watched.presence, stamp)
      wake(watched)
    })
  })
  return { settled: () => (searching.size === 0 ? undefined : Promise.all(searching)) }
}

function mark(users: WatchedUsers, row: LogRow): void {
  const { kind, room, user, ref, position } = row
  const own = users.peek(user)
  switch (kind) {
    case 'accountData':
    case 'outOfBandMembership':
    case 'threadSubscription':
      if (own !== undefined) touch(own, position)
      break
    case 'toDevice':
      own?.devices.set(ref, position)
      if (own !== undefined) wake(own, ref)
      break
    case 'receipt':
      if (!ref.includes('"m.read.private"')) touchRoom(users, row)
      else if (own !== undefined) touch(own, position)
      break
    case 'event':
      // Whoever left stays among the room's until they drop out: they are woken once too often.
      if (own !== undefined && room !== undefined) users.enter(own, room)
      touchRoom(users, row)
      break
    case 'state':
      for (const member of membersIn(ref)) {
        const watched = users.peek(member)
        if (watched !== undefined && room !== undefined) users.enter(watched, room)
      }
      touchRoom(users, row)
      break
  }
}

function touchRoom(users: WatchedUsers, { room, position }: LogRow): void {
  if (room === undefined) return
  for (const watched of users.inRoom(room)) touch(watched, position)
}

function touch(watched: Watched, position: Position): void {
  if (watched.touched < position) watched.touched = position
  wake(watched)
}
