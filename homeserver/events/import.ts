/**
 * Taking over a room that this server has just joined, from the answer to send_join. All that is bulky is written
 * outside the log, a bounded number of rows at a time; nobody sees it before the one write that makes the room's head.
 */
import { MatrixError } from '../../spec/errors.ts'
import { type Pdu, type StateKey, stateKeyOf } from '../../spec/events/event.ts'
import { type EventId, isUserId, type ServerName, serverOfUser } from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import { authEventKeys } from '../../spec/room/auth-events.ts'
import type { Database } from '../database/database.ts'
import { clearCurrentState, type Snapshots } from '../state/state.ts'
import type { LogEntry, LogWriter } from '../stream/log.ts'
import { headRow } from './accept.ts'
import type { Admission } from './admission.ts'
import type { BulkVerifier } from './bulk-verify.ts'
import type { Events, JoinedRoom } from './events.ts'
import { createIdFor } from './gaps.ts'
import { judge, membersAmong } from './judge.ts'
import type { Numbers } from './numbers.ts'
import { partialEntry } from './partial-rooms.ts'
import { currentStateRow, eventEntry, type MembershipRow, splitKey } from './persist.ts'
import { applyOutsideLog } from './queries.ts'
import type { StatePayload } from './room-views.ts'
import type { EventStore } from './store.ts'
import type { StateRoot, StoredEvent } from './stored-event.ts'
import { busy, newTurn, type TurnRoom, type Turns } from './turns.ts'

interface Needs {
  readonly serverName: ServerName
  readonly db: Database
  readonly log: LogWriter
  readonly store: EventStore
  readonly snapshots: Snapshots
  readonly numbers: Numbers
  readonly bulk: BulkVerifier
  readonly admission: Admission
  readonly turns: Turns
  readonly membershipRow: MembershipRow
}

/** What was stored of a room's state before the join, with the rows that belong to it. */
interface Imported {
  readonly entries: Map<StateKey, number>
  readonly idOf: ReadonlyMap<StateKey, EventId>
  /** Rows of members of this server, which become visible with the join. */
  readonly ownMembers: readonly JsonObject[]
  readonly members: readonly JsonObject[]
}

/** Rows of one insert outside the log. */
const chunkRows = 1_000
/** Numbers for the join and the nodes of its path. */
const numbersOfJoin = 40

