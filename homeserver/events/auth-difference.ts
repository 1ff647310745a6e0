/**
 * The auth difference of snapshots: what is in the auth chains of some of them and not of all. Their chains share that
 * of the undisputed state, which may be large and is never walked: for the few events whose place is open, the way goes
 * up, along who names whom, until it meets the undisputed state or ends.
 * {@link https://spec.matrix.org/v1.19/rooms/v2/#definitions}
 */
import type { StateKey } from '../../spec/events/event.ts'
import type { EventId } from '../../spec/ids.ts'
import type { Database } from '../database/database.ts'
import { authChainOf, type FindNumbers, keyOf } from './conflict.ts'
import { namedBy } from './queries.ts'
import type { StoredEvent } from './stored-event.ts'

/** Events that name one event, looked at in one go, the newest first; and all that one resolution looks at. */
const pageEdges = 100
const edgesMax = 100_000
/** Events whose namers are read with one query. */
const eventsAtOnce = 200
const newest = Number.MAX_SAFE_INTEGER

export interface DifferenceNeeds {
  readonly db: Database
  /** The events in conflict and everything below them, by id. */
  readonly events: ReadonlyMap<EventId, StoredEvent>
  readonly byNumber: FindNumbers
  /** The event that all snapshots have at a key. */
  readonly shared: (key: StateKey) => Promise<number | undefined>
  /** Events that are accepted and not yet stored: their edges are not either. */
  readonly pending: Iterable<StoredEvent>
}

/** Finds the auth difference; `sets` are the events in conflict of each snapshot. */
export async function authDifference(
  needs: DifferenceNeeds,
  sets: readonly (readonly StoredEvent[])[],
): Promise<Set<EventId>> {
  const { events } = needs
  const chains = sets.map((set) =>
    authChainOf(
      set.map(({ pdu }) => pdu.eventId),
      events,
    ),
  )
  const difference = new Set<EventId>()
  for (const chain of chains)
    for (const id of chain)
      if (events.has(id) && !chains.every((other) => other.has(id))) difference.add(id)
  const undisputed: EventId[] = []
  for (const id of difference) {
    const event = events.get(id)
    if (event !== undefined && (await isShared(needs, event))) undisputed.push(id)
  }
  for (const id of [...undisputed, ...authChainOf(undisputed, events)]) difference.delete(id)
  if (difference.size > 0) await new Climb(needs, difference).run()
  return difference
}

async function isShared({ shared }: DifferenceNeeds, event: StoredEvent): Promise<boolean> {
  return event.pdu.stateKey !== undefined && (await shared(keyOf(event))) === event.nr
}

/** An event whose namers are looked for, those below a number. */
interface Step {
  readonly event: StoredEvent
  readonly below: number
}

/** Takes out of a set what the undisputed state rests on. */
class Climb {
  readonly #needs: DifferenceNeeds
  readonly #open: Set<EventId>
  readonly #pending = new Map<EventId, StoredEvent[]>()
  /** What was reached, with the events that it was reached from. */
  readonly #reachedFrom = new Map<number, StoredEvent[]>()
  /** What the undisputed state rests on, of what was reached. */
  readonly #settled = new Set<number>()
  #steps: Step[] = []
  #edges = 0

  constructor(needs: DifferenceNeeds, open: Set<EventId>) {
    this.#needs = needs
    this.#open = open
    for (const event of needs.pending) {
      if (event.pdu.stateKey === undefined) continue
      for (const id of event.pdu.authEvents) {
        const namers = this.#pending.get(id) ?? []
        namers.push(event)
        this.#pending.set(id, namers)
      }
    }
  }

  async run(): Promise<void> {
    for (const id of this.#open) {
      const event = this.#needs.events.get(id)
      if (event !== undefined) this.#visit(event)
    }
    while (this.#steps.length > 0 && this.#open.size > 0) {
      const steps = this.#steps.splice(0, eventsAtOnce)
      await this.#climb(steps.filter(({ event }) => !this.#settled.has(event.nr)))
      if (this.#edges > edgesMax)
        throw new Error(`an auth difference needs more than ${edgesMax} edges`)
    }
  }

  #visit(event: StoredEvent): void {
    if (this.#reachedFrom.has(event.nr)) return
    this.#reachedFrom.set(event.nr, [])
    this.#steps.push({ event, below: newest })
  }

  async #climb(steps: readonly Step[]): Promise<void> {
    const { db, byNumber } = this.#needs
    const from = new Map(steps.map(({ event }) => [event.nr, event]))
    const rows = await namedBy(
      db,
      steps.map(({ event, below }) => ({ nr: event.nr, below })),
      pageEdges,
    )
    const found = await byNumber([...new Set(rows.map(({ nr }) => nr))])
    const pages = new Map<number, { count: number; lowest: number }>()
    for (const { auth_nr, nr } of rows) {
      const page = pages.get(auth_nr) ?? { count: 0, lowest: newest }
      pages.set(auth_nr, { count: page.count + 1, lowest: Math.min(page.lowest, nr) })
      await this.#meet(from.get(auth_nr), found.get(nr))
    }
    for (const { event, below } of steps) {
      if (below === newest)
        for (const namer of this.#pending.get(event.pdu.eventId) ?? [])
          await this.#meet(event, namer)
      const page = pages.get(event.nr)
      if (page !== undefined && page.count >= pageEdges)
        this.#steps.push({ event, below: page.lowest })
    }
  }

  async #meet(named: StoredEvent | undefined, namer: StoredEvent | undefined): Promise<void> {
    if (named === undefined || namer === undefined || this.#settled.has(named.nr)) return
    this.#edges++
    if (this.#settled.has(namer.nr) || (await isShared(this.#needs, namer))) {
      this.#settle(named)
      return
    }
    this.#visit(namer)
    this.#reachedFrom.get(namer.nr)?.push(named)
  }

  /** The undisputed state rests on this event, so on all below it as well. */
  #settle(event: StoredEvent): void {
    const open = [event]
    for (let next = open.pop(); next !== undefined; next = open.pop()) {
      if (this.#settled.has(next.nr)) continue
      this.#settled.add(next.nr)
      this.#open.delete(next.pdu.eventId)
      for (const id of next.pdu.authEvents) {
        const below = this.#needs.events.get(id)
        if (below !== undefined) open.push(below)
      }
      open.push(...(this.#reachedFrom.get(next.nr) ?? []))
    }
  }
}
