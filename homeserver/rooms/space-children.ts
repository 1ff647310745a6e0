/** The rooms that a space names as its children. {@link https://spec.matrix.org/v1.19/client-server-api/#mspacechild-relationship} */
import type { Pdu } from '../../spec/events/event.ts'
import { isRoomId, isServerName, isUserId, type RoomId, type ServerName } from '../../spec/ids.ts'
import { arrayAt, integerAt, type JsonObject, objectAt, stringAt } from '../../spec/json.ts'

/** A child as its space names it. */
export interface SpaceChild {
  readonly room: RoomId
  /** Servers that know the room. */
  readonly via: readonly ServerName[]
  readonly suggested: boolean
  /** The event as it is shown: stripped, with its time. */
  readonly event: JsonObject
}

/** Children of one space that are looked at, and servers that one of them names. */
const childrenMax = 1_000
const viaMax = 20
/** Longest valid `order`. */
const orderMax = 50
/** Characters of one event from another server. */
const eventLengthMax = 65_536
const childType = 'm.space.child'

/** The valid children among a space's own events, in the order in which they are shown. */
export function childrenOf(events: readonly Pdu[]): readonly SpaceChild[] {
  return sorted(
    events.map(({ stateKey, content, sender, originServerTs }) => ({
      ...{ type: childType, content, sender },
      state_key: stateKey ?? '',
      origin_server_ts: originServerTs,
    })),
  )
}

/** The valid children among stripped events that another server sent; other fields of theirs are dropped. */
export function childrenFrom(given: readonly JsonObject[]): readonly SpaceChild[] {
  const events: JsonObject[] = []
  for (const event of given.slice(0, childrenMax)) {
    const content = objectAt(event, 'content')
    const sender = stringAt(event, 'sender')
    const stateKey = stringAt(event, 'state_key')
    const time = integerAt(event, 'origin_server_ts')
    if (event['type'] !== childType || content === undefined || stateKey === undefined) continue
    if (!isUserId(sender) || JSON.stringify(content).length > eventLengthMax) continue
    events.push({
      ...{ type: childType, content, sender },
      state_key: stateKey,
      origin_server_ts: time ?? 0,
    })
  }
  return sorted(events)
}

function sorted(events: readonly JsonObject[]): readonly SpaceChild[] {
  return events
    .flatMap((event) => childOf(event) ?? [])
    .sort(inOrder)
    .slice(0, childrenMax)
}

/** Undefined for a link that was taken back, or that does not say through whom the room is reached. */
function childOf(event: JsonObject): SpaceChild | undefined {
  const room = event['state_key']
  const content = objectAt(event, 'content') ?? {}
  const via = (arrayAt(content, 'via') ?? []).filter(isServerName).slice(0, viaMax)
  if (!isRoomId(room) || via.length === 0) return undefined
  return { room, via, suggested: content['suggested'] === true, event }
}

/** {@link https://spec.matrix.org/v1.19/client-server-api/#ordering-of-children-within-a-space} */
function inOrder(a: SpaceChild, b: SpaceChild): number {
  const [left, right] = [orderOf(a), orderOf(b)]
  if (left !== right) {
    if (left === undefined) return 1
    if (right === undefined) return -1
    return left < right ? -1 : 1
  }
  return timeOf(a) - timeOf(b) || (a.room < b.room ? -1 : 1)
}

function orderOf({ event }: SpaceChild): string | undefined {
  const order = stringAt(objectAt(event, 'content') ?? {}, 'order')
  return order !== undefined && order.length <= orderMax && /^[ -~]*$/.test(order)
    ? order
    : undefined
}

function timeOf({ event }: SpaceChild): number {
  return integerAt(event, 'origin_server_ts') ?? 0
}
