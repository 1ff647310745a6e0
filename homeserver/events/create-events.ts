/** The events slice, built in order from its parts. */
import type { SigningKey } from '../../spec/crypto/ed25519.ts'
import { type StateKey, stateKeyOf } from '../../spec/events/event.ts'
import {
  isEventId,
  isServerName,
  parseEventId,
  type RoomId,
  type ServerName,
  type UserId,
} from '../../spec/ids.ts'
import type { Database } from '../database/database.ts'
import type { Jobs } from '../jobs/jobs.ts'
import type { Clock } from '../platform/clock.ts'
import type { Logger } from '../platform/log.ts'
import type { Random } from '../platform/random.ts'
import type { KeyRing, Remote } from '../ports.ts'
import { createSnapshots, readCurrentTypes } from '../state/state.ts'
import type { LogRow, LogWriter, Tail } from '../stream/log.ts'
import type { RunningProcesses } from '../stream/processes.ts'
import { createAcceptor } from './accept.ts'
import { createActivities } from './activity.ts'
import { createAdmission } from './admission.ts'
import { createAftermath } from './aftermath.ts'
import { createAskMissing } from './asking.ts'
import { createBackfill } from './backfill.ts'
import { createBulkVerifier } from './bulk-verify.ts'
import { createCompletion } from './completing.ts'
import { createEntering } from './entering.ts'
import type { EventPayload, Events } from './events.ts'
import { createGaps } from './gaps.ts'
import { createHistory } from './history.ts'
import { createImporter } from './import.ts'
import { joinedServers } from './joined-servers.ts'
import { joinBranches } from './joining-branches.ts'
import { createLocalEvents } from './local.ts'
import { newestEvents } from './newest-queries.ts'
import { createNumbers } from './numbers.ts'
import { createOutliers } from './outliers.ts'
import { createPartialRooms, isCompletion, type PartialRooms } from './partial-rooms.ts'
import { eventRow, type MembershipRow, membershipPrefix, readEventRef } from './persist.ts'
import { createPlacing } from './placing.ts'
import { createPolicy } from './policy.ts'
import { isPurge, reducedIn } from './purged.ts'
import { createPurges } from './purges.ts'
import { applyOutsideLog, findRoom, validRedactions } from './queries.ts'
import { createReceiver } from './receive.ts'
import { reduceRedacted } from './reducing.ts'
import { createRelations } from './relations.ts'
import { createResolver, loadChains } from './resolution.ts'
import { createRoomViews, type StateChange, type StatePayload } from './room-views.ts'
import { createEventStore } from './store.ts'
import type { StoredEvent } from './stored-event.ts'
import { createTimelines } from './timelines.ts'
import { createTimestamps } from './timestamp.ts'
import { createTurns } from './turns.ts'
import { createVerifier } from './verify.ts'
import { createVisibility } from './visible.ts'

export interface EventsNeeds {
  readonly serverName: ServerName
  readonly key: SigningKey
  readonly db: Database
  readonly writer: LogWriter
  readonly tail: Tail
  readonly keys: KeyRing
  readonly remote: Remote
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly membershipRow: MembershipRow
  /** What is to be done later; nothing is when absent. */
  readonly jobs?: Pick<Jobs, 'row' | 'handle' | 'wake'>
  /** How long the content of a redacted event is kept, in ms. */
  readonly redactionRetentionMs?: number
  /** The other processes of this server; none when absent. */
  readonly processes?: Pick<RunningProcesses, 'alone' | 'ownerOf' | 'onChange'>
  /** Rooms whose members are not all known; its own when absent. */
  readonly partial?: PartialRooms
  /** Whom a user ignores; nobody does when absent. */
  readonly ignoredUsers?: (user: UserId) => Promise<ReadonlySet<UserId>>
}

const redactionRetentionDefaultMs = 7 * 24 * 3_600_000

