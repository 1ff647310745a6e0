/** What an operator sees of the servers that things are sent to, and the word that one is there again. */
import type { RoomId, ServerName } from '../../spec/ids.ts'
import type { Database } from '../database/database.ts'
import type { Position } from '../stream/log.ts'
import type { Backoff } from './backoff.ts'
import * as queries from './queries.ts'

/** A server that something was sent to. Times are milliseconds since the epoch. */
export interface DestinationReport {
  readonly server: ServerName
  /** Absent while it answers. */
  readonly failing?: {
    readonly since: number
    readonly lastTriedAt: number
    readonly retryAt: number
    readonly pauseMs: number
  }
}

/** How a list of servers is asked for; at most `pageMax` come at a time. */
export type DestinationQuery = queries.ServerQuery

export interface Administration {
  list(
    query: DestinationQuery,
  ): Promise<{ readonly servers: readonly DestinationReport[]; readonly total: number }>
  /** Undefined for a server that nothing was ever sent to. */
  find(server: ServerName): Promise<DestinationReport | undefined>
  /** Rooms in which the server misses events of ours, by id, with the newest of them. */
  rooms(
    server: ServerName,
    page: { readonly backwards: boolean; readonly from: number; readonly limit: number },
  ): Promise<{
    readonly rooms: readonly { readonly room: RoomId; readonly last: Position }[]
    readonly total: number
  }>
  /** EDUs that wait for each of these servers. */
  waiting(servers: readonly ServerName[]): Promise<ReadonlyMap<ServerName, number>>
  /** Ends the pause: every process tries the server again, within a few seconds. */
  reset(server: ServerName): Promise<void>
}

export const pageMax = 1_000

export function createAdministration({
  db,
  backoff,
}: {
  readonly db: Database
  readonly backoff: Pick<Backoff, 'succeeded' | 'flush'>
}): Administration {
  return {
    async list(query) {
      const page = { ...query, limit: Math.min(query.limit, pageMax) }
      const rows = await queries.listServers(db, page)
      return { servers: rows.map(reportOf), total: await queries.countServers(db, page) }
    },
    async find(server) {
      const row = await queries.findServer(db, server)
      return row && reportOf(row)
    },
    async rooms(server, page) {
      const limit = Math.min(page.limit, pageMax)
      const rows = await queries.listBehind(db, server, { ...page, limit })
      return {
        rooms: rows.map((row) => ({ room: row.room_id, last: row.last_position })),
        total: rows[0]?.total ?? 0,
      }
    },
    async waiting(servers) {
      const rows = await queries.countOutbox(db, servers)
      return new Map(rows.map((row) => [row.server, row.n]))
    },
    async reset(server) {
      const row = { server, failing_since: 0, retry_at: 0, interval_ms: 0 }
      await queries.upsertBackoffs(db, JSON.stringify([row]))
      backoff.succeeded(server)
      await backoff.flush()
    },
  }
}

function reportOf(row: queries.BackoffRow): DestinationReport {
  const { server, failing_since: since, retry_at: retryAt, interval_ms: pauseMs } = row
  if (since === 0) return { server }
  return { server, failing: { since, lastTriedAt: retryAt - pauseMs, retryAt, pauseMs } }
}
