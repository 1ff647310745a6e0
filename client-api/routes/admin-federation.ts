import type {
  Administration,
  DestinationReport,
} from '../../homeserver/destinations/administration.ts'
import type { Requester } from '../../homeserver/rooms/rooms.ts'
import * as api from '../../spec/api/client/admin-federation.ts'
import { forbidden, MatrixError, notFound } from '../../spec/errors.ts'
import type { ServerName } from '../../spec/ids.ts'
import { route } from '../router.ts'

interface Needs {
  readonly destinations: Administration
}

/** For operators: which servers do not answer, what they miss, and that one is to be tried again. */
export const federationAdminRoutes = ({ destinations }: Needs) => [
  route(api.listDestinations, async ({ query }, who) => {
    requireAdmin(who)
    const { from, limit, dir, destination: contains, order_by: orderBy } = query
    const { servers, total } = await destinations.list({
      contains,
      // How far a server has everything is not kept as one number.
      orderBy: orderBy === 'last_successful_stream_ordering' ? 'destination' : orderBy,
      backwards: dir === 'b',
      isFailing: false,
      from,
      limit,
    })
    return { destinations: servers.map(reportOf), total, ...nextPage(from, servers.length, total) }
  }),
  route(api.getDestination, async ({ params: { destination } }, who) => {
    requireAdmin(who)
    return reportOf(await get(destinations, destination))
  }),
  route(api.getDestinationRooms, async ({ params: { destination }, query }, who) => {
    requireAdmin(who)
    await get(destinations, destination)
    const { from, limit, dir } = query
    const page = { from, limit, backwards: dir === 'b' }
    const { rooms, total } = await destinations.rooms(destination, page)
    return {
      rooms: rooms.map(({ room, last }) => ({ room_id: room, stream_ordering: last })),
      total,
      ...nextPage(from, rooms.length, total),
    }
  }),
  route(api.resetDestination, async ({ params: { destination } }, who) => {
    requireAdmin(who)
    const { failing } = await get(destinations, destination)
    if (!failing) {
      const why = 'The retry timing does not need to be reset for this destination.'
      throw new MatrixError('M_UNKNOWN', why, { status: 400 })
    }
    await destinations.reset(destination)
    return {}
  }),
]

function requireAdmin({ admin }: Requester): void {
  if (!admin) throw forbidden('You are not a server admin')
}

async function get(destinations: Administration, server: ServerName): Promise<DestinationReport> {
  const found = await destinations.find(server)
  if (found === undefined) throw notFound('destination')
  return found
}

function reportOf({ server, failing }: DestinationReport) {
  return {
    destination: server,
    retry_last_ts: failing?.lastTriedAt ?? 0,
    retry_interval: failing?.pauseMs ?? 0,
    failure_ts: failing?.since ?? null,
    last_successful_stream_ordering: null,
  }
}

function nextPage(from: number, count: number, total: number): { next_token?: string } {
  return count > 0 && from + count < total ? { next_token: String(from + count) } : {}
}
