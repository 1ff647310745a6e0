/**
 * Rooms as data, for tests of the room rules: branches of a room that send events without being asked whether they
 * may, with auth events chosen from the branch's own state as the specification has it.
 */
import { signingKeyFromSeed } from '../../spec/crypto/ed25519.ts'
import { type Pdu, type StateKey, stateKeyOf } from '../../spec/events/event.ts'
import {
  type EventId,
  parseEventId,
  parseRoomId,
  parseUserId,
  roomIdOfCreate,
  serverOfUser,
} from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import { authEventKeys } from '../../spec/room/auth-events.ts'
import { authorize } from '../../spec/room/authorize.ts'
import { finishPdu } from '../../spec/room/event-format.ts'
import { type RoomVersionRules, rulesOf } from '../../spec/room/version.ts'

export const alice = parseUserId('@alice:a.example')
export const bob = parseUserId('@bob:b.example')
export const carol = parseUserId('@carol:c.example')
export const dave = parseUserId('@dave:d.example')

/** What a test says of an event; the rest follows from the branch. */
export interface Draft {
  readonly type: string
  readonly sender?: string
  readonly stateKey?: string
  readonly content?: JsonObject
  readonly ts?: number
  readonly depth?: number
  /** Replaces the choice of auth events. */
  readonly auth?: readonly EventId[]
  readonly redacts?: string
  /** Name for the id, where ids are names. */
  readonly id?: string
}

/** One line of a room's history. */
export interface Branch {
  readonly state: ReadonlyMap<StateKey, EventId>
  send(draft: Draft): Pdu
  /** Sends the event if the branch's own state allows it. */
  offer(draft: Draft): Pdu | undefined
  fork(): Branch
  /** Replaces the state, as a merge with another branch does. */
  adopt(state: ReadonlyMap<StateKey, EventId>): void
  /** The event that holds a key, as `authorize` asks for it. */
  read(type: string, stateKey: string): Pdu | undefined
}

export interface Room {
  readonly rules: RoomVersionRules
  readonly create: Pdu
  readonly events: Map<EventId, Pdu>
  readonly rejected: Set<EventId>
  readonly main: Branch
  /** What a resolution reads. */
  readonly source: {
    event(id: EventId): Pdu | undefined
    isRejected(id: EventId): boolean
    authChain(ids: Iterable<EventId>): Set<EventId>
  }
}

export interface RoomOptions {
  readonly creator?: string
  readonly createContent?: JsonObject
  /** 'names' for ids that can be read and chosen; 'hashes' for events as they are on the wire. */
  readonly ids?: 'names' | 'hashes'
}

/** The rules of a version that surely exists. */
export function rulesFor(version: string): RoomVersionRules {
  const rules = rulesOf(version)
  if (rules === undefined) throw new Error(`no room version ${version}`)
  return rules
}

/** A room with nothing but its create event. */
export function newRoom(version: string, options: RoomOptions = {}): Room {
  const { creator = alice, createContent = {}, ids = 'names' } = options
  const rules = rulesFor(version)
  const maker: Maker = { rules, ids, named: 0, clock: 1_000 }
  const create = make(maker, 'new', {
    type: 'm.room.create',
    sender: creator,
    stateKey: '',
    content: {
      room_version: version,
      ...(rules.implicitCreator ? {} : { creator }),
      ...createContent,
    },
  })
  const events = new Map([[create.eventId, create]])
  const rejected = new Set<EventId>()
  const event = (id: EventId) => events.get(id)
  return {
    rules,
    create,
    events,
    rejected,
    main: branchFrom({ maker, events, create }, new Map([[createKey, create.eventId]]), create),
    source: {
      event,
      isRejected: (id) => rejected.has(id),
      authChain: (from) => authChain(event, from),
    },
  }
}

/** A room whose creator has joined, with power levels and join rules, and in which others have joined. */
export function furnishedRoom(
  version: string,
  options: RoomOptions & {
    readonly levels?: JsonObject
    readonly joinRule?: string
    readonly joined?: readonly string[]
  } = {},
): Room {
  const room = newRoom(version, options)
  const { creator = alice, levels, joinRule = 'public', joined = [] } = options
  room.main.send(membership(creator, 'join'))
  const users = room.rules.privilegedCreators ? {} : { [creator]: 100 }
  room.main.send({ ...powerLevels({ users, ...levels }), sender: creator })
  room.main.send({ ...joinRules(joinRule), sender: creator })
  for (const user of joined) room.main.send(membership(user, 'join'))
  return room
}

export function membership(user: string, value: string, sender = user): Draft {
  return { type: 'm.room.member', sender, stateKey: user, content: { membership: value } }
}

export function powerLevels(content: JsonObject): Draft {
  return { type: 'm.room.power_levels', stateKey: '', content }
}

export function joinRules(rule: string): Draft {
  return { type: 'm.room.join_rules', stateKey: '', content: { join_rule: rule } }
}

