/** The states of events that were given a place in a room whose members were not all known, once they are. */
import { type Pdu, type StateKey, stateKeyOf } from '../../spec/events/event.ts'
import type { EventId, RoomId } from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import { authEventKeys } from '../../spec/room/auth-events.ts'
import type { RoomVersionRules } from '../../spec/room/version.ts'
import type { Database } from '../database/database.ts'
import type { Changed, Snapshots } from '../state/state.ts'
import { createIdFor } from './gaps.ts'
import { judge, refusalByOwn } from './judge.ts'
import type { Numbers } from './numbers.ts'
import { type PartialEventRow, partialEvents } from './partial-queries.ts'
import { applyOutsideLog } from './queries.ts'
import type { Resolver } from './resolution.ts'
import type { EventStore } from './store.ts'
import type { StateRoot, StoredEvent } from './stored-event.ts'

interface Needs {
  readonly db: Database
  readonly store: EventStore
  readonly snapshots: Snapshots
  readonly resolver: Resolver
  readonly numbers: Numbers
}

/** What the events are placed on. */
export interface Ground {
  readonly room: RoomId
  readonly rules: RoomVersionRules
  /** Our join, which was in the room whatever is known now. */
  readonly joinId: EventId
  /** The complete states before it. */
  readonly before: readonly StateRoot[]
}

/** Events looked at at a stretch, and numbers that one may use for the nodes of its paths. */
const pageRows = 100
const numbersPerEvent = 40
/** Forward extremities that a room keeps. */
const extremitiesMax = 50

export class PartialStates {
  /** Events with their states as they are now, in order. */
  readonly events = new Map<EventId, StoredEvent>()
  /** Those that did not count and that their own past allows now. */
  readonly #reconsidered = new Set<EventId>()
  readonly #byNumber = new Map<number, StoredEvent>()
  readonly #needs: Needs
  readonly #ground: Ground
  #seq = 0

  constructor(needs: Needs, ground: Ground) {
    this.#needs = needs
    this.#ground = ground
  }