/** Builds the slice; before the tail starts, since it sets the loaders of its kinds. */
export function createEvents(given: EventsNeeds): Events {
  const { db, tail, membershipRow, serverName } = given
  const { partial = createPartialRooms(given) } = given
  const numbers = createNumbers(given)
  const store = createEventStore(given)
  const snapshots = createSnapshots({
    db,
    nextId: () => numbers.take(),
    reserve: (count) => numbers.ready(count),
    keyOf: (nr) => store.keyOf(nr),
  })
  // The views see rows first: they give events their positions.
  const views = createRoomViews({ db, tail, store })
  const timelines = createTimelines({ db, tail, store })
  const activities = createActivities({ db, tail })
  const relations = createRelations({ db, tail, store })
  const resolver = createResolver({ db, snapshots })
  const turns = createTurns({ ...given, log: given.writer, store })
  const verifier = createVerifier(given)
  const { jobs = noJobs, redactionRetentionMs: retentionMs = redactionRetentionDefaultMs } = given
  const aftermath = createAftermath({ ...given, retentionMs })
  const acceptor = createAcceptor({
    ...{ db, store, snapshots, resolver, numbers, turns, membershipRow, aftermath },
  })
  const bulk = createBulkVerifier({ ...given, verifier })
  const outliers = createOutliers({ db, store, numbers, verifier, bulk })
  const gaps = createGaps({
    ...given,
    askMissing: createAskMissing(given),
    store,
    snapshots,
    numbers,
    outliers,
    pending: turns.pending,
  })
  const policy = createPolicy({ ...given, views, store })
  const entering = createEntering(given)
  const parts = {
    ...given,
    policy,
    entering,
    store,
    snapshots,
    views,
    resolver,
    turns,
    verifier,
    acceptor,
    numbers,
    outliers,
    gaps,
  }
  const local = createLocalEvents({ ...parts, log: given.writer })
  const receiver = createReceiver(parts)
  const admission = createAdmission({ db, store, numbers })
  const importer = createImporter({ ...parts, log: given.writer, bulk, admission })
  const history = createHistory(parts)
  const placing = createPlacing(parts)
  const { backfill, takeFrom } = createBackfill({ ...parts, placing })
  const timestamps = createTimestamps({ ...parts, history, takeHistory: takeFrom })
  const visibility = createVisibility(parts)
  const purges = createPurges({ ...parts, jobs })
  reduceRedacted({ db, store, jobs })

  tail.subscribe('stored events', (rows) => {
    for (const row of rows) {
      const reduced = reducedIn(row)
      if (reduced !== undefined) store.forget(reduced.nr, reduced.id)
      if (isPurge(row) || isCompletion(row)) store.clear()
    }
  })
  tail.loader('event', (rows) => loadEvents(db, store, rows))
  tail.loader('state', async (rows) => rows.map(readStatePayload))

  async function currentState(room: RoomId): Promise<ReadonlyMap<StateKey, StoredEvent>> {
    const view = await views.get(room)
    return keyed(await store.byNumber([...(view?.entries.values() ?? [])]))
  }

  const extremities: Events['extremities'] = async (room) => {
    const row = await findRoom(db, room)
    return { ids: (row?.extremities ?? []).filter(isEventId), depth: row?.depth ?? 0 }
  }
  /** Where members are missing, the servers that were there when we came are taken to be there still. */
  const serversIn: Events['serversIn'] = async (room) => {
    const view = await views.get(room)
    if (view === undefined) return new Set()
    const joined = await joinedServers(store, view)
    const others = await partial.serversOf(room)
    return others.size === 0 ? joined : new Set([...joined, ...others])
  }
  joinBranches({ ...given, jobs, views, events: { append: local.append, extremities } })

  return {
    get: (ids) => store.get(ids),
    byNumber: (nrs) => store.byNumber(nrs),
    rulesOf: async (room) => (await views.get(room))?.rules,
    async stateEntry(root, type, key) {
      const nr = await snapshots.lookup(root, stateKeyOf(type, key))
      return nr === undefined ? undefined : (await store.byNumber([nr])).get(nr)
    },
    stateAt: async (root) => keyed(await store.byNumber(await snapshots.entries(root))),
    async sparseStateAt(room, root, members) {
      // Keys that the room has now, and had then: few, where nearly all are members.
      const keys = members.map((user) => stateKeyOf('m.room.member', user))
      for (const key of (await views.get(room))?.entries.keys() ?? [])
        if (!key.startsWith(membershipPrefix)) keys.push(key)
      const nrs: number[] = []
      for (const key of keys) nrs.push(...[(await snapshots.lookup(root, key)) ?? []].flat())
      return keyed(await store.byNumber(nrs))
    },
    async stateDelta(from, to) {
      const { added } = await snapshots.difference(from, to)
      return [...(await store.byNumber(added)).values()]
    },
    currentState,
    async currentEntry(room, type, key) {
      const nr = (await views.get(room))?.entries.get(stateKeyOf(type, key))
      return nr === undefined
        ? undefined
        : (store.peekNumber(nr) ?? (await store.byNumber([nr])).get(nr))
    },
    async currentOfRooms(rooms, types) {
      const entries = await readCurrentTypes(db, rooms, types)
      const found = new Map<RoomId, StoredEvent[]>()
      for (const event of (await store.byNumber(entries.map(({ nr }) => nr))).values()) {
        const known = found.get(event.pdu.roomId)
        if (known === undefined) found.set(event.pdu.roomId, [event])
        else known.push(event)
      }
      return found
    },
    async currentOfType(room, type) {
      const nrs: number[] = []
      const prefix = stateKeyOf(type, '')
      for (const [key, nr] of (await views.get(room))?.entries ?? []) {
        if (key.startsWith(prefix)) nrs.push(nr)
      }
      return [...(await store.byNumber(nrs)).values()]
    },
    timeline: (room, range) => timelines.read(room, range),
    async newest(rooms, range) {
      const nrs = await newestEvents(db, rooms, range)
      const found = await store.byNumber(nrs)
      return nrs.flatMap((nr) => found.get(nr) ?? [])
    },
    activity: activities.of,
    extremities,
    relations,
    async authChain(ids) {
      const start = await store.get(ids)
      const events = new Map(start)
      await loadChains(events, [], (wanted) => store.get(wanted))
      const named = new Set([...events.values()].flatMap(({ pdu }) => pdu.authEvents))
      return [...events.values()].filter(
        ({ pdu }) => !start.has(pdu.eventId) || named.has(pdu.eventId),
      )
    },
    serversIn,
    partial,
    completion: createCompletion({ ...parts, partial, serversIn, serverName }),
    async outlier(pdu, rules) {
      // The version has to be known before anybody reads the event.
      const version = [{ room_id: pdu.roomId, version: rules.version }]
      await applyOutsideLog(db, 'room_versions', JSON.stringify(version))
      const known = (await store.get([pdu.eventId])).get(pdu.eventId)
      const event = known ?? (await outliers.make(pdu))
      return { event, tables: { events: [eventRow(event)] } }
    },
    ...local,
    ...receiver,
    entering: entering.entering,
    ...importer,
    ...history,
    backfill,
    purges,
    ...timestamps,
    ...visibility,
  }
}

