/** One answer, put together from its parts: everything up to one position of the log and nothing after it. */
import { MatrixError } from '../../spec/errors.ts'
import type { UserId } from '../../spec/ids.ts'
import type { AccountData } from '../accounts/account-data.ts'
import type { MembershipRow, Memberships } from '../rooms/rooms.ts'
import type { Position, Tail } from '../stream/log.ts'
import { type EventWriterNeeds, eventList, eventWriter } from './event-text.ts'
import {
  type OtherNeeds,
  readAccountData,
  readDeviceLists,
  readPresence,
  readToDevice,
} from './other-parts.ts'
import type { Asked, Scope, Since } from './request.ts'
import { type RoomsPartNeeds, readRooms } from './rooms-part.ts'

export interface ComposeNeeds extends OtherNeeds, RoomsPartNeeds, EventWriterNeeds {
  readonly rooms: EventWriterNeeds['rooms']
  readonly events: RoomsPartNeeds['events'] & EventWriterNeeds['events']
  readonly tail: Pick<Tail, 'position' | 'reached'>
  readonly memberships: Pick<Memberships, 'ofUser' | 'ofRoom' | 'sharingWith'>
  readonly accountData: OtherNeeds['accountData'] & Pick<AccountData, 'ignoredUsers'>
}

export interface Composed {
  /** Members of the answer, as JSON text; none when nothing is new. */
  readonly parts: readonly string[]
  /** What the client has seen when it has the answer. */
  readonly seen: Since
}

/** Reads of memberships before one of them stands still. */
const attemptsMax = 50
const reachMs = 1_000

/** `stamps` and `hasPresence` are of before: what changes from then on may be told twice. */
export async function compose(
  needs: ComposeNeeds,
  asked: Asked,
  { since, stamps, hasPresence }: Pick<Scope, 'since' | 'stamps' | 'hasPresence'>,
): Promise<Composed> {
  const { accountData, recent } = needs
  const { user } = asked
  if (since !== undefined) await recent.extend(since.position)
  const ignored = await accountData.ignoredUsers(user)
  const { rows, upTo } = await readMemberships(needs, user)
  const scope: Scope = { ...asked, since, upTo, stamps, hasPresence, ignored }
  const write = eventWriter(needs, asked)
  const data = await readAccountData(needs, scope)
  const rooms = await readRooms(needs, rows, data, scope, write)
  const toDevice = await readToDevice(needs.toDevice, scope)
  const global = data.get(undefined)
  const parts = [
    rooms.text,
    global && `"account_data":${eventList(global)}`,
    await readPresence(needs, scope, rooms.newcomers),
    toDevice.text,
    await readDeviceLists(needs.deviceLists, scope),
  ]
  return {
    parts: parts.filter((part) => part !== undefined),
    seen: { ...stamps, position: upTo, toDevice: toDevice.upTo },
  }
}

/** The user's memberships as they are at a position that the tail has reached. */
async function readMemberships(
  { memberships, tail }: Pick<ComposeNeeds, 'memberships' | 'tail'>,
  user: UserId,
): Promise<{ rows: readonly MembershipRow[]; upTo: Position }> {
  for (let attempt = 0; attempt < attemptsMax; attempt++) {
    const upTo = tail.position
    // The map goes on changing: it is copied while nothing else runs.
    const rows = [...(await memberships.ofUser(user)).values()]
    const newest = rows.reduce((most, row) => Math.max(most, row.position), 0)
    if (newest <= upTo) return { rows, upTo }
    // What was loaded is ahead of the tail, or the tail has moved on meanwhile.
    await tail.reached(newest, reachMs)
  }
  throw new MatrixError('M_UNKNOWN', 'the memberships are changing too often')
}