export function createImporter(needs: Needs): Pick<Events, 'importRoom'> {
  const { db, store, snapshots, numbers, bulk, admission, turns } = needs

  /** State before the join: what passed every check, by key. */
  async function importState(joined: JoinedRoom): Promise<Imported> {
    const { room, rules } = joined
    const version = [{ room_id: room, version: rules.version }]
    await applyOutsideLog(db, 'room_versions', JSON.stringify(version))
    const chain = await bulk.verifyAll(room, rules, joined.authChain)
    const state = await bulk.verifyAll(room, rules, joined.state)
    const inState = new Set(state.map(({ eventId }) => eventId))
    const entries = new Map<StateKey, number>()
    const idOf = new Map<StateKey, EventId>()
    const members: JsonObject[] = []
    const ownMembers: JsonObject[] = []
    await admission.admit(room, rules, [...chain, ...state], (event) => {
      const { eventId, type, stateKey } = event.pdu
      if (!inState.has(eventId) || event.rejected !== undefined || stateKey === undefined) return
      entries.set(stateKeyOf(type, stateKey), event.nr)
      idOf.set(stateKeyOf(type, stateKey), eventId)
      if (type !== 'm.room.member') return
      const isOwn = isUserId(stateKey) && serverOfUser(stateKey) === needs.serverName
      ;(isOwn ? ownMembers : members).push(needs.membershipRow(event))
    })
    return { entries, idOf, members, ownMembers }
  }

  async function requireJoin(
    { join, rules, room, partial }: JoinedRoom,
    { idOf }: Imported,
  ): Promise<void> {
    const createId = createIdFor(room, rules)
    const keys = [...authEventKeys(join, rules), stateKeyOf('m.room.create', '')]
    const ids = keys.flatMap((key) => idOf.get(key) ?? [])
    const found = await store.get(createId === undefined ? ids : [...ids, createId])
    const own = new Map<StateKey, Pdu>()
    if (partial) {
      const named = await store.get(join.authEvents)
      for (const [key, pdu] of membersAmong(named.values())) own.set(key, pdu)
    }
    for (const { pdu } of found.values()) own.set(stateKeyOf(pdu.type, pdu.stateKey ?? ''), pdu)
    const verdict = judge(join, rules, own, createId && found.get(createId))
    if (verdict.kind === 'reject')
      throw new MatrixError(
        'M_FORBIDDEN',
        `the state that the server sent does not allow the join: ${verdict.reason}`,
      )
  }

  /** The snapshot and the rows of the state, as yet without a room that they belong to. */
  async function writeState(
    { room }: JoinedRoom,
    imported: Imported,
    isHere: boolean,
  ): Promise<StateRoot> {
    if (!isHere) await clearCurrentState(db, room)
    const { root, rows } = await snapshots.create(imported.entries)
    await inChunks([...rows], (chunk) => applyOutsideLog(db, 'state_nodes', chunk))
    await inChunks(
      [...imported.entries],
      (chunk) => applyOutsideLog(db, 'current_state', chunk),
      (change) => ({
        ...currentStateRow(room, change),
        i: 0,
      }),
    )
    await inChunks(
      imported.members,
      (chunk) => applyOutsideLog(db, 'memberships', chunk),
      (row) => ({ ...row, i: 0 }),
    )
    return root
  }

  async function takeOver(
    joined: JoinedRoom,
    imported: Imported,
    known: TurnRoom | undefined,
  ): Promise<StoredEvent> {
    const { room, rules, join } = joined
    const { entries } = imported
    const root = await writeState(joined, imported, known !== undefined)
    const userKey = stateKeyOf(join.type, join.stateKey ?? '')
    await numbers.ready(numbersOfJoin)
    const replacedId = imported.idOf.get(userKey)
    const stored = await store.get(replacedId ? [join.eventId, replacedId] : [join.eventId])
    const replaced = replacedId && stored.get(replacedId)
    const nr = stored.get(join.eventId)?.nr ?? numbers.take()
    const after = await snapshots.update(root, new Map([[userKey, nr]]))
    const event: StoredEvent = {
      nr,
      pdu: join,
      text: join.text ?? JSON.stringify(join.json),
      softFailed: false,
      stateBefore: root,
      stateAfter: after.root,
      ...(replaced && {
        replaces: {
          eventId: replaced.pdu.eventId,
          sender: replaced.pdu.sender,
          content: replaced.pdu.content,
        },
      }),
    }
    const gone = [...(known?.state.keys() ?? [])].filter(
      (key) => !entries.has(key) && key !== userKey,
    )
    entries.set(userKey, nr)
    const turn = newTurn(room, rules, 0, {
      state: entries,
      root: after.root,
      extremities: [join.eventId],
      depth: Math.max(join.depth, known?.depth ?? 0),
      isPartial: joined.partial !== undefined,
    })
    const effects = {
      changesState: true,
      replaces: replaced ? replaced.nr : undefined,
      deliveredBy: joined.origin,
      isAfterGap: join.prevEvents.length > 0,
    }
    const verdict = await needs.log.write({
      claim: { room },
      entries: [
        stateEntry(joined, gone, imported.ownMembers),
        eventEntry(event, effects, needs.membershipRow),
        ...(joined.partial ? [partialEntry(room, true)] : wasPartial(known)),
      ],
      tables: {
        room_heads: [headRow(turn)],
        state_nodes: after.rows,
        missing_edges: edges(join),
        ...(joined.partial && {
          partial_rooms: [
            {
              ...{ room_id: room, join_id: join.eventId, join_nr: nr },
              ...{ origin: joined.origin, servers: [...joined.partial.servers] },
            },
          ],
          partial_events: [{ room_id: room, nr }],
        }),
      },
    })
    if (verdict.kind !== 'done') throw busy()
    turns.adopt(newTurn(room, rules, verdict.fence ?? 0, turn))
    return event
  }

  return {
    async importRoom(joined) {
      const imported = await importState(joined)
      await requireJoin(joined, imported)
      return await turns.runUnknown(joined.room, (known) => takeOver(joined, imported, known))
    },
  }
}

/** All of a room that was incomplete is here now. */
function wasPartial(known: TurnRoom | undefined): LogEntry[] {
  if (known?.isPartial !== true) return []
  const { room } = known
  return [{ ...partialEntry(room, false), tables: { partial_rooms: [{ room_id: room }] } }]
}

/** Says that everything has changed; what changed is written already, but for what is gone. */
function stateEntry(
  { room }: JoinedRoom,
  gone: readonly StateKey[],
  members: readonly JsonObject[],
): LogEntry {
  const payload: StatePayload = { changes: [], isAll: true }
  const ended = gone
    .map(splitKey)
    .flatMap(([type, user]) => (type === 'm.room.member' ? { room_id: room, user_id: user } : []))
  return {
    kind: 'state',
    room,
    ref: '*',
    payload,
    tables: {
      current_state: gone.map((key) => currentStateRow(room, [key, undefined])),
      memberships: [...members, ...ended],
    },
  }
}

/** History before the join is on other servers. */
function edges(join: Pdu): JsonObject[] {
  return join.prevEvents.map((id) => ({
    prev_event_id: id,
    event_id: join.eventId,
    room_id: join.roomId,
  }))
}

/** Hands rows over as JSON texts, a bounded number in each. */
async function inChunks<T>(
  values: readonly T[],
  write: (rows: string) => Promise<void>,
  rowOf: (value: T) => unknown = (value) => value,
): Promise<void> {
  for (let at = 0; at < values.length; at += chunkRows)
    await write(JSON.stringify(values.slice(at, at + chunkRows).map(rowOf)))
}
