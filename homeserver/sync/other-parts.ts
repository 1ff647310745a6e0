/** The parts of an answer that belong to no room: presence, global account data, devices. */
import type { RoomId, UserId } from '../../spec/ids.ts'
import { matchesEvent } from '../../spec/sync/filter.ts'
import type { AccountData, AccountDatum } from '../accounts/account-data.ts'
import type { DeviceLists } from '../encryption/device-lists.ts'
import type { Encryption } from '../encryption/encryption.ts'
import type { ToDevice } from '../encryption/to-device.ts'
import type { Clock } from '../platform/clock.ts'
import type { Presence, PresenceState } from '../presence/presence.ts'
import type { MembershipRow, Memberships } from '../rooms/rooms.ts'
import type { Position } from '../stream/log.ts'
import { eventList, plainEvent } from './event-text.ts'
import type { Recent } from './recent.ts'
import type { Asked, Scope } from './request.ts'

export interface OtherNeeds {
  readonly accountData: Pick<AccountData, 'all' | 'changedSince'>
  readonly presence: Pick<Presence, 'getMany' | 'changedSince'>
  readonly toDevice: Pick<ToDevice, 'pending'>
  readonly deviceLists: Pick<DeviceLists, 'changedFor'>
  readonly encryption: Pick<Encryption, 'counts' | 'unusedFallback'>
  readonly memberships: Pick<Memberships, 'ofUser' | 'sharingWith'>
  readonly recent: Recent
  readonly clock: Clock
}

/** To-device messages of one answer. */
const toDeviceMax = 100
/** Users whose presence is in one answer. */
const presenceMax = 1_000
/** People whose rooms are looked up one by one to see whether they share one. */
const lookedUpMax = 50

/** Account data as events, by room; global data under `undefined`. Of rooms that were joined since all of it is. */
export async function readAccountData(
  { accountData, recent }: Pick<OtherNeeds, 'accountData' | 'recent'>,
  { user, since, upTo, filter }: Scope,
  rows: readonly MembershipRow[],
): Promise<ReadonlyMap<RoomId | undefined, readonly string[]>> {
  const events = new Map<RoomId | undefined, string[]>()
  const after = since?.position ?? 0
  const joined = new Set<RoomId>()
  for (const { room, membership, since: began } of rows) {
    if (membership === 'join' && began > after) joined.add(room)
  }
  const isQuiet =
    since !== undefined &&
    joined.size === 0 &&
    recent.covers(after) &&
    !recent.hasAccountData(user, after, upTo)
  if (isQuiet) return events
  const isOfJoined = ({ room, position }: AccountDatum) =>
    position <= after && room !== undefined && joined.has(room)
  const data =
    since === undefined
      ? await accountData.all(user, upTo)
      : [
          ...(joined.size === 0 ? [] : (await accountData.all(user, upTo)).filter(isOfJoined)),
          ...(await accountData.changedSince(user, after, upTo)),
        ]
  for (const { room, type, content } of data) {
    const wanted = room === undefined ? filter.account_data : filter.room?.account_data
    if (!matchesEvent(wanted, { type, roomId: room })) continue
    const known = events.get(room)
    if (known === undefined) events.set(room, [plainEvent(type, content)])
    else known.push(plainEvent(type, content))
  }
  return events
}

/** Presence of users sharing a room: what changed, and of newcomers whatever it is. */
export async function readPresence(
  needs: OtherNeeds,
  scope: Scope,
  newcomers: ReadonlySet<UserId>,
): Promise<string | undefined> {
  const { filter, ignored } = scope
  // Nobody's presence changed: the usual case.
  if (newcomers.size === 0 && !scope.hasPresence) return undefined
  const wanted = [...new Set([...(await changedPresence(needs, scope)), ...newcomers])]
    .filter((one) => !ignored.has(one) && matchesEvent(filter.presence, presenceOf(one)))
    .slice(0, presenceMax)
  if (wanted.length === 0) return undefined
  const states = await needs.presence.getMany(wanted)
  const now = needs.clock.now()
  const texts = states.flatMap((state, n) => {
    // Of those who were never seen there is nothing to say.
    if (state.presence === 'offline' && state.lastActiveTs === 0 && !state.statusMsg) return []
    const content = JSON.stringify(presenceContent(state, now))
    return `{"type":"m.presence","sender":${JSON.stringify(wanted[n])},"content":${content}}`
  })
  return texts.length === 0 ? undefined : `"presence":${eventList(texts)}`
}

