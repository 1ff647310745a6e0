/**
 * What a user was notified of. It is not stored: it is what the rules say now to the live events of the rooms that the
 * user is in, which for most people nobody ever asks. {@link https://spec.matrix.org/v1.19/client-server-api/#listing-notifications}
 */
import type { RoomId, UserId } from '../../spec/ids.ts'
import type { PushVerdict } from '../../spec/push/evaluate.ts'
import type { PushAction } from '../../spec/push/rules.ts'
import type { Events } from '../events/events.ts'
import type { StoredEvent } from '../events/stored-event.ts'
import { threadRootsOf } from '../events/threading.ts'
import type { Clock } from '../platform/clock.ts'
import type { MembershipRow, Memberships } from '../rooms/rooms.ts'
import type { PushRules } from './push-rules.ts'
import { mainThread } from './room-count.ts'
import type { Unread, UnreadCounts } from './unread.ts'
import { nothing } from './verdicts.ts'

/** An event of which a user was notified. */
export interface Notified {
  readonly event: StoredEvent
  readonly room: RoomId
  readonly actions: readonly PushAction[]
  readonly read: boolean
}

export interface NotifiedPage {
  readonly notifications: readonly Notified[]
  /** Log position before which there may be more. */
  readonly next?: number
}

export interface NotifiedQuery {
  /** Log position; absent: from the newest on. */
  readonly before?: number
  readonly limit: number
  readonly onlyHighlights: boolean
}

export interface NotifiedNeeds {
  readonly clock: Clock
  readonly events: Pick<Events, 'newest' | 'get'>
  readonly memberships: Pick<Memberships, 'ofUser'>
  readonly pushRules: Pick<PushRules, 'ruleset'>
  readonly unread: Pick<UnreadCounts, 'verdicts' | 'of' | 'readUpTo'>
  /** Whether the user lets this one invite them. */
  readonly wantsInvite: (user: UserId, sender: UserId) => Promise<boolean>
  readonly ignoredUsers: (user: UserId) => Promise<ReadonlySet<UserId>>
}

/** Events looked at for one page, in steps: a page may have fewer notifications than asked for, and there be more. */
const scannedMax = 2_000
const stepMax = 200
/** Newest invites shown. */
const invitesMax = 100
/** What is older is not shown. */
const ageMaxMs = 30 * 86_400_000

interface Found {
  readonly event: StoredEvent
  readonly position: number
  readonly verdict: PushVerdict
}

export function createNotified(needs: NotifiedNeeds) {
  const { clock, events, memberships, unread } = needs

  return async function list(user: UserId, query: NotifiedQuery): Promise<NotifiedPage> {
    const rows = [...(await memberships.ofUser(user)).values()]
    const rooms = rows.filter(({ membership }) => membership === 'join').map(({ room }) => room)
    const ignored = await needs.ignoredUsers(user)
    const isWanted = ({ event, verdict }: Found) =>
      verdict.notify &&
      (verdict.highlight || !query.onlyHighlights) &&
      event.redactedBy === undefined &&
      !ignored.has(event.pdu.sender)
    const invites = (await invitesOf(user, rows)).filter(isWanted)
    const found: Found[] = []
    let before = query.before ?? Number.MAX_SAFE_INTEGER
    let isEnd = rooms.length === 0
    for (let scanned = 0; scanned < scannedMax && found.length < query.limit && !isEnd; ) {
      const step = await events.newest(rooms, { before, limit: stepMax })
      scanned += step.length
      found.push(...(await judged(user, step)).filter(isWanted))
      before = step.at(-1)?.position ?? before
      const oldest = clock.now() - ageMaxMs
      isEnd = step.length < stepMax || step.every(({ pdu }) => pdu.originServerTs < oldest)
    }
    const from = query.before ?? Number.MAX_SAFE_INTEGER
    const here = invites.filter(({ position }) => position < from && (isEnd || position >= before))
    const all = [...found, ...here].sort((a, b) => b.position - a.position)
    const page = all.slice(0, query.limit)
    const notifications = await withRead(user, page)
    const last = all.length > page.length ? page.at(-1)?.position : isEnd ? undefined : before
    return last === undefined ? { notifications } : { notifications, next: last }
  }

  /** What the rules say to the user, of those after the user came. */
  async function judged(user: UserId, step: readonly StoredEvent[]): Promise<Found[]> {
    const found: Found[] = []
    for (const event of step) {
      const { position = 0 } = event
      const verdicts = await unread.verdicts(event.pdu.roomId)
      const member = verdicts.members.get(user)
      if (member === undefined || member.since >= position) continue
      await verdicts.prepare([event])
      found.push({ event, position, verdict: verdicts.of(event, member) })
    }
    return found
  }

  async function invitesOf(user: UserId, rows: readonly MembershipRow[]): Promise<Found[]> {
    const invites = rows
      .filter(({ membership, forgotten }) => membership === 'invite' && !forgotten)
      .sort((a, b) => b.position - a.position)
      .slice(0, invitesMax)
    if (invites.length === 0) return []
    const rules = await needs.pushRules.ruleset(user)
    const known = await events.get(invites.map(({ eventId }) => eventId))
    const found: Found[] = []
    for (const { eventId, position, sender } of invites) {
      const event = known.get(eventId)
      if (event === undefined || !(await needs.wantsInvite(user, sender))) continue
      found.push({ event, position, verdict: nothing.ofOutsider(event, user, rules) })
    }
    return found
  }

  async function withRead(user: UserId, page: readonly Found[]): Promise<Notified[]> {
    const rooms = [...new Set(page.map(({ event }) => event.pdu.roomId))]
    const counts = await unread.of(user, rooms)
    const floors = new Map<RoomId, ReadonlyMap<string, number>>()
    for (const room of rooms) floors.set(room, await unread.readUpTo(room, user))
    const roots = await threadRootsOf(
      events,
      page.map(({ event }) => event),
    )
    return page.map(({ event, position, verdict }) => {
      const room = event.pdu.roomId
      const thread = roots.get(event.pdu.eventId) ?? mainThread
      const isInvite = event.pdu.stateKey === user
      const floor = Math.max(floors.get(room)?.get('') ?? 0, floors.get(room)?.get(thread) ?? 0)
      const read = !isInvite && (position <= floor || isAllRead(counts.get(room), thread))
      return { event, room, actions: verdict.actions, read }
    })
  }
}

function isAllRead(counts: Unread | undefined, thread: string): boolean {
  const count = thread === 'main' ? counts?.main : counts?.threads.get(thread)
  return (count?.notify ?? 0) <= 0
}
