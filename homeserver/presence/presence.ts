/**
 * Knows who is online: in memory, from leases that syncing devices renew and from what the log shows people doing; the
 * processes tell each other over the bus. Only the status message and the last activity outlive a restart, and are
 * written behind.
 * {@link https://spec.matrix.org/v1.19/client-server-api/#presence}
 */
import { LRUCache } from 'lru-cache'
import { forbidden } from '../../spec/errors.ts'
import {
  isUserId,
  type RoomId,
  type ServerName,
  serverOfUser,
  type UserId,
} from '../../spec/ids.ts'
import { isObject } from '../../spec/json.ts'
import type { Database } from '../database/database.ts'
import { requireStorable } from '../database/stored-text.ts'
import { atMost } from '../platform/cache.ts'
import type { Clock } from '../platform/clock.ts'
import type { Bus } from '../platform/redis.ts'
import { isEventPayload } from '../rooms/memberships.ts'
import type { Memberships, Requester } from '../rooms/rooms.ts'
import type { LogRow, Tail } from '../stream/log.ts'
import {
  bump,
  busyKind,
  mostPresent,
  type Person,
  type PresenceKind,
  presenceKinds,
  presenceOf,
  processHolder,
} from './leases.ts'
import * as queries from './queries.ts'

export interface PresenceState {
  readonly presence: PresenceKind
  /** Milliseconds since the epoch; 0 when the user was never seen. */
  readonly lastActiveTs: number
  readonly statusMsg?: string
  /** Did something within the last minute. */
  readonly currentlyActive: boolean
}

export interface PresenceChange extends PresenceState {
  readonly user: UserId
  /**
   * `state`: the presence or the status; `again`: nothing, for servers that would forget. That somebody did something
   * just now is told with these, and to those who ask: alone it is not worth waking everybody.
   */
  readonly what: 'state' | 'again'
}

export interface Presence extends AsyncDisposable {
  /** A client says so itself; an absent status message is taken away. */
  set(who: Requester, state: { presence: PresenceKind; statusMsg?: string }): Promise<void>
  get(user: UserId): Promise<PresenceState>
  /** As `get`; throws M_FORBIDDEN when the requester shares no room with the user. */
  see(who: Requester, user: UserId): Promise<PresenceState>
  /** A device syncs: it counts as being so for half a minute, or as busy when it said so; `offline` says nothing. */
  touch(who: Requester, setPresence: PresenceKind): void
  /** What a user is who is known here not to be offline. */
  peek(user: UserId): PresenceState | undefined
  onChange(listener: (change: PresenceChange) => void): Disposable
  /** Rises with every change: milliseconds, made unique. What a token carries. */
  readonly stamp: number
  /** Of many people at once, in order. */
  getMany(users: readonly UserId[]): Promise<readonly PresenceState[]>
  /** Whose presence changed after the stamp, whoever may see it; undefined when these are more than `max`. */
  changedSince(stamp: number, max: number): readonly UserId[] | undefined
  onRemotePresence(origin: ServerName, push: readonly RemotePresence[]): Promise<void>
}

/** One entry of an m.presence EDU. */
interface RemotePresence {
  readonly user_id: UserId
  readonly presence: PresenceKind
  readonly last_active_ago?: number | undefined
  readonly status_msg?: string | null | undefined
  readonly currently_active?: boolean | undefined
}

export interface PresenceNeeds {
  readonly db: Database
  readonly clock: Clock
  readonly bus: Pick<Bus, 'publish' | 'subscribe'>
  readonly tail: Pick<Tail, 'subscribe'>
  readonly memberships: Pick<Memberships, 'sharingWith' | 'ofRoom'>
  readonly serverName: ServerName
  /** Off: everybody is offline, and nothing is told. */
  readonly enabled: boolean
  /** This process's id, as its leases are known to the others. */
  readonly self: string
}

const syncLeaseMs = 30_000
/** What is left of a lease that need not be renewed yet. */
const youngLeaseMs = 25_000
/** Other servers forget what was not told for half an hour, and so does this one. */
const remoteLeaseMs = 1_800_000
const againMs = 1_500_000
/** How often a process tells the others that its leases go on. */
const publishEveryMs = 15_000
const processLeaseMs = 45_000
const sweepMs = 1_000
const flushMs = 60_000
const peopleMax = 100_000
/** What was said of people with whom nobody shares a room yet: their server may know sooner who has joined. */
const strangersMax = 5_000
const strangerMs = 60_000
const statusBytesMax = 2048
const topic = 'presence'

