/** Makes the body of a transaction from rows of the log: what one application service has to hear of. */
import { type DeviceId, isDeviceId, isUserId, type RoomId, type UserId } from '../../spec/ids.ts'
import { isObject, type JsonObject } from '../../spec/json.ts'
import type { Encryption } from '../encryption/encryption.ts'
import type { Events } from '../events/events.ts'
import type { StoredEvent } from '../events/stored-event.ts'
import type { Receipts } from '../receipts/receipts.ts'
import type { EngineRooms } from '../rooms/create-rooms.ts'
import { isEventPayload } from '../rooms/memberships.ts'
import type { Memberships } from '../rooms/rooms.ts'
import type { LogRow, Position } from '../stream/log.ts'
import type { Appservice } from './appservices.ts'
import type { Interest } from './interest.ts'

export interface TransactionNeeds {
  readonly events: Pick<Events, 'get'>
  readonly rooms: Pick<EngineRooms, 'clientEvent' | 'preload'>
  readonly memberships: Pick<Memberships, 'ofUser'>
  readonly receipts: Pick<Receipts, 'contentOf'>
  readonly encryption: Pick<Encryption, 'counts' | 'unusedFallback'>
  /** What another server told of a room with its invite. */
  readonly strippedState: (room: RoomId, user: UserId) => Promise<readonly JsonObject[]>
  /** Lets the service make a user of its own who is not there yet. */
  readonly ensureUser: (user: UserId) => Promise<void>
}

/** What becomes a transaction. */
export class Draft {
  /** Events as JSON text. */
  readonly events: string[] = []
  readonly ephemeral: JsonObject[] = []
  readonly toDevice: JsonObject[] = []
  readonly deviceLists = new Set<UserId>()
  /** Devices whose one-time keys became more or fewer. */
  readonly devices = new Map<string, { readonly user: UserId; readonly device: DeviceId }>()
  /** Messages that are the service's when the transaction is stored. */
  readonly taken: {
    readonly user: UserId
    readonly device: DeviceId
    readonly position: Position
  }[] = []

  get size(): number {
    const others = this.ephemeral.length + this.toDevice.length
    return this.events.length + others + this.deviceLists.size + this.devices.size
  }
}

/** Kinds of rows that can be of interest. */
const kinds: ReadonlySet<string> = new Set([
  'event',
  'outOfBandMembership',
  'receipt',
  'toDevice',
  'deviceList',
])
const countsPrefix = 'key_counts:'

/** Can the row be of interest to any service. */
export function concerns({ kind, ref }: LogRow): boolean {
  return kinds.has(kind) || (kind === 'invalidate' && ref.startsWith(countsPrefix))
}

/** Takes rows, in order, until there are `max` things; answers the position of the last row that was looked at. */
export async function takeRows(
  needs: TransactionNeeds,
  service: Appservice,
  interest: Interest,
  rows: readonly LogRow[],
  { draft, max }: { readonly draft: Draft; readonly max: number },
): Promise<Position | undefined> {
  let last: Position | undefined
  for (const row of rows) {
    if (draft.size >= max) return last
    await take(needs, service, interest, row, draft)
    last = row.position
  }
  return last
}

async function take(
  needs: TransactionNeeds,
  service: Appservice,
  interest: Interest,
  row: LogRow,
  draft: Draft,
): Promise<void> {
  switch (row.kind) {
    case 'event': {
      if (!isEventPayload(row.payload)) return
      const { event } = row.payload
      if (!(await interest.inEvent(event.pdu))) return
      await ensureMember(needs, service, event)
      await needs.rooms.preload([event])
      draft.events.push(needs.rooms.clientEvent(event, undefined))
      return
    }
    case 'outOfBandMembership':
      return await takeInvite(needs, service, row, draft)
    case 'receipt':
      if (service.hearsEphemeral) await takeReceipt(needs, service, interest, row, draft)
      return
    default:
      if (service.hearsDevices) await takeDevices(service, interest, row, draft)
  }
}

async function ensureMember(
  { ensureUser }: TransactionNeeds,
  service: Appservice,
  { pdu: { type, stateKey } }: StoredEvent,
): Promise<void> {
  if (type === 'm.room.member' && isUserId(stateKey) && service.covers(stateKey)) {
    await ensureUser(stateKey)
  }
}

