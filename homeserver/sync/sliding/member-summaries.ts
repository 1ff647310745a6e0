import type { UserId } from '../../../spec/ids.ts'
import type { MembershipRow, Memberships } from '../../rooms/rooms.ts'
import type { LogRow, Tail } from '../../stream/log.ts'
import { createTailedCache, type TailedCache } from '../../stream/tailed-cache.ts'
import { roomKey } from './room-key.ts'

/** Who is in a room, as far as a list of rooms shows it. */
export interface MemberSummary {
  readonly joined: number
  readonly invited: number
  /** Those by whom a room without a name is called, one more than are shown: the viewer is left out. */
  readonly heroes: readonly MembershipRow[]
}

const roomsMax = 50_000
const heroesMax = 5

export type MemberSummaries = Pick<TailedCache<MemberSummary>, 'get'>

/** Reads members once for everybody who has the room in a list; built after the memberships, which see rows first. */
export function createMemberSummaries(needs: {
  readonly tail: Pick<Tail, 'subscribe'>
  readonly memberships: Pick<Memberships, 'ofRoom'>
}): MemberSummaries {
  return createTailedCache<MemberSummary>({
    tail: needs.tail,
    name: 'member_summaries',
    entriesMax: roomsMax,
    load: async (room) => summaryOf((await needs.memberships.ofRoom(roomKey(room))).values()),
    staleBy: (row) => (changesMembers(row) ? row.room : undefined),
  })
}

/** Member events carry their member; a purge and a resolved state may change anything. */
function changesMembers({ kind, user }: LogRow): boolean {
  return (kind === 'event' && user !== undefined) || kind === 'state' || kind === 'invalidate'
}

function summaryOf(rows: Iterable<MembershipRow>): MemberSummary {
  let joined = 0
  let invited = 0
  const here: MembershipRow[] = []
  const gone: MembershipRow[] = []
  for (const row of rows) {
    if (row.membership === 'join') joined++
    if (row.membership === 'invite') invited++
    if (row.membership === 'join' || row.membership === 'invite') addFirst(here, row)
    else if (row.membership !== 'knock') addFirst(gone, row)
  }
  return { joined, invited, heroes: here.length > 1 ? here : [...here, ...gone] }
}

/** Keeps the first who came. */
function addFirst(rows: MembershipRow[], row: MembershipRow): void {
  const last = rows.at(-1)
  if (rows.length > heroesMax && last !== undefined && last.since <= row.since) return
  const at = rows.findIndex(({ since }) => since > row.since)
  rows.splice(at === -1 ? rows.length : at, 0, row)
  if (rows.length > heroesMax + 1) rows.pop()
}

/** The heroes that `viewer` sees. */
export function heroesFor({ heroes }: MemberSummary, viewer: UserId): readonly MembershipRow[] {
  return heroes.filter(({ user }) => user !== viewer).slice(0, heroesMax)
}
