import { readFileSync } from 'node:fs'
import { afterAll, describe, expect, it } from 'vitest'
import { type Pdu, type StateKey, stateKeyOf } from '../../spec/events/event.ts'
import {
  type EventId,
  parseEventId,
  parseUserId,
  type RoomId,
  serverOfUser,
  type UserId,
} from '../../spec/ids.ts'
import { testDatabase } from '../database/test-database.ts'
import { createSnapshots, readCurrentState } from '../state/state.ts'
import { createNumbers, type Numbers } from './numbers.ts'
import { currentStateRow, eventRow } from './persist.ts'
import { applyOutsideLog, findRoom } from './queries.ts'
import type { StatePayload } from './room-views.ts'
import type { StoredEvent } from './stored-event.ts'
import { say, setState, testNeeds, testRoom } from './test-events.ts'
import { openTestProcess } from './test-processes.ts'

/** `LARGE_STATE=100000` gives the figures of docs/benchmarks.md. */
const { LARGE_STATE: manyText = '10000' } = process.env
const many = Number(manyText)
const few = 100
/** Events that are measured together; the users of this server change their membership in turn. */
const sample = 400
const ownUsers = 100
const servers = 1_000
const rounds = 3
const atOnce = 16
const chunkRows = 1_000
const tickMs = 10
/** How much more than in a small room an event may cost. */
const factorMax = 3

const database = await testDatabase()
const { db } = database
const server = await openTestProcess('a.example', database)
await server.start()
afterAll(async () => {
  await server[Symbol.asyncDispose]()
  await database[Symbol.asyncDispose]()
})
const alice = parseUserId('@alice:a.example')

function userOf(at: number): UserId {
  const name = at < ownUsers ? 'a.example' : `s${at % servers}.example`
  return parseUserId(`@member${at}:${name}`)
}

function membership(room: RoomId, user: UserId, content: { membership: string }) {
  return setState(server, room, user, 'm.room.member', user, content)
}

/** A member event as it is stored; nobody looks at its signature again. */
function storedMember(room: RoomId, auth: readonly EventId[], at: number, nr: number): StoredEvent {
  const user = userOf(at)
  const pdu: Pdu = {
    eventId: parseEventId(`$${room.slice(1, 9)}${`${at}`.padStart(35, 'm')}`),
    roomId: room,
    sender: user,
    type: 'm.room.member',
    stateKey: user,
    content: { membership: 'join', displayname: `Member ${at}` },
    depth: 5,
    originServerTs: 1_700_000_000_000 + at,
    prevEvents: [...auth.slice(0, 1)],
    authEvents: auth,
    json: {},
  }
  const json = {
    ...{ type: pdu.type, room_id: room, sender: user, state_key: user, content: pdu.content },
    ...{ depth: pdu.depth, origin_server_ts: pdu.originServerTs },
    ...{ prev_events: pdu.prevEvents, auth_events: auth, hashes: { sha256: 'A'.repeat(43) } },
    signatures: { [serverOfUser(user)]: { 'ed25519:1': 'A'.repeat(86) } },
  }
  return { nr, pdu, text: JSON.stringify(json), softFailed: false }
}

/** Writes members of a room as a join of the room writes them, and adds them to its state. */
async function writeMembers(
  room: RoomId,
  count: number,
  numbers: Numbers,
  state: Map<StateKey, number>,
): Promise<void> {
  const current = await server.events.currentState(room)
  const auth = ['m.room.power_levels', 'm.room.join_rules'].flatMap(
    (type) => current.get(stateKeyOf(type, ''))?.pdu.eventId ?? [],
  )
  const { membershipRow } = testNeeds(server.name, new Map())
  for (let from = 0; from < count; from += chunkRows) {
    const length = Math.min(chunkRows, count - from)
    await numbers.ready(length)
    const events = Array.from({ length }, (_, at) =>
      storedMember(room, auth, from + at, numbers.take()),
    )
    const changes = events.map(({ nr, pdu }): [StateKey, number] => [
      stateKeyOf(pdu.type, pdu.stateKey ?? ''),
      nr,
    ])
    for (const [key, nr] of changes) state.set(key, nr)
    const currentRows = changes.map((change) => ({ ...currentStateRow(room, change), i: 0 }))
    const memberRows = events.map((event) => ({ ...membershipRow(event), i: 0 }))
    const eventRows = events.map((event) => eventRow(event))
    await applyOutsideLog(db, 'events', JSON.stringify(eventRows))
    await applyOutsideLog(db, 'current_state', JSON.stringify(currentRows))
    await applyOutsideLog(db, 'memberships', JSON.stringify(memberRows))
  }
}