export function topic(text: string, sender: string = alice): Draft {
  return { type: 'm.room.topic', sender, stateKey: '', content: { topic: text } }
}

/** Some key that signs, where ids are hashes. */
const key = signingKeyFromSeed('ed25519:1', new Uint8Array(32).fill(7))

const createKey = stateKeyOf('m.room.create', '')

interface Maker {
  readonly rules: RoomVersionRules
  readonly ids: 'names' | 'hashes'
  named: number
  clock: number
}

interface Ground {
  readonly maker: Maker
  readonly events: Map<EventId, Pdu>
  readonly create: Pdu
}

function branchFrom(ground: Ground, start: ReadonlyMap<StateKey, EventId>, tip: Pdu): Branch {
  const { maker, events, create } = ground
  const state = new Map(start)
  let last = tip
  const read = (type: string, stateKey: string) => {
    if (type === 'm.room.create') return create
    const id = state.get(stateKeyOf(type, stateKey))
    return id === undefined ? undefined : events.get(id)
  }
  const accept = (event: Pdu) => {
    events.set(event.eventId, event)
    if (event.stateKey !== undefined)
      state.set(stateKeyOf(event.type, event.stateKey), event.eventId)
    last = event
    return event
  }
  return {
    state,
    read,
    fork: () => branchFrom(ground, state, last),
    adopt(other) {
      state.clear()
      for (const [key, id] of other) state.set(key, id)
    },
    send: (draft) => accept(make(maker, { create, state, last }, draft)),
    offer(draft) {
      const event = make(maker, { create, state, last }, draft)
      return authorize(event, maker.rules, read).kind === 'allow' ? accept(event) : undefined
    },
  }
}

type Place =
  | 'new'
  | { readonly create: Pdu; readonly state: ReadonlyMap<StateKey, EventId>; readonly last: Pdu }

function make(maker: Maker, place: Place, draft: Draft): Pdu {
  const { rules } = maker
  const { type, stateKey, content = {} } = draft
  const sender = parseUserId(draft.sender ?? alice)
  maker.named += 1
  maker.clock += 1_000
  const origin = { sender, type, content, ...(stateKey === undefined ? {} : { stateKey }) }
  const authEvents =
    draft.auth ?? (place === 'new' ? [] : selectAuthEvents(origin, place.state, rules))
  const prevEvents = place === 'new' ? [] : [place.last.eventId]
  const depth = draft.depth ?? (place === 'new' ? 1 : place.last.depth + 1)
  const name =
    draft.id ?? `${maker.named.toString().padStart(3, '0')}-${type.replace('m.room.', '')}`
  const isPair = rules.eventFormat === 'pair'
  const reference = (id: EventId) => (isPair ? [id, { sha256: 'x' }] : id)
  const hasRoomId = !(rules.createHashRoomId && place === 'new')
  const roomId = place === 'new' ? '!room:a.example' : place.create.roomId
  const json: JsonObject = {
    type,
    sender,
    content,
    depth,
    origin_server_ts: draft.ts ?? maker.clock,
    prev_events: prevEvents.map(reference),
    auth_events: authEvents.map(reference),
    ...(stateKey === undefined ? {} : { state_key: stateKey }),
    ...(draft.redacts === undefined ? {} : { redacts: draft.redacts }),
    ...(hasRoomId ? { room_id: roomId } : {}),
    ...(isPair ? { event_id: `$${name}:${serverOfUser(sender)}` } : {}),
  }
  if (maker.ids === 'hashes') return finishPdu(json, rules, serverOfUser(sender), key)
  const eventId = parseEventId(isPair ? `$${name}:${serverOfUser(sender)}` : `$${name}`)
  return {
    ...origin,
    eventId,
    roomId: hasRoomId ? parseRoomId(roomId) : roomIdOfCreate(eventId),
    depth,
    originServerTs: draft.ts ?? maker.clock,
    prevEvents,
    authEvents,
    ...(draft.redacts === undefined ? {} : { redacts: parseEventId(draft.redacts) }),
    json,
    text: JSON.stringify(json),
  }
}

function selectAuthEvents(
  event: { type: string; sender: string; stateKey?: string; content: JsonObject },
  state: ReadonlyMap<StateKey, EventId>,
  rules: RoomVersionRules,
): EventId[] {
  const ids = authEventKeys(event, rules).map((stateKey) => state.get(stateKey))
  return ids.filter((id) => id !== undefined)
}

function authChain(event: (id: EventId) => Pdu | undefined, from: Iterable<EventId>): Set<EventId> {
  const chain = new Set<EventId>()
  const stack = [...from].flatMap((id) => event(id)?.authEvents ?? [])
  for (let id = stack.pop(); id !== undefined; id = stack.pop()) {
    if (chain.has(id)) continue
    chain.add(id)
    stack.push(...(event(id)?.authEvents ?? []))
  }
  return chain
}