export function createPresence(needs: PresenceNeeds): Presence {
  const { db, clock, bus, memberships, enabled } = needs
  const people = new LRUCache<UserId, Person>({ ...atMost(peopleMax) })
  const strangers = new LRUCache<UserId, { said: RemotePresence; at: number }>({
    ...atMost(strangersMax),
  })
  const alive = new Set<UserId>()
  const changedAt = new LRUCache<UserId, number>({ ...atMost(peopleMax) })
  const listeners = new Set<(change: PresenceChange) => void>()
  let unwritten = new Set<UserId>()
  let stamp = clock.now()

  /** The person as known here, or as stored; what is loaded late does not overwrite what has happened since. */
  async function load(user: UserId): Promise<Person> {
    const known = people.get(user)
    if (known !== undefined) return known
    const row = await queries.findPresence(db, user)
    return people.get(user) ?? keep(user, personOf(row))
  }

  function keep(user: UserId, person: Person): Person {
    people.set(user, person)
    return person
  }

  function stateOf(person: Person): PresenceState {
    const { lastActiveTs, statusMsg } = person
    const rest = { lastActiveTs, ...(statusMsg === undefined ? {} : { statusMsg }) }
    if (!enabled) return { presence: 'offline', currentlyActive: false, ...rest }
    return { ...presenceOf(person, clock.now()), ...rest }
  }

  /** Tells of the person if what others see has changed. */
  function settle(user: UserId, person: Person): boolean {
    const state = stateOf(person)
    const { presence, statusMsg } = state
    if (presence === 'offline') {
      alive.delete(user)
      person.busy = nobody
    } else alive.add(user)
    const { shown } = person
    if (presence === shown.presence && statusMsg === shown.statusMsg) return false
    person.shown = { presence, statusMsg }
    stamp = Math.max(stamp + 1, clock.now())
    changedAt.set(user, stamp)
    tell(person, { user, ...state, what: 'state' })
    return true
  }

  function tell(person: Person, change: PresenceChange): void {
    person.toldAt = clock.now()
    for (const listener of listeners) listener(change)
  }

  function lease(person: Person, device: string, kind: PresenceKind, ms: number): void {
    if (kind === 'offline') person.leases.delete(device)
    else person.leases.set(device, { kind, until: clock.now() + ms })
  }

  /** What people of this server do: they send, and they read. */
  function onRows(rows: readonly LogRow[]): void {
    for (const { kind, payload, user } of rows) {
      if (kind === 'event' && isEventPayload(payload)) {
        const { sender, type, roomId } = payload.event.pdu
        active(sender)
        // A failure here leaves them as they were: not known to be there.
        if (type === 'm.room.member' && strangers.size > 0) void meet(roomId).catch(() => undefined)
      } else if (kind === 'receipt' && user !== undefined) active(user)
    }
  }

  /** Strangers may be none any more. */
  async function meet(room: RoomId): Promise<void> {
    const members = await memberships.ofRoom(room)
    for (const [user, { said, at }] of [...strangers]) {
      if (members.get(user)?.membership !== 'join') continue
      strangers.delete(user)
      if (clock.now() - at < strangerMs && (await isOfInterest(user))) await believe(said, at)
    }
  }

  function active(user: UserId): void {
    const person = serverOfUser(user) === needs.serverName ? people.peek(user) : undefined
    if (person === undefined) return
    unwritten.add(user)
    if (bump(person, clock.now())) settle(user, person)
  }

  /** `busy` is told when a device has said something about it. */
  function publish(user: UserId, person: Person, force: boolean, busy?: readonly string[]): void {
    if (!force && clock.now() - person.publishedAt < publishEveryMs) return
    person.publishedAt = clock.now()
    const presence = mostPresent(person, clock.now(), true)
    const { statusMsg, lastActiveTs, currentlyActive } = person
    const told = { user, from: needs.self, presence, statusMsg, lastActiveTs, currentlyActive }
    const said = busy === undefined ? told : { ...told, busy }
    bus.publish(topic, JSON.stringify(said))
  }

  function onBus(message: string): void {
    const said: unknown = JSON.parse(message)
    if (!isObject(said) || !isUserId(said['user'])) return
    const { user, from, presence, statusMsg, lastActiveTs, currentlyActive, busy } = said
    const kind = presenceKinds.find((one) => one === presence)
    if (kind === undefined) return
    const person = people.get(user) ?? keep(user, personOf(undefined))
    if (typeof statusMsg === 'string') person.statusMsg = statusMsg
    else delete person.statusMsg
    if (kind === 'offline') person.leases.delete(processHolder(String(from)))
    else
      person.leases.set(processHolder(String(from)), { kind, until: clock.now() + processLeaseMs })
    if (typeof lastActiveTs === 'number')
      person.lastActiveTs = Math.max(person.lastActiveTs, lastActiveTs)
    if (typeof currentlyActive === 'boolean') person.currentlyActive = currentlyActive
    if (Array.isArray(busy)) person.busy = new Set(busy.map(String))
    settle(user, person)
  }

  async function flush(): Promise<void> {
    const users = [...unwritten]
    unwritten = new Set()
    const rows = users.flatMap((user) => {
      const person = people.peek(user)
      return person
        ? [
            {
              user_id: user,
              status_msg: person.statusMsg ?? null,
              last_active_ts: person.lastActiveTs,
            },
          ]
        : []
    })
    if (rows.length > 0) await queries.upsertPresence(db, rows)
  }

  function sweep(): void {
    for (const user of alive) {
      const person = people.peek(user)
      if (person === undefined) alive.delete(user)
      else if (settle(user, person)) publish(user, person, true)
      else if (clock.now() - person.toldAt >= againMs && serverOfUser(user) === needs.serverName)
        tell(person, { user, ...stateOf(person), what: 'again' })
    }
  }

  function touch(who: Requester, setPresence: PresenceKind): void {
    if (!enabled || setPresence === 'offline') return
    const person = people.get(who.user)
    if (person === undefined) {
      // The sync goes on meanwhile; a failure here only makes the user look offline until the next one.
      void load(who.user).then(
        () => touch(who, setPresence),
        () => undefined,
      )
      return
    }
    const device = who.device ?? ''
    const kind = person.busy.has(device) ? busyKind : setPresence
    const known = person.leases.get(device)
    // A lease that is young goes on as it is.
    if (known?.kind === kind && known.until - clock.now() > youngLeaseMs) return
    // To come is to do something; to stay is not.
    if (setPresence === 'online' && mostPresent(person, clock.now()) !== 'online')
      person.lastActiveTs = clock.now()
    lease(person, device, kind, syncLeaseMs)
    unwritten.add(who.user)
    publish(who.user, person, settle(who.user, person))
  }

  const subscriptions = [
    bus.subscribe(topic, onBus),
    needs.tail.subscribe('presence', onRows),
    clock.every(sweepMs, sweep),
    // What a lost write loses is a time and a status line.
    clock.every(flushMs, () => void flush().catch(() => undefined)),
  ]

  /** Does somebody here share a room with the user. */
  async function isOfInterest(user: UserId): Promise<boolean> {
    for (const other of await memberships.sharingWith(user))
      if (serverOfUser(other) === needs.serverName) return true
    return false
  }

  /** What the user's own server said at that time. */
  async function believe(said: RemotePresence, at: number): Promise<void> {
    const { user_id: user, last_active_ago: agoMs = 0 } = said
    const person = await load(user)
    if (said.status_msg) person.statusMsg = said.status_msg
    else delete person.statusMsg
    lease(person, serverOfUser(user), said.presence, remoteLeaseMs)
    person.lastActiveTs = Math.max(0, at - agoMs)
    person.currentlyActive = said.currently_active === true
    settle(user, person)
    publish(user, person, true)
  }

  async function get(user: UserId): Promise<PresenceState> {
    return stateOf(await load(user))
  }

  return {
    async set(who, { presence, statusMsg }) {
      if (!enabled) return
      if (statusMsg !== undefined) requireStorable('status_msg', statusMsg, statusBytesMax)
      const person = await load(who.user)
      if (statusMsg === undefined || statusMsg === '') delete person.statusMsg
      else person.statusMsg = statusMsg
      if (presence === 'online' || presence === busyKind) person.lastActiveTs = clock.now()
      const device = who.device ?? ''
      lease(person, device, presence, syncLeaseMs)
      const others = [...person.busy].filter((one) => one !== device)
      const busy = presence === busyKind ? [...others, device] : others
      person.busy = new Set(busy)
      unwritten.add(who.user)
      settle(who.user, person)
      publish(who.user, person, true, busy)
    },
    get,
    async see(who, user) {
      if (who.user !== user && !(await memberships.sharingWith(who.user)).has(user)) {
        throw forbidden('no room is shared with this user')
      }
      return await get(user)
    },
    touch,
    peek(user) {
      const person = alive.has(user) ? people.peek(user) : undefined
      const state = person && stateOf(person)
      return state?.presence === 'offline' ? undefined : state
    },
    onChange(listener) {
      listeners.add(listener)
      return { [Symbol.dispose]: () => void listeners.delete(listener) }
    },
    get stamp() {
      return stamp
    },
    async getMany(users) {
      const missing = users.filter((user) => people.get(user) === undefined)
      for (const row of missing.length === 0 ? [] : await queries.findPresences(db, missing)) {
        if (people.peek(row.user_id) === undefined) keep(row.user_id, personOf(row))
      }
      return users.map((user) => stateOf(people.peek(user) ?? personOf(undefined)))
    },
    changedSince(since, max) {
      const found: UserId[] = []
      // The newest change is first.
      for (const [user, at] of changedAt.entries()) {
        if (at <= since) break
        if (found.push(user) > max) return undefined
      }
      return found
    },
    async onRemotePresence(origin, push) {
      if (!enabled) return
      for (const said of push) {
        if (serverOfUser(said.user_id) !== origin) continue
        if (await isOfInterest(said.user_id)) await believe(said, clock.now())
        else strangers.set(said.user_id, { said, at: clock.now() })
      }
    },
    async [Symbol.asyncDispose]() {
      for (const subscription of subscriptions) subscription[Symbol.dispose]()
      await flush().catch(() => undefined)
    },
  }
}

const nobody: ReadonlySet<string> = new Set()

function personOf(row: queries.PresenceRow | undefined): Person {
  return {
    leases: new Map(),
    busy: nobody,
    lastActiveTs: row?.last_active_ts ?? 0,
    publishedAt: 0,
    toldAt: 0,
    shown: { presence: 'offline', statusMsg: row?.status_msg ? row.status_msg : undefined },
    ...(row?.status_msg ? { statusMsg: row.status_msg } : {}),
  }
}
