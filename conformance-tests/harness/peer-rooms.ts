/** How a scripted peer serves the rooms it has: join, leave, invite, and everything about events and state. */
import type { Body } from './http.ts'
import { isBody } from './http.ts'
import { eventId } from './pdu.ts'
import type { Handler } from './peer.ts'
import type { PeerRoom } from './room-builder.ts'

const federation = '^/_matrix/federation/v'

interface Served {
  readonly name: string
  readonly rooms: Map<string, PeerRoom>
  on(method: string, pattern: RegExp, handler: Handler): void
  signEvent(event: Body, version: string): Body
}

const path = (rest: string) => new RegExp(`${federation}${rest}$`)
const list = (value: unknown): string[] => (Array.isArray(value) ? value.map(String) : [])

/** Adds the handlers; a test's own come first because later ones win. */
export function serveRooms(peer: Served): void {
  const { rooms, name, on } = peer
  const withRoom =
    (
      handler: (
        room: PeerRoom,
        request: Parameters<Handler>[0],
        match: RegExpExecArray,
      ) => Body | undefined,
    ): Handler =>
    (request, match) => {
      const room = rooms.get(match[1] ?? '')
      return room && handler(room, request, match)
    }
  const findEvent = (id: string) => [...rooms.values()].find(({ events }) => events.has(id))
  const wrapped = (pdus: readonly Body[]) => ({ origin: name, origin_server_ts: Date.now(), pdus })

  function makeMembership(membership: string): Handler {
    return withRoom((room, _, match) => {
      const user = match[2] ?? ''
      const content = { membership }
      const event = room.template({ type: 'm.room.member', sender: user, stateKey: user, content })
      return { room_version: room.version, event: { ...event, origin: name } }
    })
  }

  function accept(room: PeerRoom, json: Body): Body {
    const before = room.state
    room.add({ id: eventId(json, room.version), json })
    return {
      origin: name,
      event: json,
      members_omitted: false,
      state: room.jsonOf(before.values()),
      auth_chain: room.jsonOf(room.authChain(before.values())),
    }
  }

  on('GET', path('1/make_join/([^/]+)/([^/]+)'), makeMembership('join'))
  on('GET', path('1/make_leave/([^/]+)/([^/]+)'), makeMembership('leave'))
  on('GET', path('1/make_knock/([^/]+)/([^/]+)'), makeMembership('knock'))
  on(
    'PUT',
    path('2/send_join/([^/]+)/([^/]+)'),
    withRoom((room, { body }) => accept(room, body)),
  )
  on(
    'PUT',
    path('2/send_leave/([^/]+)/([^/]+)'),
    withRoom((room, { body }) => accept(room, body) && {}),
  )
  on('PUT', path('2/invite/([^/]+)/([^/]+)'), ({ body }) => {
    const event = isBody(body['event']) ? body['event'] : {}
    return { event: peer.signEvent(event, String(body['room_version'])) }
  })
  on('GET', path('1/event/([^/]+)'), (_, match) => {
    const room = findEvent(match[1] ?? '')
    return room && wrapped(room.jsonOf([match[1] ?? '']))
  })
  on(
    'GET',
    path('1/state_ids/([^/]+)'),
    withRoom((room, { query }) => {
      const state = room.before.get(query.get('event_id') ?? '')
      return (
        state && { pdu_ids: [...state.values()], auth_chain_ids: room.authChain(state.values()) }
      )
    }),
  )
  on(
    'GET',
    path('1/state/([^/]+)'),
    withRoom((room, { query }) => {
      const state = room.before.get(query.get('event_id') ?? '')
      if (!state) return undefined
      return {
        pdus: room.jsonOf(state.values()),
        auth_chain: room.jsonOf(room.authChain(state.values())),
      }
    }),
  )
  on(
    'GET',
    path('1/event_auth/([^/]+)/([^/]+)'),
    withRoom((room, _, match) => ({ auth_chain: room.jsonOf(room.authChain([match[2] ?? ''])) })),
  )
  on(
    'GET',
    path('1/backfill/([^/]+)'),
    withRoom((room, { query }) =>
      wrapped(room.jsonOf(room.walkBack(query.getAll('v'), [], Number(query.get('limit') ?? 10)))),
    ),
  )
  on(
    'POST',
    path('1/get_missing_events/([^/]+)'),
    withRoom((room, { body }) => {
      const latest = list(body['latest_events'])
      const from = latest.flatMap((id) => room.idsOf(room.events.get(id)?.['prev_events']))
      const found = room.walkBack(from, list(body['earliest_events']), Number(body['limit'] ?? 10))
      return { events: room.jsonOf(found.reverse()) }
    }),
  )
}
