/** A client as a property test plays it: it believes what syncs tell it, and pages back over what they leave out. */
import { isEventId, isRoomId, type RoomId, type UserId } from '../../spec/ids.ts'
import { isObject, type JsonObject } from '../../spec/json.ts'
import { parseRoomEventFilter } from '../../spec/sync/filter.ts'
import { parseHistoryToken } from '../../spec/sync/token.ts'
import { systemClock } from '../platform/clock.ts'
import { createHistoryWalk } from '../rooms/history-walk.ts'
import { ask, type TestAnswer, type TestProcess } from './test-sync.ts'

/** How a client syncs, all its life. */
export interface Habits {
  readonly stateAfter: boolean
  readonly timeline: JsonObject
  readonly isLazy: boolean
}

export interface KnownRoom {
  readonly state: Map<string, string>
  /** Ids of events in the order in which they were shown or, beyond a cut, paged back to. */
  seen: string[]
  readonly senders: Set<string>
  /** Event by user and type of receipt. */
  readonly receipts: Map<string, string>
  readonly counts: Map<string, unknown>
  data: unknown
}

interface Memory {
  since: string | undefined
  rooms: Map<RoomId, KnownRoom>
  invites: Set<RoomId>
  data: unknown
}

type Entry = NonNullable<NonNullable<TestAnswer['rooms']>['join']>[RoomId]
const pageMax = 500

export class TestClient {
  readonly user: UserId
  readonly habits: Habits
  memory: Memory = { since: undefined, rooms: new Map(), invites: new Set(), data: undefined }
  /** To-device messages by number, in the order in which they came first. */
  readonly messages = new Set<unknown>()
  #saved: Memory | undefined

  constructor(user: UserId, habits: Habits) {
    this.user = user
    this.habits = habits
  }

  /** Writes down what is known. */
  save(): void {
    this.#saved = structuredClone(this.memory)
  }

  /** Starts again from what was written down: all later answers are forgotten. */
  restart(): void {
    if (this.#saved !== undefined) this.memory = structuredClone(this.#saved)
  }

  /** Syncs; an answer that is lost on its way changes nothing. */
  async sync(at: TestProcess, limit: number, timeoutMs: number, isLost = false): Promise<void> {
    const { stateAfter, isLazy } = this.habits
    const timeline = { ...this.habits.timeline, limit }
    const answer = await ask(at, this.user, {
      ...{ timeoutMs, useStateAfter: stateAfter },
      filter: { room: { timeline, ...(isLazy && { state: { lazy_load_members: true } }) } },
      ...(this.memory.since !== undefined && { since: this.memory.since }),
    })
    if (!isLost) await this.#take(answer, at)
  }

  async #take(answer: TestAnswer, at: TestProcess): Promise<void> {
    const { memory } = this
    memory.since = answer.next_batch
    for (const [room, entry] of entriesOf(answer.rooms?.join)) {
      memory.invites.delete(room)
      const known = memory.rooms.get(room) ?? emptyRoom()
      memory.rooms.set(room, known)
      await this.#takeRoom(room, known, entry, at)
    }
    for (const [room] of entriesOf(answer.rooms?.invite)) memory.invites.add(room)
    for (const [room] of entriesOf(answer.rooms?.leave)) {
      memory.rooms.delete(room)
      memory.invites.delete(room)
    }
    for (const { content } of answer.to_device?.events ?? []) {
      if (isObject(content)) this.messages.add(content['n'])
    }
    for (const { type, content } of answer.account_data?.events ?? []) {
      if (type === 'x.data') memory.data = content
    }
  }

  async #takeRoom(room: RoomId, known: KnownRoom, entry: Entry, at: TestProcess): Promise<void> {
    const timeline = entry.timeline?.events ?? []
    const before = (this.habits.stateAfter ? entry.state_after : entry.state)?.events ?? []
    for (const event of this.habits.stateAfter ? before : [...before, ...timeline]) {
      if (event['state_key'] === undefined) continue
      known.state.set(`${event['type']}|${event['state_key']}`, String(event['event_id']))
    }
    if (entry.timeline?.limited) {
      known.seen.push(...(await this.#pageBack(room, known, entry.timeline.prev_batch, at)))
    }
    known.seen.push(...timeline.map((event) => String(event['event_id'])))
    for (const event of timeline) known.senders.add(String(event['sender']))
    for (const { type, content } of entry.ephemeral?.events ?? []) {
      if (type === 'm.receipt' && isObject(content)) takeReceipts(known.receipts, content)
    }
    for (const { type, content } of entry.account_data?.events ?? []) {
      if (type === 'x.room') known.data = content
    }
    for (const [name, value] of Object.entries(entry.summary ?? {})) known.counts.set(name, value)
  }

  /** What was left out between what is known and the timeline, oldest first. */
  async #pageBack(room: RoomId, known: KnownRoom, from: string | undefined, at: TestProcess) {
    if (from === undefined) throw new Error('a timeline was cut and does not say where')
    const history = createHistoryWalk({ ...at, serverName: at.name, clock: systemClock })
    const filter = parseRoomEventFilter(this.habits.timeline)
    const seen = new Set(known.seen)
    const found: string[] = []
    const start = parseHistoryToken(from)
    const { chunk } = await history.walk(
      this.user,
      room,
      { from: start, dir: 'b', limit: pageMax },
      filter,
    )
    for (const { event } of chunk) {
      if (seen.has(event.pdu.eventId)) break
      found.push(event.pdu.eventId)
    }
    return found.reverse()
  }
}

function emptyRoom(): KnownRoom {
  return {
    ...{ state: new Map(), seen: [], senders: new Set(), receipts: new Map() },
    ...{ counts: new Map(), data: undefined },
  }
}

function takeReceipts(known: Map<string, string>, content: JsonObject): void {
  for (const [event, types] of Object.entries(content)) {
    if (!isEventId(event) || !isObject(types)) continue
    for (const [type, users] of Object.entries(types)) {
      for (const user of Object.keys(isObject(users) ? users : {})) {
        known.set(`${user} ${type}`, event)
      }
    }
  }
}

function entriesOf<V>(record: Record<RoomId, V> | undefined): [RoomId, V][] {
  return Object.entries(record ?? {}).flatMap(([room, value]): [RoomId, V][] =>
    isRoomId(room) ? [[room, value]] : [],
  )
}
