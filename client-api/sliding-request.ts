/** Reads the two ways in which clients write down what they ask of sliding sync. */
import {
  type ListFilters,
  type ListRule,
  ownKey,
  type RequiredState,
  type RoomRule,
  type RoomSelection,
  type SlidingRequest,
  slidingLimits,
} from '../homeserver/sync/sliding/request.ts'
import type {
  AcceptedSlidingBody,
  SlidingExtensions,
  TriedSlidingBody,
} from '../spec/api/client/sliding-sync.ts'
import { invalidParam } from '../spec/errors.ts'
import { isRoomId, type RoomId, type UserId } from '../spec/ids.ts'
import { given } from './given.ts'

type Asked = Pick<SlidingRequest, 'connId' | 'lists' | 'subscriptions' | 'extensions'>

/** Lists of a request. */
const listsMax = 100
/** Rooms that a request subscribes to; the proposal came to the smaller number. */
const subscriptionsMax = { unstable: 1_000, final: 100 } as const
const toDeviceDefault = 100
const memberType = 'm.room.member'

/** What clients have sent while it was a proposal. */
export function readTried(body: TriedSlidingBody, user: UserId): Asked {
  const { lists, room_subscriptions: rooms, extensions } = body
  const ruleOf = (room: TriedRoom): RoomRule => ({
    timelineLimit: timelineLimitOf(room),
    required: requiredFrom(room.required_state, user),
  })
  return {
    connId: body.conn_id ?? '',
    lists: entriesOf('lists', lists, listsMax, (list): ListRule => {
      const { slow_get_all_rooms: isAll, ranges, filters } = list
      const isInvited = filters?.is_invite
      return {
        ...ruleOf(list),
        ...(!isAll && ranges != null && { ranges }),
        filters: {
          ...filtersFrom(filters),
          ...given({ isInvited, roomNameLike: filters?.room_name_like }),
        },
      }
    }),
    subscriptions: byRoom(
      entriesOf('room_subscriptions', rooms, subscriptionsMax.unstable, ruleOf),
    ),
    extensions: extensionsFrom(extensions),
  }
}

/** What the proposal came to. */
export function readAccepted(body: AcceptedSlidingBody): Asked {
  const { lists, room_subscriptions: rooms, extensions } = body
  const ruleOf = (room: AcceptedRoom): RoomRule => {
    const { include = [], exclude = [], lazy_members: lazyMembers = false } = room.required_state
    const required = [{ include: include.map(pattern), exclude: exclude.map(pattern), lazyMembers }]
    return { timelineLimit: timelineLimitOf(room), required }
  }
  return {
    connId: body.conn_id ?? '',
    lists: entriesOf('lists', lists, listsMax, (list): ListRule => {
      const { range, filters } = list
      const isInvited = filters?.is_invited
      return {
        ...ruleOf(list),
        ...(range !== undefined && { ranges: [range] }),
        filters: { ...filtersFrom(filters), ...given({ isInvited }) },
      }
    }),
    subscriptions: byRoom(entriesOf('room_subscriptions', rooms, subscriptionsMax.final, ruleOf)),
    extensions: extensionsFrom(extensions),
  }
}

type TriedRoom = NonNullable<TriedSlidingBody['room_subscriptions']>[string]
type AcceptedRoom = NonNullable<AcceptedSlidingBody['room_subscriptions']>[string]

function entriesOf<V, R>(
  field: string,
  record: Readonly<Record<string, V>> | null | undefined,
  max: number,
  read: (value: V) => R,
): ReadonlyMap<string, R> {
  const entries = Object.entries(record ?? {})
  if (entries.length > max) throw invalidParam(field, `more than ${max}`)
  return new Map(entries.map(([key, value]) => [key, read(value)]))
}

/** What is no room's id is no room that there is. */
function byRoom<R>(entries: ReadonlyMap<string, R>): ReadonlyMap<RoomId, R> {
  const rooms = new Map<RoomId, R>()
  for (const [room, rule] of entries) if (isRoomId(room)) rooms.set(room, rule)
  return rooms
}

function timelineLimitOf({ timeline_limit: limit }: { timeline_limit: number }): number {
  return Math.min(limit, slidingLimits.timelineMax)
}

/**
 * Pairs of type and state key. `*` stands for all, `$ME` for the user, `$LAZY` for members as the timeline needs them. Of
 * a type that is named beside `*`, `*` only what is named is sent.
 */
function requiredFrom(
  pairs: readonly (readonly [type: string, stateKey: string])[],
  user: UserId,
): readonly RequiredState[] {
  const isAll = pairs.some(([type, key]) => type === '*' && key === '*')
  const isEveryMember = pairs.some(([type, key]) => type === memberType && key === '*')
  const hasLazy = pairs.some(([type, key]) => type === memberType && key === '$LAZY')
  const lazyMembers = hasLazy && !isEveryMember
  const named = pairs.filter(
    ([type, key]) => !(type === '*' && key === '*') && !(type === memberType && key === '$LAZY'),
  )
  const include = named.map(([type, key]) => ({
    ...(type !== '*' && { type }),
    ...(key !== '*' && { stateKey: ownKey(key, user) }),
  }))
  const wanted: RequiredState = { include, exclude: [], lazyMembers }
  if (!isAll) return [wanted]
  const types = new Set(named.flatMap(([type]) => (type === '*' ? [] : type)))
  if (lazyMembers) types.add(memberType)
  const exclude = [...types].map((type) => ({ type }))
  return [{ include: [{}], exclude, lazyMembers: false }, wanted]
}

function pattern(element: { type?: string; state_key?: string }) {
  const { type, state_key: stateKey } = element
  return given({ type, stateKey })
}

type Filters = NonNullable<AcceptedSlidingBody['lists']>[string]['filters']

function filtersFrom(filters: Filters | null): ListFilters {
  if (filters == null) return {}
  return given({
    isDm: filters.is_dm,
    spaces: filters.spaces,
    isEncrypted: filters.is_encrypted,
    roomTypes: filters.room_types,
    notRoomTypes: filters.not_room_types,
    tags: filters.tags,
    notTags: filters.not_tags,
  })
}

function extensionsFrom(asked: SlidingExtensions | null | undefined): SlidingRequest['extensions'] {
  const { to_device: toDevice, e2ee, account_data: data, receipts, typing } = asked ?? {}
  const threads = asked?.['io.element.msc4308.thread_subscriptions']
  return given({
    toDevice: toDevice?.enabled
      ? {
          limit: toDevice.limit ?? toDeviceDefault,
          ...(toDevice.since != null && { since: Number(toDevice.since) }),
        }
      : undefined,
    e2ee: e2ee?.enabled ? {} : undefined,
    accountData: selectionFrom(data),
    receipts: selectionFrom(receipts),
    typing: selectionFrom(typing),
    threadSubscriptions: threads?.enabled
      ? { limit: threads.limit ?? slidingLimits.threadSubscriptionsMax }
      : undefined,
  })
}

function selectionFrom(asked: SlidingExtensions['typing']): RoomSelection | undefined {
  if (!asked?.enabled) return undefined
  return { lists: asked.lists ?? ['*'], rooms: asked.rooms ?? ['*'] }
}