const presenceOf = (sender: UserId) => ({ type: 'm.presence', sender })

/** Whose presence changed of those whom the user may see: a few are looked up, many are looked for. */
async function changedPresence(
  { presence, memberships }: OtherNeeds,
  { user, since }: Scope,
): Promise<readonly UserId[]> {
  const after = since?.presence ?? 0
  const few = presence.changedSince(after, lookedUpMax)
  if (few === undefined) {
    const sharing = await memberships.sharingWith(user)
    const all = presence.changedSince(after, Number.MAX_SAFE_INTEGER) ?? []
    return all.filter((one) => one === user || sharing.has(one))
  }
  const rooms = await memberships.ofUser(user)
  const found: UserId[] = []
  for (const one of few) {
    if (one === user || meet(rooms, await memberships.ofUser(one))) found.push(one)
  }
  return found
}

type Rooms = ReadonlyMap<RoomId, MembershipRow>

function meet(mine: Rooms, theirs: Rooms): boolean {
  const [fewer, more] = mine.size < theirs.size ? [mine, theirs] : [theirs, mine]
  for (const [room, { membership }] of fewer) {
    if (membership === 'join' && more.get(room)?.membership === 'join') return true
  }
  return false
}

/** {@link https://spec.matrix.org/v1.19/client-server-api/#mpresence} */
export function presenceContent(
  { presence, lastActiveTs, statusMsg, currentlyActive }: PresenceState,
  now: number,
) {
  return {
    presence,
    ...(lastActiveTs > 0 && { last_active_ago: Math.max(0, now - lastActiveTs) }),
    ...(statusMsg !== undefined && { status_msg: statusMsg }),
    currently_active: currentlyActive,
  }
}

/** Messages for the device, and the position up to which it then has them all. */
export async function readToDevice(
  toDevice: Pick<ToDevice, 'pending'>,
  { user, device, since, upTo }: Scope,
): Promise<{ text: string | undefined; upTo: Position }> {
  if (device === undefined) return { text: undefined, upTo }
  const range = { after: since?.toDevice ?? 0, upTo, limit: toDeviceMax }
  const messages = await toDevice.pending(user, device, range)
  if (messages.length === 0) return { text: undefined, upTo }
  const texts = messages.map(
    ({ sender, type, content }) =>
      `{"sender":${JSON.stringify(sender)},"type":${JSON.stringify(type)},"content":${content}}`,
  )
  const last = messages.at(-1)?.position ?? upTo
  const isAll = messages.length < toDeviceMax
  return { text: `"to_device":${eventList(texts)}`, upTo: isAll ? upTo : last }
}

/** Whose keys to ask for anew; nothing in a first sync, after which a client asks for everybody's. */
export async function readDeviceLists(
  deviceLists: Pick<DeviceLists, 'changedFor'>,
  { user, since, upTo }: Scope,
): Promise<string | undefined> {
  if (since === undefined) return undefined
  const { changed, left } = await deviceLists.changedFor(user, since.position, upTo)
  if (changed.size + left.size === 0) return undefined
  return `"device_lists":{"changed":${JSON.stringify([...changed])},"left":${JSON.stringify([...left])}}`
}

/** In every answer to a device: clients upload keys when they see few. */
export async function readKeyCounts(
  encryption: Pick<Encryption, 'counts' | 'unusedFallback'>,
  { user, device }: Asked,
): Promise<string | undefined> {
  if (device === undefined) return undefined
  const counts = JSON.stringify(await encryption.counts(user, device))
  const unused = JSON.stringify(await encryption.unusedFallback(user, device))
  return `"device_one_time_keys_count":${counts},"device_unused_fallback_key_types":${unused}`
}
