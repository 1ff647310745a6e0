/** The rooms slice of servers that reach each other in memory; for tests. */
import { signingKeyFromSeed } from '../../spec/crypto/ed25519.ts'
import { MatrixError } from '../../spec/errors.ts'
import {
  parseDeviceId,
  parseServerName,
  parseUserId,
  type RoomId,
  type ServerName,
  type UserId,
} from '../../spec/ids.ts'
import { isObject, type JsonObject, objectAt } from '../../spec/json.ts'
import { type TestDatabase, testDatabase } from '../database/test-database.ts'
import { createEvents } from '../events/create-events.ts'
import type { Events } from '../events/events.ts'
import type { StoredEvent } from '../events/stored-event.ts'
import { systemClock } from '../platform/clock.ts'
import { silentLogger } from '../platform/log.ts'
import { systemRandom } from '../platform/random.ts'
import type { KeyRing, Remote } from '../ports.ts'
import { testStream } from '../stream/test-stream.ts'
import { createRooms, type EngineRooms, type RoomsNeeds } from './create-rooms.ts'
import { membershipRowOf } from './membership-row.ts'
import { createMemberships } from './memberships.ts'
import { createRemoteMembership, type RemoteMembership } from './remote-membership.ts'
import type { Memberships, Requester } from './rooms.ts'

/** The slice of one server. */
export interface TestRooms extends AsyncDisposable {
  readonly name: ServerName
  readonly events: Events
  readonly rooms: EngineRooms
  readonly memberships: Memberships
  readonly remoteMembership: RemoteMembership
  readonly database: TestDatabase
  readonly profiles: Map<UserId, JsonObject>
  /** What this server answers as a policy server; it is none when absent. */
  readonly policy: { sign?: (event: JsonObject) => JsonObject }
  /** Servers that do not answer. */
  readonly silent: Set<ServerName>
  /** Servers that leave out the members of a room, whatever they are asked for. */
  readonly sparing: Set<ServerName>
  /** A user of this server, with a device. */
  user(localpart: string): Requester
}

export type TestNetwork = Map<ServerName, TestRooms>

function keyOf(server: ServerName) {
  const seed = new Uint8Array(32)
  for (let at = 0; at < server.length; at++) seed[at % 32] = server.charCodeAt(at)
  return signingKeyFromSeed('ed25519:1', seed)
}

const keys: KeyRing = { verifyKey: async (server) => keyOf(server).publicKey }

export async function openTestRooms(
  given: string,
  network: TestNetwork = new Map(),
  more: Partial<RoomsNeeds> = {},
): Promise<TestRooms> {
  const name = parseServerName(given)
  const database = await testDatabase()
  const { db } = database
  const stream = testStream(db)
  const { writer, tail } = stream
  const profiles = new Map<UserId, JsonObject>()
  const silent = new Set<ServerName>()
  const sparing = new Set<ServerName>()
  const key = keyOf(name)
  const remote = remoteOver(name, network, { silent, sparing })
  const basis = {
    ...{ db, tail, keys, key, remote, writer, membershipRow: membershipRowOf },
    ...{ serverName: name, clock: systemClock, random: systemRandom },
  }
  const memberships = createMemberships(basis)
  const events = createEvents({ ...basis, log: silentLogger })
  const parts = { ...basis, log: writer, events, memberships }
  const rooms = createRooms({
    ...parts,
    profileOf: async (user) => profiles.get(user) ?? {},
    aliasOwner: (alias) => (alias.startsWith('#_bridge_') ? 'bridge' : undefined),
    ...more,
  })
  const remoteMembership = createRemoteMembership(parts)
  await stream.start()
  const server: TestRooms = {
    ...{ name, events, rooms, memberships, remoteMembership, database, profiles, silent, sparing },
    policy: {},
    user: (localpart) => ({
      user: parseUserId(`@${localpart}:${name}`),
      device: parseDeviceId('DEVICE'),
      guest: false,
      admin: false,
    }),
    async [Symbol.asyncDispose]() {
      await stream[Symbol.asyncDispose]()
      await database[Symbol.asyncDispose]()
    },
  }
  network.set(name, server)
  return server
}

/** Hands what happened in a room on one server to another, as its sender would. */
export async function deliver(from: TestRooms, to: TestRooms, room: RoomId): Promise<void> {
  const range = { after: 0, upTo: Number.MAX_SAFE_INTEGER, limit: 1_000 }
  const { events } = await from.events.timeline(room, range)
  await to.events.receive(
    from.name,
    room,
    events.map(({ pdu }) => pdu.json),
  )
}