/** A room into which so many came before anybody looked. */
async function roomOf(count: number): Promise<RoomId> {
  const room = await testRoom(server, alice)
  const numbers = createNumbers({ db })
  const snapshots = createSnapshots({
    db,
    nextId: () => numbers.take(),
    reserve: (wanted) => numbers.ready(wanted),
    keyOf: async () => stateKeyOf('no two keys', 'share a hash'),
  })
  const state = await readCurrentState(db, room)
  await writeMembers(room, count, numbers, state)
  const { root, rows: nodes } = await snapshots.create(state)
  for (let at = 0; at < nodes.length; at += chunkRows)
    await applyOutsideLog(db, 'state_nodes', JSON.stringify(nodes.slice(at, at + chunkRows)))
  const head = await findRoom(db, room)
  if (head === undefined) throw new Error('the room is gone')
  const { version, extremities, depth } = head
  const payload: StatePayload = { changes: [], isAll: true }
  const verdict = await server.stream.writer.write({
    claim: { room },
    entries: [{ kind: 'state', room, ref: '*', payload }],
    tables: { room_heads: [{ room_id: room, version, extremities, depth, state_root: root }] },
  })
  expect(verdict.kind).toBe('done')
  return room
}

interface Cost {
  /** CPU of an event in this process and in the database, in ms. */
  readonly cpuMs: number
  readonly databaseMs: number
  /** What an event adds to the database. */
  readonly bytes: number
}

async function used(): Promise<Cost> {
  const { user, system } = process.cpuUsage()
  const pids = await db.query<{ pid: number }>(
    'select pid from pg_stat_activity where datname = current_database()',
    [],
  )
  const [size] = await db.query<{ bytes: number }>(
    `select sum(pg_total_relation_size(c.oid))::float8 as bytes
     from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where c.relkind = 'r' and n.nspname = 'public'`,
    [],
  )
  return {
    cpuMs: (user + system) / 1_000,
    databaseMs: pids.reduce((sum, { pid }) => sum + backendMs(pid), 0),
    bytes: size?.bytes ?? 0,
  }
}

/** CPU of a process of the database on this machine; 0 where /proc does not tell. */
function backendMs(pid: number): number {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    return (Number(fields[11]) + Number(fields[12])) * tickMs
  } catch {
    return 0
  }
}

async function costOf(work: (at: number) => Promise<unknown>): Promise<Cost> {
  const before = await used()
  for (let from = 0; from < sample; from += atOnce) {
    const length = Math.min(atOnce, sample - from)
    await Promise.all(Array.from({ length }, (_, at) => work(from + at)))
  }
  const after = await used()
  return {
    cpuMs: (after.cpuMs - before.cpuMs) / sample,
    databaseMs: (after.databaseMs - before.databaseMs) / sample,
    bytes: (after.bytes - before.bytes) / sample,
  }
}

/** What things cost in each room: the rooms take turns, and the least CPU counts. */
async function compare(
  rooms: readonly RoomId[],
  work: (room: RoomId, at: number, round: number) => Promise<unknown>,
): Promise<readonly Cost[]> {
  const costs = rooms.map((): Cost[] => [])
  for (let round = 0; round < rounds; round++) {
    for (const [index, room] of rooms.entries())
      costs[index]?.push(await costOf((at) => work(room, at, round)))
  }
  return costs.map((all) => ({
    cpuMs: Math.min(...all.map(({ cpuMs }) => cpuMs)),
    databaseMs: Math.min(...all.map(({ databaseMs }) => databaseMs)),
    bytes: all.reduce((sum, { bytes }) => sum + bytes, 0) / rounds,
  }))
}

/** Tells what was measured; answers how much more an event costs in the second room. */
function factorOf(what: string, costs: readonly Cost[]): number {
  const [small = 0, large = 0] = costs.map(({ cpuMs, databaseMs }) => cpuMs + databaseMs)
  const figures = costs.map(
    ({ cpuMs, databaseMs, bytes }) =>
      `${cpuMs.toFixed(2)} + ${databaseMs.toFixed(2)} ms, ${bytes.toFixed(0)} bytes`,
  )
  process.stdout.write(`${what}: ${figures.join(' | ')}\n`)
  return large / small
}

describe('a room with very much state', () => {
  it('takes events at little more than a small room does', { timeout: 300_000 }, async () => {
    const rooms = [await roomOf(few), await roomOf(many)]
    const [, large] = rooms
    if (large === undefined) throw new Error('there is no room')
    expect((await readCurrentState(db, large)).size).toBe(many + 5)
    const messages = await compare(rooms, (room, at) => say(server, room, alice, `number ${at}`))
    const seats = await compare(rooms, (room, at, round) =>
      setState(server, room, alice, 'org.example.seat', `${at % ownUsers}`, { at, round }),
    )
    const members = await compare(rooms, async (room, at) => {
      const isLeaving = Math.floor(at / ownUsers) % 2 === 0
      const content = { membership: isLeaving ? 'leave' : 'join' }
      await membership(room, userOf(at % ownUsers), content)
      return await server.events.serversIn(room)
    })
    const factors = {
      message: factorOf('message', messages),
      state: factorOf('state event', seats),
      member: factorOf('member event', members),
    }
    expect(Math.max(...Object.values(factors)), JSON.stringify(factors)).toBeLessThan(factorMax)
  })
})
