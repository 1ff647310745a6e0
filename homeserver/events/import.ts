/** Taking over a room that this server has just joined, from the answer to send_join. */
import { MatrixError } from '../../spec/errors.ts'
import { type Pdu, type StateKey, stateKeyOf } from '../../spec/events/event.ts'
import type { JsonObject } from '../../spec/json.ts'
import { authEventKeys } from '../../spec/room/auth-events.ts'
import type { Database } from '../database/database.ts'
import type { Snapshots } from '../state/state.ts'
import type { LogEntry, LogWriter } from '../stream/log.ts'
import { headRow } from './accept.ts'
import type { Events, JoinedRoom } from './events.ts'
import { createIdFor, type Gaps } from './gaps.ts'
import { judge } from './judge.ts'
import type { Numbers } from './numbers.ts'
import type { Outliers } from './outliers.ts'
import { currentStateRow, eventEntry, type MembershipRow } from './persist.ts'
import { applyOutsideLog } from './queries.ts'
import type { StateChange, StatePayload } from './room-views.ts'
import type { EventStore } from './store.ts'
import type { StateRoot, StoredEvent } from './stored-event.ts'
import { busy, newTurn, type TurnRoom, type Turns } from './turns.ts'

interface Needs {
  readonly db: Database
  readonly log: LogWriter
  readonly store: EventStore
  readonly snapshots: Snapshots
  readonly numbers: Numbers
  readonly outliers: Outliers
  readonly gaps: Gaps
  readonly turns: Turns
  readonly membershipRow: MembershipRow
}

export function createImporter(needs: Needs): Pick<Events, 'importRoom'> {
  const { db, store, snapshots, numbers, outliers, gaps, turns } = needs

  /** State before the join: what passed every check, by key. */
  async function importState(joined: JoinedRoom): Promise<Map<StateKey, StoredEvent>> {
    const { room, rules } = joined
    const version = [{ room_id: room, version: rules.version }]
    await applyOutsideLog(db, 'room_versions', JSON.stringify(version))
    const chain = await outliers.verify(room, rules, joined.authChain)
    const state = await outliers.verify(room, rules, joined.state)
    const stored = await outliers.store(rules, [...chain, ...state])
    const byKey = new Map<StateKey, StoredEvent>()
    for (const { eventId, type, stateKey } of state) {
      const event = stored.get(eventId)
      if (event === undefined || event.rejected !== undefined || stateKey === undefined) continue
      byKey.set(stateKeyOf(type, stateKey), event)
    }
    return byKey
  }

  async function requireJoin(
    joined: JoinedRoom,
    state: ReadonlyMap<StateKey, StoredEvent>,
  ): Promise<void> {
    const { join, rules, room } = joined
    const createId = createIdFor(room, rules)
    const create = createId && (await store.get([createId])).get(createId)
    const keys = authEventKeys(join, rules)
    const own = new Map<StateKey, Pdu>()
    for (const key of [...keys, stateKeyOf('m.room.create', '')]) {
      const event = state.get(key)
      if (event !== undefined) own.set(key, event.pdu)
    }
    const verdict = judge(join, rules, own, create)
    if (verdict.kind === 'reject')
      throw new MatrixError(
        'M_FORBIDDEN',
        `the state that the server sent does not allow the join: ${verdict.reason}`,
      )
  }

  async function takeOver(
    joined: JoinedRoom,
    state: ReadonlyMap<StateKey, StoredEvent>,
    root: StateRoot,
    known: TurnRoom | undefined,
  ): Promise<StoredEvent> {
    const { room, rules, join } = joined
    const userKey = stateKeyOf(join.type, join.stateKey ?? '')
    await numbers.ready(40)
    const existing = (await store.get([join.eventId])).get(join.eventId)
    const nr = existing?.nr ?? numbers.take()
    const after = await snapshots.update(root, new Map([[userKey, nr]]))
    const replaced = state.get(userKey)
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
    const entries = new Map<StateKey, number>(
      [...state].map(([key, { nr: number }]) => [key, number]),
    )
    const stale = [...(known?.state.keys() ?? [])].filter(
      (key) => !entries.has(key) && key !== userKey,
    )
    const changes: StateChange[] = [
      ...entries,
      ...stale.map((key): StateChange => [key, undefined]),
    ]
    entries.set(userKey, nr)
    const turn = newTurn(room, rules, 0, {
      state: entries,
      root: after.root,
      extremities: [join.eventId],
      depth: Math.max(join.depth, known?.depth ?? 0),
    })
    const verdict = await needs.log.write({
      claim: { room },
      entries: [
        stateEntry(joined, changes, state, needs.membershipRow),
        eventEntry(
          event,
          { changesState: true, replaces: replaced?.nr, deliveredBy: joined.origin },
          needs.membershipRow,
        ),
      ],
      tables: {
        room_heads: [headRow(turn)],
        state_nodes: after.rows,
        missing_edges: edges(join),
      },
    })
    if (verdict.kind !== 'done') throw busy()
    turns.adopt(newTurn(room, rules, verdict.fence ?? 0, turn))
    return event
  }

  return {
    async importRoom(joined) {
      const state = await importState(joined)
      await requireJoin(joined, state)
      const root = await gaps.snapshotOf(state.values())
      return await turns.runUnknown(joined.room, (known) => takeOver(joined, state, root, known))
    },
  }
}

function stateEntry(
  { room }: JoinedRoom,
  changes: readonly StateChange[],
  state: ReadonlyMap<StateKey, StoredEvent>,
  membershipRow: MembershipRow,
): LogEntry {
  const payload: StatePayload = { changes, isAll: true }
  const members: JsonObject[] = []
  for (const event of state.values())
    if (event.pdu.type === 'm.room.member') members.push(membershipRow(event))
  return {
    kind: 'state',
    room,
    ref: '*',
    payload,
    tables: {
      current_state: changes.map((change) => currentStateRow(room, change)),
      memberships: members,
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