  /** Looks at what has come since; each event after those before it. */
  async proceed(): Promise<void> {
    const { db, store } = this.#needs
    for (;;) {
      const rows = await partialEvents(db, this.#ground.room, this.#seq, pageRows)
      const stored = await store.byNumber(rows.map(({ nr }) => nr))
      for (const row of rows) {
        const event = stored.get(row.nr)
        if (event !== undefined) await this.#place(row, event)
        this.#seq = row.seq
      }
      if (rows.length < pageRows) return
      await new Promise((resolve) => setImmediate(resolve))
    }
  }

  /** The room's newest events and state, when the current state has decided on those that count again. */
  async settle(tips: readonly EventId[]): Promise<{
    extremities: readonly EventId[]
    root: StateRoot
    accepted: readonly StoredEvent[]
  }> {
    const open = [...this.#reconsidered]
    for (const id of open) this.#replace(id, { softFailed: true })
    let now = await this.#now(tips)
    const accepted: StoredEvent[] = []
    for (const id of open) {
      const event = this.events.get(id)
      if (event === undefined || (await this.#refusal(event.pdu, now.root)) !== undefined) continue
      accepted.push(this.#replace(id, { softFailed: false }))
      now = await this.#now(tips)
    }
    return { ...now, accepted }
  }

  async #place({ given }: PartialEventRow, event: StoredEvent): Promise<void> {
    const { pdu, nr } = event
    const { snapshots, numbers } = this.#needs
    await numbers.ready(numbersPerEvent)
    const before = await this.#before(pdu, given ?? [])
    const isOurs = pdu.eventId === this.#ground.joinId
    const rejected = isOurs ? undefined : await this.#refusal(pdu, before.root)
    const isState = pdu.stateKey !== undefined && rejected === undefined
    const own = isState ? [[stateKeyOf(pdu.type, pdu.stateKey), nr] as const] : []
    const after = await snapshots.update(before.root, new Map(own))
    await this.#write([...before.rows, ...after.rows])
    const { rejected: was, position: _, ...rest } = event
    const isBack = rejected === undefined && (was !== undefined || event.softFailed)
    if (isBack) this.#reconsidered.add(pdu.eventId)
    const placed: StoredEvent = {
      ...rest,
      stateBefore: before.root,
      stateAfter: after.root,
      ...(rejected !== undefined && { rejected }),
      ...(rejected === undefined && event.position !== undefined && { position: event.position }),
    }
    this.events.set(pdu.eventId, placed)
    this.#byNumber.set(nr, placed)
  }

  async #before(pdu: Pdu, given: readonly StateRoot[]): Promise<Changed> {
    if (pdu.eventId === this.#ground.joinId) return await this.#resolve(this.#ground.before)
    const roots = [...given]
    for (const { stateAfter } of (await this.#find(pdu.prevEvents)).values())
      if (stateAfter !== undefined) roots.push(stateAfter)
    return await this.#resolve(roots)
  }

  /** Why the auth rules refuse an event by its own auth events, or by a state. */
  async #refusal(pdu: Pdu, root: StateRoot): Promise<string | undefined> {
    const { room, rules } = this.#ground
    const id = createIdFor(room, rules)
    const create =
      id === undefined
        ? await this.#entry(root, stateKeyOf('m.room.create', ''))
        : (await this.#find([id])).get(id)
    const byOwn = refusalByOwn(pdu, rules, await this.#find(pdu.authEvents), create)
    if (byOwn !== undefined) return byOwn
    const state = new Map<StateKey, Pdu>()
    for (const key of authEventKeys(pdu, rules)) {
      const event = await this.#entry(root, key)
      if (event !== undefined) state.set(key, event.pdu)
    }
    const verdict = judge(pdu, rules, state, create)
    return verdict.kind === 'reject' ? verdict.reason : undefined
  }

  async #now(
    tips: readonly EventId[],
  ): Promise<{ extremities: readonly EventId[]; root: StateRoot }> {
    const extremities = extremitiesOf(this.events, tips)
    const roots: StateRoot[] = []
    for (const { stateAfter } of (await this.#find(extremities)).values())
      if (stateAfter !== undefined) roots.push(stateAfter)
    const { root, rows } = await this.#resolve(roots)
    await this.#write(rows)
    return { extremities, root }
  }

  async #resolve(roots: readonly StateRoot[]): Promise<Changed> {
    const { room, rules } = this.#ground
    const find = (ids: readonly EventId[]) => this.#find(ids)
    const byNumber = (nrs: readonly number[]) => this.#numbered(nrs)
    return await this.#needs.resolver.resolve(room, rules, roots, find, byNumber)
  }

  async #entry(root: StateRoot, key: StateKey): Promise<StoredEvent | undefined> {
    const nr = await this.#needs.snapshots.lookup(root, key)
    return nr === undefined ? undefined : (await this.#numbered([nr])).get(nr)
  }

  async #find(ids: readonly EventId[]): Promise<Map<EventId, StoredEvent>> {
    const found = new Map(await this.#needs.store.get(ids))
    for (const id of ids) {
      const event = this.events.get(id)
      if (event !== undefined) found.set(id, event)
    }
    return found
  }

  async #numbered(nrs: readonly number[]): Promise<Map<number, StoredEvent>> {
    const found = new Map(await this.#needs.store.byNumber(nrs))
    for (const nr of nrs) {
      const event = this.#byNumber.get(nr)
      if (event !== undefined) found.set(nr, event)
    }
    return found
  }

  #replace(id: EventId, change: Pick<StoredEvent, 'softFailed'>): StoredEvent {
    const event = this.events.get(id)
    if (event === undefined) throw new Error(`event ${id} was not placed`)
    const changed = { ...event, ...change }
    this.events.set(id, changed)
    this.#byNumber.set(changed.nr, changed)
    return changed
  }

  async #write(rows: readonly JsonObject[]): Promise<void> {
    if (rows.length > 0) await applyOutsideLog(this.#needs.db, 'state_nodes', JSON.stringify(rows))
  }
}

/** Those of the events, and of other tips, that nothing accepted comes after. */
function extremitiesOf(
  events: ReadonlyMap<EventId, StoredEvent>,
  tips: readonly EventId[],
): readonly EventId[] {
  const counts = ({ rejected, softFailed }: StoredEvent) => rejected === undefined && !softFailed
  const accepted = [...events.values()].filter(counts)
  const covered = new Set<EventId>()
  const open = accepted.flatMap(({ pdu }) => pdu.prevEvents)
  for (let id = open.pop(); id !== undefined; id = open.pop()) {
    if (covered.has(id)) continue
    covered.add(id)
    const event = events.get(id)
    if (event !== undefined && !counts(event)) open.push(...event.pdu.prevEvents)
  }
  const others = tips.filter((id) => !events.has(id))
  return [...others, ...accepted.map(({ pdu }) => pdu.eventId)]
    .filter((id) => !covered.has(id))
    .slice(-extremitiesMax)
}
