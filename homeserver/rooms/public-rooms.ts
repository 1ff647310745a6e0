/** The list of public rooms, as clients and other servers page through it. {@link https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3publicrooms} */
import { invalidParam } from '../../spec/errors.ts'
import { type Json, type JsonObject, stringAt } from '../../spec/json.ts'
import type { Database } from '../database/database.ts'
import { everyNetwork, publishedRooms } from './queries.ts'
import type { PublicRoomsQuery, Rooms } from './rooms.ts'
import type { Summaries, Summary } from './summary.ts'

/** Rooms of the whole list, and rooms of a page. */
const listMax = 5_000
const pageMax = 500

interface Needs {
  readonly db: Database
  readonly summaries: Summaries
}

export function createPublicRooms({ db, summaries }: Needs): Pick<Rooms, 'publicRooms'> {
  return {
    async publicRooms(query) {
      const network = query.everyNetwork ? everyNetwork : query.network
      const found: JsonObject[] = []
      for (const { room_id: room, joined } of await publishedRooms(db, listMax, network)) {
        const summary = await summaries.of(room)
        if (summary === undefined || !isListed(summary, query)) continue
        found.push({ ...summary.shown, num_joined_members: joined })
      }
      const size = Math.max(1, Math.min(query.limit, pageMax))
      const start = query.since === undefined ? 0 : readToken(query.since)
      const page: Record<string, Json> = {
        chunk: found.slice(start, start + size),
        total_room_count_estimate: found.length,
      }
      if (start > 0) page['prev_batch'] = `p${Math.max(0, start - size)}`
      if (start + size < found.length) page['next_batch'] = `p${start + size}`
      return page
    },
  }
}

/** Only rooms that people from outside can come into, or look into, are listed. */
function isListed(summary: Summary, { term, types, isRemote }: PublicRoomsQuery): boolean {
  const { shown, worldReadable, isOpen, joinRule, federates } = summary
  if (isRemote === true && !federates) return false
  if (!worldReadable && !isOpen && joinRule !== 'restricted') return false
  if (types !== undefined && !types.includes(stringAt(shown, 'room_type') ?? null)) return false
  return matches(shown, term)
}

function matches(shown: JsonObject, term: string | undefined): boolean {
  if (term === undefined || term === '') return true
  const wanted = term.toLowerCase()
  return ['name', 'topic', 'canonical_alias'].some((key) =>
    stringAt(shown, key)?.toLowerCase().includes(wanted),
  )
}

function readToken(since: string): number {
  const [, digits] = /^p([0-9]{1,9})$/.exec(since) ?? []
  if (digits === undefined) throw invalidParam('since', 'not a token of this list')
  return Number(digits)
}
