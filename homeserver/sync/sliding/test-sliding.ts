import { parseRoomId, type RoomId, type UserId } from '../../../spec/ids.ts'
import type { JsonObject } from '../../../spec/json.ts'
import { requester, type TestProcess } from '../test-sync.ts'
import type { ListRule, RoomRule, SlidingRequest } from './request.ts'

/** What a test asks; a list of everything with ten events when it says nothing. */
export interface SlidingQuery extends Partial<Omit<SlidingRequest, 'lists' | 'subscriptions'>> {
  readonly lists?: Readonly<Record<string, Partial<ListRule>>>
  readonly subscriptions?: Readonly<Record<RoomId, Partial<RoomRule>>>
  readonly signal?: AbortSignal
}

export interface SlidingRoom {
  readonly initial?: boolean
  readonly name?: string | null
  readonly avatar?: string | null
  readonly heroes?: { user_id: string }[]
  readonly is_dm?: boolean
  readonly bump_stamp?: number
  readonly required_state?: JsonObject[]
  readonly timeline?: JsonObject[]
  readonly limited?: boolean
  readonly num_live?: number
  readonly prev_batch?: string
  readonly joined_count?: number
  readonly invited_count?: number
  readonly notification_count?: number
  readonly unstable_expanded_timeline?: boolean
  readonly expanded_timeline?: boolean
  readonly invite_state?: JsonObject[]
  readonly stripped_state?: JsonObject[]
  readonly membership?: string
  readonly lists?: string[]
}

export interface SlidingAnswer {
  readonly pos: string
  readonly lists: Record<string, { count: number; ops?: { range: number[]; room_ids: string[] }[] }>
  readonly rooms: Record<RoomId, SlidingRoom>
  readonly extensions: {
    readonly to_device?: { next_batch: string; events: JsonObject[] }
    readonly e2ee?: {
      device_lists?: { changed: string[]; left: string[] }
      device_one_time_keys_count: JsonObject
    }
    readonly account_data?: { global: JsonObject[]; rooms: Record<RoomId, JsonObject[]> }
    readonly receipts?: { rooms: Record<RoomId, JsonObject> }
    readonly 'io.element.msc4308.thread_subscriptions'?: JsonObject
    readonly typing?: { rooms: Record<RoomId, { content: JsonObject }> }
  }
}

export const everything: ListRule = {
  timelineLimit: 10,
  required: [{ include: [{}], exclude: [], lazyMembers: false }],
  filters: {},
}

/** Asks as a client would. */
export async function slide(
  { sync }: Pick<TestProcess, 'sync'>,
  user: UserId,
  query: SlidingQuery = {},
): Promise<SlidingAnswer> {
  const { lists = { all: {} }, subscriptions = {}, signal, ...rest } = query
  const request: SlidingRequest = {
    ...{ dialect: 'unstable', connId: '', timeoutMs: 0, setPresence: 'offline', extensions: {} },
    ...rest,
    lists: new Map(Object.entries(lists).map(([name, list]) => [name, { ...everything, ...list }])),
    subscriptions: new Map(
      entriesOf(subscriptions).map(([room, rule]) => [room, { ...everything, ...rule }]),
    ),
  }
  const aborted = signal ?? new AbortController().signal
  return JSON.parse(await sync.slidingSync(requester(user), request, aborted))
}

function entriesOf<V>(record: Readonly<Record<RoomId, V>>): [RoomId, V][] {
  return Object.entries(record).flatMap(([room, value]) => [[parseRoomId(room), value]])
}