/** The other servers of the network, asked by one of them. */
function remoteOver(
  self: ServerName,
  network: TestNetwork,
  { silent, sparing }: Pick<TestRooms, 'silent' | 'sparing'>,
): Remote {
  const peer = (server: ServerName): TestRooms => {
    const found = silent.has(server) ? undefined : network.get(server)
    if (found === undefined) throw new MatrixError('M_CONNECTION_FAILED', `${server} is away`)
    return found
  }
  const answers: Partial<Remote> = {
    makeJoin: async (server, ...asked) => peer(server).remoteMembership.makeJoin(self, ...asked),
    async sendJoin(server, room, _id, event) {
      const isSparing = sparing.has(server)
      const joined = await peer(server).remoteMembership.sendJoin(self, room, event, isSparing)
      return {
        ...(isSparing && { members_omitted: true }),
        event: joined.event.pdu.json,
        state: jsons(joined.state),
        auth_chain: jsons(joined.authChain),
        servers_in_room: joined.serversInRoom,
      }
    },
    makeLeave: async (server, room, user) =>
      peer(server).remoteMembership.makeLeave(self, room, user),
    sendLeave: async (server, room, _id, event) =>
      peer(server).remoteMembership.sendLeave(self, room, event),
    makeKnock: async (server, ...asked) => peer(server).remoteMembership.makeKnock(self, ...asked),
    async sendKnock(server, room, _id, event) {
      const state = await peer(server).remoteMembership.sendKnock(self, room, event)
      return { knock_room_state: state }
    },
    invite: async (server, room, eventId, body) =>
      peer(server).remoteMembership.receiveInvite(self, {
        ...{ room, eventId, event: body.event },
        roomVersion: body.room_version,
        inviteRoomState: body.invite_room_state,
      }),
    async exchangeThirdPartyInvite(server, room, { sender, state_key: user, content }) {
      const invite = isObject(content) && objectAt(content, 'third_party_invite')
      const signed = (invite && objectAt(invite, 'signed')) || {}
      const ids = { sender: parseUserId(sender), user: parseUserId(user) }
      await peer(server).rooms.exchangeInvite({ room, ...ids, signed })
    },
    async policySign(server, event) {
      const { sign } = peer(server).policy
      if (sign === undefined) throw new MatrixError('M_UNRECOGNIZED', 'no policy server')
      return sign(event)
    },
    async resolveAlias(server, alias) {
      const { room, servers } = await peer(server).rooms.resolveAlias(alias)
      return { room_id: room, servers }
    },
    ...eventAnswers(peer),
    hierarchy: async (server, room, suggestedOnly) =>
      peer(server).rooms.spaces.forServer(self, room, suggestedOnly),
  }
  return new Proxy(answers as Remote, {
    get(target, name) {
      const answer = Reflect.get(target, name)
      if (answer === undefined) throw new Error(`the test's network has no ${String(name)}`)
      return answer
    },
  })
}

function jsons(events: readonly { readonly pdu: { readonly json: JsonObject } }[]): JsonObject[] {
  return events.map(({ pdu }) => pdu.json)
}

/** What servers tell each other of events and state. */
function eventAnswers(peer: (server: ServerName) => TestRooms): Partial<Remote> {
  return {
    eventAuth: async (server, _room, id) => jsons(await peer(server).events.authChain([id])),
    missingEvents: async (server, room, { earliest, latest, limit, minDepth }) =>
      jsons(await peer(server).events.missingBetween(room, earliest, latest, limit, minDepth)),
    backfill: async (server, room, from, limit) =>
      jsons(await peer(server).events.backfillFrom(room, from, limit)),
    stateIds: async (server, _room, id) => {
      const { events } = peer(server)
      const root = (await events.get([id])).get(id)?.stateBefore
      const state = [...(await events.stateAt(root ?? 0)).values()]
      const chain = await events.authChain(state.map(({ pdu }) => pdu.eventId))
      const idsOf = (found: readonly StoredEvent[]) => found.map(({ pdu }) => pdu.eventId)
      return { pdu_ids: idsOf(state), auth_chain_ids: idsOf(chain) }
    },
    timestampToEvent: async (server, room, ts, dir) => {
      const keep = async (found: readonly StoredEvent[]) => found
      const event = await peer(server).events.closestTo(room, { ts, dir, keep })
      if (event === undefined) throw new MatrixError('M_NOT_FOUND', 'no event')
      return { event_id: event.pdu.eventId, origin_server_ts: event.pdu.originServerTs }
    },
  }
}