/** An invite of a room that is elsewhere. */
async function takeInvite(
  needs: TransactionNeeds,
  service: Appservice,
  { user, room }: LogRow,
  draft: Draft,
): Promise<void> {
  if (user === undefined || room === undefined || !service.covers(user)) return
  const row = (await needs.memberships.ofUser(user)).get(room)
  const event = row && (await needs.events.get([row.eventId])).get(row.eventId)
  if (event === undefined) return
  await needs.ensureUser(user)
  const text = needs.rooms.clientEvent(event, undefined)
  const shown: unknown = JSON.parse(text)
  const invite_room_state = await needs.strippedState(room, user)
  if (!isObject(shown) || invite_room_state.length === 0) draft.events.push(text)
  else {
    const unsigned = isObject(shown['unsigned']) ? shown['unsigned'] : {}
    draft.events.push(JSON.stringify({ ...shown, unsigned: { ...unsigned, invite_room_state } }))
  }
}

/** Private receipts are for those whose they are. */
async function takeReceipt(
  { receipts }: TransactionNeeds,
  service: Appservice,
  interest: Interest,
  row: LogRow,
  draft: Draft,
): Promise<void> {
  const { room, user } = row
  if (room === undefined || user === undefined) return
  const isOwn = service.covers(user)
  if (!isOwn && !(await interest.inRoom(room))) return
  const content = receipts.contentOf([row], isOwn ? user : service.sender)
  if (content !== undefined) draft.ephemeral.push({ type: 'm.receipt', room_id: room, content })
}

async function takeDevices(
  service: Appservice,
  interest: Interest,
  { kind, user, ref, payload, position }: LogRow,
  draft: Draft,
): Promise<void> {
  if (user === undefined) return
  if (kind === 'deviceList') {
    if (await interest.inUser(user)) draft.deviceLists.add(user)
    return
  }
  if (!service.covers(user)) return
  if (kind === 'toDevice' && isObject(payload)) {
    const { sender = '', type = '', content = {} } = payload
    const message = typeof content === 'string' ? JSON.parse(content) : content
    const target = { to_user_id: user, to_device_id: ref }
    draft.toDevice.push({ ...target, sender, type, content: message })
    if (!isDeviceId(ref)) return
    draft.devices.set(`${user} ${ref}`, { user, device: ref })
    draft.taken.push({ user, device: ref, position })
  } else if (kind === 'invalidate') {
    const [, device]: unknown[] = JSON.parse(ref.slice(countsPrefix.length))
    if (isDeviceId(device)) draft.devices.set(`${user} ${device}`, { user, device })
  }
}

/** {@link https://spec.matrix.org/v1.19/application-service-api/#put_matrixappv1transactionstxnid} */
export async function bodyOf(
  { encryption }: Pick<TransactionNeeds, 'encryption'>,
  { events, ephemeral, toDevice, deviceLists, devices }: Draft,
): Promise<string> {
  const counts: Record<string, Record<string, JsonObject>> = {}
  const fallbacks: Record<string, Record<string, readonly string[]>> = {}
  for (const { user, device } of devices.values()) {
    counts[user] = { ...counts[user], [device]: await encryption.counts(user, device) }
    fallbacks[user] = {
      ...fallbacks[user],
      [device]: await encryption.unusedFallback(user, device),
    }
  }
  const members = {
    ...(ephemeral.length > 0 && { ephemeral }),
    ...(toDevice.length > 0 && { 'de.sorunome.msc2409.to_device': toDevice }),
    ...(deviceLists.size > 0 && {
      'org.matrix.msc3202.device_lists': { changed: [...deviceLists], left: [] },
    }),
    ...(devices.size > 0 && {
      'org.matrix.msc3202.device_one_time_keys_count': counts,
      'org.matrix.msc3202.device_unused_fallback_key_types': fallbacks,
    }),
  }
  const rest = JSON.stringify(members).slice(1)
  return `{"events":[${events.join(',')}]${rest === '}' ? '' : ','}${rest}`
}
