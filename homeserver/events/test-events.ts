import { signingKeyFromSeed } from '../../spec/crypto/ed25519.ts'
import { MatrixError } from '../../spec/errors.ts'
import type { Pdu } from '../../spec/events/event.ts'
import {
  type EventId,
  parseServerName,
  type RoomId,
  type ServerName,
  serverOfUser,
  type UserId,
} from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import { authEventKeys } from '../../spec/room/auth-events.ts'
import { finishPdu } from '../../spec/room/event-format.ts'
import type { Database } from '../database/database.ts'
import { type TestDatabase, testDatabase } from '../database/test-database.ts'
import type { JobHandler, Jobs } from '../jobs/jobs.ts'
import { type Clock, systemClock } from '../platform/clock.ts'
import { silentLogger } from '../platform/log.ts'
import { systemRandom } from '../platform/random.ts'
import type { KeyRing, Remote } from '../ports.ts'
import type { LogWriter } from '../stream/log.ts'
import { createTail } from '../stream/tail.ts'
import { createLogWriter } from '../stream/writer.ts'
import { createEvents } from './create-events.ts'
import type { Events, LocalDraft } from './events.ts'
import type { MembershipRow } from './persist.ts'

/** The events slice of one server over a database of its own. */
export interface TestServer extends AsyncDisposable {
  readonly name: ServerName
  readonly events: Events
  readonly database: TestDatabase
}

/** A server that does its jobs when a test says so. */
export interface TestWorker extends TestServer {
  /** Does the jobs that are stored, whenever they are due; of one kind, or all. */
  work(kind?: string): Promise<void>
}

const keyId = 'ed25519:1'

function keyOf(server: ServerName) {
  const seed = new Uint8Array(32).fill(server.length)
  for (let at = 0; at < server.length; at++) seed[at % 32] = server.charCodeAt(at)
  return signingKeyFromSeed(keyId, seed)
}

const keys: KeyRing = { verifyKey: async (server) => keyOf(server).publicKey }

/** What an engine of a server needs beside its database and its log. */
export function testNeeds(serverName: ServerName, peers: Map<ServerName, Events>) {
  const membershipRow: MembershipRow = ({ pdu, nr }) => ({
    room_id: pdu.roomId,
    user_id: pdu.stateKey ?? '',
    membership: pdu.content['membership'] ?? '',
    event_id: pdu.eventId,
    event_nr: nr,
    sender: pdu.sender,
  })
  const key = keyOf(serverName)
  return { serverName, key, keys, remote: remoteOver(peers), membershipRow }
}

/** Servers reach each other through `peers`; questions that no test asks are refused. */
export async function openTestServer(
  name: string,
  peers = new Map<ServerName, Events>(),
  clock: Clock = systemClock,
): Promise<TestWorker> {
  const serverName = parseServerName(name)
  const database = await testDatabase()
  const { db } = database
  const self = systemRandom.text(6)
  const basis = { db, clock: systemClock, log: silentLogger, random: systemRandom }
  const tail = createTail({ ...basis, self })
  const writer = createLogWriter({ ...basis, tail, processes: { self, alone: true } })
  const jobs = testJobs(db, writer)
  const events = createEvents({
    ...testNeeds(serverName, peers),
    ...basis,
    clock,
    writer,
    tail,
    jobs,
  })
  await tail.start()
  peers.set(serverName, events)
  return {
    work: jobs.work,
    name: serverName,
    events,
    database,
    async [Symbol.asyncDispose]() {
      await writer[Symbol.asyncDispose]()
      await tail[Symbol.asyncDispose]()
      await database[Symbol.asyncDispose]()
    },
  }
}

/** Jobs that are done when a test says so. */
function testJobs(db: Database, writer: LogWriter) {
  const handlers = new Map<string, JobHandler>()
  let count = 0
  const row: Jobs['row'] = (kind, payload, { id = `job ${++count}`, runAtMs = 0 } = {}) => ({
    ...{ id, kind, payload, run_at_ms: Math.floor(runAtMs) },
  })
  return {
    row,
    handle: (kind: string, handler: JobHandler) => void handlers.set(kind, handler),
    wake() {},
    async work(only?: string) {
      const rows = await db.query<{ id: string; kind: string; payload: JsonObject }>(
        'select id, kind, payload from jobs where $1::text is null or kind = $1 order by run_at',
        [only ?? null],
      )
      for (const { id, kind, payload } of rows) {
        const effect = await handlers.get(kind)?.({ id, payload, attempts: 1 })
        const tables = { ...effect?.tables, jobs_done: [{ id }] }
        await writer.write({ entries: [], ...effect, tables })
      }
    },
  }
}