/** For an engine that does nothing later. */
const noJobs: Pick<Jobs, 'row' | 'handle' | 'wake'> = {
  row() {
    throw new Error('there are no jobs')
  },
  handle() {},
  wake() {},
}

function keyed(events: ReadonlyMap<number, StoredEvent>): Map<StateKey, StoredEvent> {
  const state = new Map<StateKey, StoredEvent>()
  for (const event of events.values()) {
    if (event.pdu.stateKey !== undefined)
      state.set(stateKeyOf(event.pdu.type, event.pdu.stateKey), event)
  }
  return state
}

/** Payloads of event rows that another process wrote. */
async function loadEvents(
  db: Database,
  store: ReturnType<typeof createEventStore>,
  rows: readonly LogRow[],
): Promise<readonly (EventPayload | undefined)[]> {
  const refs = rows.map(({ ref }) => readEventRef(ref))
  const events = await store.byNumber(refs.map(({ nr }) => nr))
  const redactions: string[] = []
  for (const { pdu } of events.values())
    if (pdu.type === 'm.room.redaction') redactions.push(pdu.eventId)
  const targets =
    redactions.length === 0 ? new Map<string, string>() : await validRedactions(db, redactions)
  return refs.map(({ nr, changesState, isAfterGap, onBehalfOf, deliveredBy }) => {
    const event = events.get(nr)
    // It was purged since.
    if (event === undefined) return undefined
    const redacts = targets.get(event.pdu.eventId)
    return {
      event,
      changesState,
      ...(isAfterGap && { isAfterGap }),
      ...(isServerName(onBehalfOf) && { onBehalfOf }),
      ...(isServerName(deliveredBy) && { deliveredBy }),
      ...(redacts !== undefined && { redacts: parseEventId(redacts) }),
    }
  })
}

function readStatePayload({ ref }: LogRow): StatePayload {
  if (ref === '*') return { changes: [], isAll: true }
  const changes: [StateKey, number | null][] = JSON.parse(ref)
  return { changes: changes.map(([key, nr]): StateChange => [key, nr ?? undefined]) }
}
