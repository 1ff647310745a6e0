/** One server of a simulation: the engine's rooms over a database, the border's way in and its way out. */
import type { Database } from '../../homeserver/database/database.ts'
import {
  createDestinations,
  type Destinations,
} from '../../homeserver/destinations/destinations.ts'
import { createEvents } from '../../homeserver/events/create-events.ts'
import type { Events } from '../../homeserver/events/events.ts'
import { isEventPayload } from '../../homeserver/events/room-views.ts'
import type { StoredEvent } from '../../homeserver/events/stored-event.ts'
import { type Logger, silentLogger } from '../../homeserver/platform/log.ts'
import { seededRandom } from '../../homeserver/platform/random.ts'
import type { KeyRing } from '../../homeserver/ports.ts'
import { createRooms, type EngineRooms } from '../../homeserver/rooms/create-rooms.ts'
import { membershipRowOf } from '../../homeserver/rooms/membership-row.ts'
import { createMemberships } from '../../homeserver/rooms/memberships.ts'
import { createRemoteMembership } from '../../homeserver/rooms/remote-membership.ts'
import { createTail } from '../../homeserver/stream/tail.ts'
import { createLogWriter } from '../../homeserver/stream/writer.ts'
import { signingKeyFromSeed } from '../../spec/crypto/ed25519.ts'
import { MatrixError } from '../../spec/errors.ts'
import type { EventId, ServerName } from '../../spec/ids.ts'
import { parseJson } from '../../spec/json.ts'
import { createAccess } from '../access.ts'
import { createEdus } from '../edus.ts'
import { createRemote } from '../remote.ts'
import { createRouter } from '../router.ts'
import { eventRoutes } from '../routes/events.ts'
import { membershipRoutes } from '../routes/membership.ts'
import { transactionRoutes } from '../routes/transactions.ts'
import { createSender } from '../sender.ts'
import { createTransactions } from '../transaction.ts'
import type { Network, Serve } from './test-network.ts'
import type { Schedule } from './test-schedule.ts'

export interface SimServer extends AsyncDisposable {
  readonly name: ServerName
  readonly events: Events
  readonly rooms: EngineRooms
  readonly destinations: Destinations
  /** What came into timelines here, in order. */
  readonly shown: StoredEvent[]
}

export interface SimServerNeeds {
  readonly name: ServerName
  readonly database: Database
  readonly schedule: Schedule
  readonly network: Network
  readonly seed: number
  /** How wrong its clock is. */
  readonly skewMs?: () => number
  /** Told of what must not happen. */
  readonly onCrash: (what: unknown) => void
}

const requestDepthMax = 50

function keyOf(server: ServerName) {
  const seed = new Uint8Array(32)
  for (let at = 0; at < server.length; at++) seed[at % 32] = server.charCodeAt(at)
  return signingKeyFromSeed('ed25519:1', seed)
}

const keys: KeyRing = { verifyKey: async (server) => keyOf(server).publicKey }
const nothing = async () => {}

export async function openSimServer(needs: SimServerNeeds): Promise<SimServer> {
  const { name, schedule, network, seed, onCrash } = needs
  const db = schedule.watched(needs.database)
  const clock = schedule.clock(needs.skewMs)
  const random = seededRandom(`${seed} ${name} ${schedule.now}`)
  const self = random.text(12)
  const log: Logger = { ...silentLogger, error: (fields, what) => onCrash({ name, what, fields }) }
  const tail = createTail({ db, clock, log, self })
  const writer = createLogWriter({ db, tail, processes: { self, alone: true }, clock, log, random })
  const destinations = await createDestinations({ db, clock, log })
  const { backoff, inbound } = destinations
  const client = network.client(name, { backoff, clock })
  const key = keyOf(name)
  const basis = {
    ...{ db, tail, keys, key, writer, clock, random, serverName: name },
    ...{ remote: createRemote({ client }), membershipRow: membershipRowOf },
  }
  const memberships = createMemberships(basis)
  const events = createEvents({ ...basis, log })
  const parts = { ...basis, log: writer, events, memberships }
  const rooms = createRooms({ ...parts, profileOf: async () => ({}) })
  const membership = createRemoteMembership(parts)
  const access = createAccess({ events })
  const edus = createEdus({
    handlers: {
      ...{ typing: nothing, receipts: nothing, presence: nothing },
      ...{ toDevice: nothing, deviceList: nothing, signingKeys: nothing },
    },
    access,
    clock,
    log,
  })
  const transactions = createTransactions({ events, membership, access, edus, inbound, log })
  const find = createRouter([
    ...transactionRoutes({ transactions }),
    ...eventRoutes({ serverName: name, events, access, clock }),
    ...membershipRoutes({ serverName: name, access, membership, thirdParty: rooms }),
  ])
  const processes = { self, alone: true, ownerOf: () => undefined }
  const sender = createSender({
    ...{ serverName: name, client, destinations, events, tail, processes, clock, log },
  })
  const shown: StoredEvent[] = []
  tail.subscribe('simulation', (rows) => {
    for (const { payload } of rows) if (isEventPayload(payload)) shown.push(payload.event)
  })

  const serve: Serve = async (origin, { method, path, body }) => {
    try {
      const url = new URL(path, 'https://server')
      const match = find(method, url.pathname)
      if (match.kind !== 'route') throw new MatrixError('M_UNRECOGNIZED', path, { status: 404 })
      backoff.succeeded(origin)
      const content =
        body === undefined
          ? undefined
          : parseJson(body, { depthMax: requestDepthMax, integralFloats: 'poison' })
      const parts = { params: match.params, query: queryOf(url), body: content }
      const text = await match.route.serve(parts, origin)
      if (typeof text !== 'string') throw new Error('the simulation carries no media')
      return { status: 200, text }
    } catch (error) {
      if (!(error instanceof MatrixError)) onCrash(error)
      const shownError = error instanceof MatrixError ? error : new MatrixError('M_UNKNOWN', '')
      return { status: shownError.status, text: JSON.stringify(shownError) }
    }
  }

  await tail.start()
  network.connect(name, serve)
  await sender.start()
  return {
    ...{ name, events, rooms, destinations, shown },
    async [Symbol.asyncDispose]() {
      network.disconnect(name)
      await sender[Symbol.asyncDispose]()
      await destinations.dropCursors([self])
      await writer[Symbol.asyncDispose]()
      await tail[Symbol.asyncDispose]()
      await destinations[Symbol.asyncDispose]()
    },
  }
}

function queryOf({ searchParams }: URL): Record<string, string | readonly string[]> {
  const query: Record<string, string | readonly string[]> = {}
  for (const name of new Set(searchParams.keys())) {
    const values = searchParams.getAll(name)
    query[name] = values.length === 1 ? (values[0] ?? '') : values
  }
  return query
}

/** Ids of what came into a server's timelines. */
export function idsShown({ shown }: SimServer): EventId[] {
  return shown.map(({ pdu }) => pdu.eventId)
}