function remoteOver(peers: Map<ServerName, Events>): Remote {
  const peer = (server: ServerName): Events => {
    const events = peers.get(server)
    if (events === undefined) throw new MatrixError('M_CONNECTION_FAILED', `${server} is away`)
    return events
  }
  const answers: Partial<Remote> = {
    async getEvent(server, id) {
      const event = (await peer(server).get([id])).get(id)
      if (event === undefined) throw new MatrixError('M_NOT_FOUND', 'no such event')
      return event.pdu.json
    },
    async eventAuth(server, _room, id) {
      return (await peer(server).authChain([id])).map(({ pdu }) => pdu.json)
    },
    async missingEvents(server, room, { earliest, latest, limit, minDepth }) {
      const found = await peer(server).missingBetween(room, earliest, latest, limit, minDepth)
      return found.map(({ pdu }) => pdu.json)
    },
    async backfill(server, room, from, limit) {
      return (await peer(server).backfillFrom(room, from, limit)).map(({ pdu }) => pdu.json)
    },
    async stateIds(server, _room, id) {
      const events = peer(server)
      const root = (await events.get([id])).get(id)?.stateBefore ?? 0
      const ids = [...(await events.stateAt(root)).values()].map(({ pdu }) => pdu.eventId)
      const chain = (await events.authChain(ids)).map(({ pdu }) => pdu.eventId)
      return { pdu_ids: ids, auth_chain_ids: chain }
    },
    async state(server, _room, id) {
      const events = peer(server)
      const root = (await events.get([id])).get(id)?.stateBefore ?? 0
      const state = [...(await events.stateAt(root)).values()]
      const chain = await events.authChain(state.map(({ pdu }) => pdu.eventId))
      return {
        pdus: state.map(({ pdu }) => pdu.json),
        auth_chain: chain.map(({ pdu }) => pdu.json),
      }
    },
  }
  return new Proxy(answers as Remote, {
    get(target, name) {
      const answer = Reflect.get(target, name)
      if (answer === undefined) throw new Error(`the test's network has no ${String(name)}`)
      return answer
    },
  })
}

/** A public room of `owner` with the usual first events. */
export async function testRoom(server: TestServer, owner: UserId, version = '12'): Promise<RoomId> {
  const state = (type: string, content: JsonObject, stateKey = ''): LocalDraft => ({
    type,
    stateKey,
    sender: owner,
    content,
  })
  const creator: JsonObject = version === '12' || version === '11' ? {} : { creator: owner }
  const users: JsonObject = version === '12' ? {} : { [owner]: 100 }
  const { room } = await server.events.createRoom(
    { version, sender: owner, content: { room_version: version, ...creator } },
    () => [
      state('m.room.member', { membership: 'join' }, owner),
      state('m.room.power_levels', { users }),
      state('m.room.join_rules', { join_rule: 'public' }),
      state('m.room.history_visibility', { history_visibility: 'shared' }),
    ],
  )
  return room
}

/** Appends a message and answers its event. */
export function say(server: TestServer, room: RoomId, sender: UserId, body: string) {
  return server.events.append(room, () => ({
    kind: 'append',
    draft: { type: 'm.room.message', sender, content: { msgtype: 'm.text', body } },
  }))
}

/** Appends a state event. */
export function setState(
  server: TestServer,
  room: RoomId,
  sender: UserId,
  type: string,
  stateKey: string,
  content: JsonObject,
) {
  return server.events.append(room, () => ({
    kind: 'append',
    draft: { type, stateKey, sender, content },
  }))
}

/** An event of a server's user as the server might make it, wherever in the graph; it is not stored. */
export async function forge(
  server: TestServer,
  room: RoomId,
  draft: LocalDraft & { prev: readonly EventId[]; auth?: readonly EventId[]; depth?: number },
): Promise<Pdu> {
  const rules = await server.events.rulesOf(room)
  if (rules === undefined) throw new Error('unknown room')
  const state = await server.events.currentState(room)
  const auth = authEventKeys(draft, rules).flatMap((key) => state.get(key)?.pdu.eventId ?? [])
  const { type, sender, content, stateKey, redacts } = draft
  const json: JsonObject = {
    ...{ type, sender, room_id: room, prev_events: draft.prev, auth_events: draft.auth ?? auth },
    content: redacts === undefined ? content : { ...content, redacts },
    depth: draft.depth ?? 100,
    origin_server_ts: Date.now(),
    ...(stateKey !== undefined && { state_key: stateKey }),
  }
  return finishPdu(json, rules, server.name, keyOf(server.name))
}

/** A user of another server joins a room by that server, as make_join and send_join would do it. */
export async function joinOver(
  joining: TestServer,
  resident: TestServer,
  room: RoomId,
  user: UserId,
  /** Without the members, and with these servers said to be in the room. */
  partial?: { readonly origin: ServerName; readonly servers: readonly ServerName[] },
) {
  if (serverOfUser(user) !== joining.name) throw new Error('not a user of the joining server')
  const rules = await resident.events.rulesOf(room)
  if (rules === undefined) throw new Error('unknown room')
  const draft: LocalDraft = {
    type: 'm.room.member',
    stateKey: user,
    sender: user,
    content: { membership: 'join' },
  }
  // The resident builds it on its own tips; the joining server signs it.
  const template = await resident.events.prepare(room, () => ({ kind: 'append', draft }))
  const { hashes: _h, signatures: _s, ...members } = template.json
  const join = finishPdu(members, rules, joining.name, keyOf(joining.name))
  const receipts = await resident.events.receive(joining.name, room, [join.json])
  const stored = (await resident.events.get([join.eventId])).get(join.eventId)
  const state = [...(await resident.events.stateAt(stored?.stateBefore ?? 0)).values()]
  const chain = await resident.events.authChain([
    join.eventId,
    ...state.map(({ pdu }) => pdu.eventId),
  ])
  const event = await joining.events.importRoom({
    room,
    rules,
    join,
    origin: resident.name,
    state: state
      .filter(({ pdu }) => partial === undefined || pdu.type !== 'm.room.member')
      .map(({ pdu }) => pdu.json),
    authChain: chain.map(({ pdu }) => pdu.json),
    ...(partial && { origin: partial.origin, partial: { servers: partial.servers } }),
  })
  return { receipts, event }
}
