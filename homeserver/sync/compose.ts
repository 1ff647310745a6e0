/** One answer, put together from its parts: everything up to one position of the log and nothing after it. */
import type { UserId } from '../../spec/ids.ts'
import type { AccountData } from '../accounts/account-data.ts'
import type { Memberships } from '../rooms/rooms.ts'
import type { Tail } from '../stream/log.ts'
import { type EventWriterNeeds, eventList, eventWriter } from './event-text.ts'
import { readMemberships } from './memberships-at.ts'
import {
  type OtherNeeds,
  readAccountData,
  readDeviceLists,
  readPresence,
  readToDevice,
} from './other-parts.ts'
import type { Asked, Scope, Since } from './request.ts'
import { type RoomsPartNeeds, readRooms, roomPieces } from './rooms-part.ts'

export interface ComposeNeeds extends OtherNeeds, RoomsPartNeeds, EventWriterNeeds {
  readonly rooms: EventWriterNeeds['rooms']
  readonly events: RoomsPartNeeds['events'] & EventWriterNeeds['events']
  readonly tail: Pick<Tail, 'position' | 'reached'>
  readonly memberships: Pick<Memberships, 'ofUser' | 'ofRoom' | 'sharingWith'>
  readonly accountData: OtherNeeds['accountData'] &
    Pick<AccountData, 'ignoredUsers' | 'invitePermission'>
}

export interface Composed {
  /** Members of the answer, as JSON text; none when nothing is new. */
  readonly parts: readonly string[]
  /** What the client has seen when it has the answer. */
  readonly seen: Since
}

/** A whole answer, whose members come in pieces, each of which begins with a comma. */
export interface ComposedWhole {
  readonly pieces: AsyncIterable<string>
  readonly seen: Since
}

/** `stamps` and `hasPresence` are of before: what changes from then on may be told twice. */
type Before = Pick<Scope, 'since' | 'stamps' | 'hasPresence'>

/** What is new, or nothing. */
export async function compose(
  needs: ComposeNeeds,
  asked: Asked,
  before: Before,
): Promise<Composed> {
  const { scope, rows, data, toDevice, seen } = await begin(needs, asked, before)
  const rooms = await readRooms(needs, rows, data, scope, eventWriter(needs, asked))
  const parts = [
    rooms.text,
    globalData(data),
    await readPresence(needs, scope, rooms.newcomers),
    toDevice,
    await readDeviceLists(needs.deviceLists, scope),
  ]
  return { parts: parts.filter((part) => part !== undefined), seen }
}

/** Everything, room by room: all that could be refused is read before the first piece. */
export async function composeWhole(
  needs: ComposeNeeds,
  asked: Asked,
  before: Before,
): Promise<ComposedWhole> {
  const { scope, rows, data, toDevice, seen } = await begin(needs, asked, before)
  const write = eventWriter(needs, asked)
  async function* pieces(): AsyncGenerator<string> {
    const newcomers = new Set<UserId>()
    for (const part of [globalData(data), toDevice]) if (part !== undefined) yield `,${part}`
    yield* roomPieces(needs, rows, { accountData: data, newcomers }, scope, write)
    const presence = await readPresence(needs, scope, newcomers)
    const deviceLists = await readDeviceLists(needs.deviceLists, scope)
    for (const part of [presence, deviceLists]) if (part !== undefined) yield `,${part}`
  }
  return { pieces: pieces(), seen }
}

/** What every answer begins with: how far it goes, and what does not depend on the rooms. */
async function begin(needs: ComposeNeeds, asked: Asked, { since, stamps, hasPresence }: Before) {
  const { user } = asked
  if (since !== undefined) await needs.recent.extend(since.position)
  const ignored = await needs.accountData.ignoredUsers(user)
  const { rows, upTo } = await readMemberships(needs, user)
  const scope: Scope = { ...asked, since, upTo, stamps, hasPresence, ignored }
  const data = await readAccountData(needs, scope, rows)
  const toDevice = await readToDevice(needs.toDevice, scope)
  const seen = { ...stamps, position: upTo, toDevice: toDevice.upTo }
  return { scope, rows, data, toDevice: toDevice.text, seen }
}

function globalData(data: Awaited<ReturnType<typeof readAccountData>>): string | undefined {
  const global = data.get(undefined)
  return global && `"account_data":${eventList(global)}`
}
