import { LRUCache } from 'lru-cache'
import type { EventId, RoomId } from '../../spec/ids.ts'
import { atMost } from '../platform/cache.ts'
import type { Position } from '../stream/log.ts'
import type { Scope } from './request.ts'

/**
 * Member events that devices have been sent. One counts as received when the device comes back with a token that is
 * not older than the answer it was in.
 * {@link https://spec.matrix.org/v1.19/client-server-api/#lazy-loading-room-members}
 */
export interface SentMembers {
  isRedundant(scope: Scope, room: RoomId, member: string, event: EventId): boolean
  sent(scope: Scope, room: RoomId, member: string, event: EventId): void
}

interface Sent {
  readonly event: EventId
  readonly at: Position
}

/** Devices remembered, and member events of each. */
const devicesMax = 10_000
const membersMax = 2_000

export function createSentMembers(): SentMembers {
  const devices = new LRUCache<string, LRUCache<string, Sent>>({ ...atMost(devicesMax) })

  function ofDevice({ user, device }: Scope): LRUCache<string, Sent> {
    const key = `${user} ${device ?? ''}`
    const known = devices.get(key)
    if (known !== undefined) return known
    const fresh = new LRUCache<string, Sent>({ ...atMost(membersMax) })
    devices.set(key, fresh)
    return fresh
  }

  return {
    isRedundant(scope, room, member, event) {
      const { since, filter } = scope
      if (since === undefined || filter.room?.state?.include_redundant_members) return false
      const before = ofDevice(scope).get(`${room} ${member}`)
      return before !== undefined && before.event === event && before.at <= since.position
    },
    sent(scope, room, member, event) {
      const members = ofDevice(scope)
      const key = `${room} ${member}`
      // An answer that is asked for again does not make the first one later.
      const before = members.get(key)
      const { since, upTo: at } = scope
      if (since && before?.event === event && before.at <= since.position) return
      members.set(key, { event, at })
    },
  }
}
