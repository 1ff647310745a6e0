/**
 * Knows who is online: in memory, from leases that syncing devices renew; the processes tell each other over the bus.
 * Only the status message and the last activity outlive a restart, and are written behind.
 * {@link https://spec.matrix.org/v1.19/client-server-api/#presence}
 */
import { LRUCache } from 'lru-cache'
import { forbidden } from '../../spec/errors.ts'
import { isUserId, type ServerName, serverOfUser, type UserId } from '../../spec/ids.ts'
import { isObject } from '../../spec/json.ts'
import type { Database } from '../database/database.ts'
import { requireStorable } from '../database/stored-text.ts'
import type { Clock } from '../platform/clock.ts'
import type { Bus } from '../platform/redis.ts'
import type { Memberships, Requester } from '../rooms/rooms.ts'
import {
  currentOf,
  type Person,
  type PresenceKind,
  presenceKinds,
  processHolder,
} from './leases.ts'
import * as queries from './queries.ts'

export interface PresenceState {
  readonly presence: PresenceKind
  /** Milliseconds since the epoch; 0 when the user was never seen. */
  readonly lastActiveTs: number
  readonly statusMsg?: string
  /** Active within the last minute. */
  readonly currentlyActive: boolean
}

export interface PresenceChange extends PresenceState {
  readonly user: UserId
}

export interface Presence extends AsyncDisposable {
  /** A client says so itself; an absent status message is taken away. */
  set(who: Requester, state: { presence: PresenceKind; statusMsg?: string }): Promise<void>
  get(user: UserId): Promise<PresenceState>
  /** As `get`; throws M_FORBIDDEN when the requester shares no room with the user. */
  see(who: Requester, user: UserId): Promise<PresenceState>
  /** A device syncs: it counts as being so for half a minute. */
  touch(who: Requester, setPresence: PresenceKind): void
  onChange(listener: (change: PresenceChange) => void): Disposable
  /** Rises with every change: milliseconds, made unique. What a token carries. */
  readonly stamp: number
  /** Users among `users` whose presence changed after the stamp. */
  changedSince(users: ReadonlySet<UserId>, stamp: number): readonly UserId[]
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
  readonly memberships: Pick<Memberships, 'sharingWith'>
  /** Off: everybody is offline, and nothing is told. */
  readonly enabled: boolean
  /** This process's id, as its leases are known to the others. */
  readonly self: string
}

const syncLeaseMs = 30_000
/** Longer than a server needs to tell us again. */
const remoteLeaseMs = 1_800_000
/** How often a process tells the others that its leases go on. */
const publishEveryMs = 15_000
const processLeaseMs = 45_000
const sweepMs = 1_000
const flushMs = 60_000
const peopleMax = 100_000
const statusBytesMax = 2048
const topic = 'presence'

export function createPresence(needs: PresenceNeeds): Presence {
  const { db, clock, bus, memberships, enabled } = needs
  const people = new LRUCache<UserId, Person>({ max: peopleMax })
  const alive = new Set<UserId>()
  const changedAt = new LRUCache<UserId, number>({ max: peopleMax })
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
    const presence = enabled ? currentOf(person, clock.now()) : 'offline'
    return {
      presence,
      lastActiveTs: person.lastActiveTs,
      ...(person.statusMsg === undefined ? {} : { statusMsg: person.statusMsg }),
      currentlyActive: presence === 'online' && clock.now() - person.lastActiveTs < 60_000,
    }
  }

  /** Tells of the person if what others see has changed. */
  function settle(user: UserId, person: Person): boolean {
    const state = stateOf(person)
    if (state.presence === 'offline') alive.delete(user)
    else alive.add(user)
    const visible = JSON.stringify([state.presence, state.statusMsg])
    if (visible === person.shown) return false
    person.shown = visible
    stamp = Math.max(stamp + 1, clock.now())
    changedAt.set(user, stamp)
    for (const listener of listeners) listener({ user, ...state })
    return true
  }

  function lease(person: Person, device: string, kind: PresenceKind, ms: number): void {
    if (kind === 'offline') person.leases.delete(device)
    else person.leases.set(device, { kind, until: clock.now() + ms })
    if (kind === 'online') person.lastActiveTs = clock.now()
  }

  function publish(user: UserId, person: Person, force: boolean): void {
    if (!force && clock.now() - person.publishedAt < publishEveryMs) return
    person.publishedAt = clock.now()
    const presence = currentOf(person, clock.now(), true)
    const { statusMsg, lastActiveTs } = person
    bus.publish(
      topic,
      JSON.stringify({ user, from: needs.self, presence, statusMsg, lastActiveTs }),
    )
  }

  function onBus(message: string): void {
    const said: unknown = JSON.parse(message)
    if (!isObject(said) || !isUserId(said['user'])) return
    const { user, from, presence, statusMsg, lastActiveTs } = said
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
    }
  }

  function touch(who: Requester, setPresence: PresenceKind): void {
    if (!enabled) return
    const person = people.get(who.user)
    if (person === undefined) {
      // The sync goes on meanwhile; a failure here only makes the user look offline until the next one.
      void load(who.user).then(
        () => touch(who, setPresence),
        () => undefined,
      )
      return
    }
    lease(person, who.device ?? '', setPresence, syncLeaseMs)
    unwritten.add(who.user)
    publish(who.user, person, settle(who.user, person))
  }

  const subscriptions = [
    bus.subscribe(topic, onBus),
    clock.every(sweepMs, sweep),
    // What a lost write loses is a time and a status line.
    clock.every(flushMs, () => void flush().catch(() => undefined)),
  ]

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
      person.lastActiveTs = clock.now()
      lease(person, who.device ?? '', presence, syncLeaseMs)
      unwritten.add(who.user)
      settle(who.user, person)
      publish(who.user, person, true)
    },
    get,
    async see(who, user) {
      if (who.user !== user && !(await memberships.sharingWith(who.user)).has(user)) {
        throw forbidden('no room is shared with this user')
      }
      return await get(user)
    },
    touch,
    onChange(listener) {
      listeners.add(listener)
      return { [Symbol.dispose]: () => void listeners.delete(listener) }
    },
    get stamp() {
      return stamp
    },
    changedSince(users, since) {
      if (since >= stamp) return []
      const smaller = users.size < changedAt.size ? users : [...changedAt.keys()]
      return [...smaller].filter((user) => users.has(user) && (changedAt.peek(user) ?? 0) > since)
    },
    async onRemotePresence(origin, push) {
      if (!enabled) return
      for (const said of push) {
        if (serverOfUser(said.user_id) !== origin) continue
        if ((await memberships.sharingWith(said.user_id)).size === 0) continue
        const person = await load(said.user_id)
        if (said.status_msg) person.statusMsg = said.status_msg
        else delete person.statusMsg
        lease(person, origin, said.presence, remoteLeaseMs)
        person.lastActiveTs = clock.now() - (said.last_active_ago ?? 0)
        settle(said.user_id, person)
        publish(said.user_id, person, true)
      }
    },
    async [Symbol.asyncDispose]() {
      for (const subscription of subscriptions) subscription[Symbol.dispose]()
      await flush().catch(() => undefined)
    },
  }
}

function personOf(row: queries.PresenceRow | undefined): Person {
  return {
    leases: new Map(),
    lastActiveTs: row?.last_active_ts ?? 0,
    publishedAt: 0,
    shown: JSON.stringify(['offline', row?.status_msg ?? undefined]),
    ...(row?.status_msg ? { statusMsg: row.status_msg } : {}),
  }
}
