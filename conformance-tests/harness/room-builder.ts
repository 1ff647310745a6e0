/**
 * A room as a peer keeps it: a DAG of events with the state before each, built without any state resolution. Events
 * follow the tips unless a test says otherwise, so that a test can make any fork or fault it wants.
 */
import { type Body, isBody } from './http.ts'
import { finish, namesItself, type Pdu } from './pdu.ts'
import { canonical, type SigningKey, sha256, unpadded } from './signing.ts'

/** What a test says of an event; the rest is filled in from the room. */
export interface Draft {
  readonly type: string
  readonly sender: string
  readonly content: Body
  readonly stateKey?: string
  readonly prev?: readonly string[]
  readonly auth?: readonly string[]
  readonly depth?: number
  /** More members of the event, or other values for those that are filled in. */
  readonly more?: Body
}

export type PeerRoom = ReturnType<typeof createPeerRoom>
type State = ReadonlyMap<string, string>

const keyOf = (type: string, stateKey: string) => `${type}\0${stateKey}`

/** An empty room of this version; its id is known at first only if it does not come from its create event. */
export function createPeerRoom(options: {
  version: string
  server: string
  key: SigningKey
  roomId?: string
}) {
  const { version, server, key } = options
  const events = new Map<string, Body>()
  const before = new Map<string, State>()
  let state: State = new Map()
  let tips: string[] = []
  let depth = 0
  let roomId =
    options.roomId ?? `!${unpadded(sha256(String(Math.random())), true).slice(0, 18)}:${server}`
  let counter = 0

  const reference = (id: string): unknown =>
    namesItself(version) ? [id, { sha256: unpadded(sha256(id)) }] : id
  const lookUp = (type: string, stateKey = '') => state.get(keyOf(type, stateKey))

  /** The events that authorise an event of this kind. */
  function authEvents({ type, sender, stateKey, content }: Draft): string[] {
    if (type === 'm.room.create') return []
    const wanted = [keyOf('m.room.power_levels', ''), keyOf('m.room.member', sender)]
    if (version !== '12') wanted.push(keyOf('m.room.create', ''))
    if (type === 'm.room.member') {
      wanted.push(keyOf('m.room.member', stateKey ?? ''), keyOf('m.room.join_rules', ''))
      const authoriser = content['join_authorised_via_users_server']
      if (typeof authoriser === 'string') wanted.push(keyOf('m.room.member', authoriser))
    }
    return [...new Set(wanted)].flatMap((one) => state.get(one) ?? [])
  }

  /** An unsigned event, as a make_join answer has it. */
  function template(draft: Draft): Body {
    const isCreate = draft.type === 'm.room.create'
    return {
      type: draft.type,
      sender: draft.sender,
      content: draft.content,
      ...(draft.stateKey === undefined ? {} : { state_key: draft.stateKey }),
      ...(isCreate && version === '12' ? {} : { room_id: roomId }),
      ...(namesItself(version) ? { event_id: `$${Date.now()}x${++counter}:${server}` } : {}),
      prev_events: (draft.prev ?? tips).map(reference),
      auth_events: (draft.auth ?? authEvents(draft)).map(reference),
      depth: draft.depth ?? Math.min(depth + 1, Number.MAX_SAFE_INTEGER),
      origin_server_ts: Date.now(),
      ...draft.more,
    }
  }

  function build(draft: Draft): Pdu {
    return finish(template(draft), version, server, key)
  }

  /** Takes an event into the room; it becomes the only tip unless told otherwise. */
  function add(pdu: Pdu, keepTips: readonly string[] = []): Pdu {
    const { type, state_key: stateKey } = pdu.json
    events.set(pdu.id, pdu.json)
    before.set(pdu.id, state)
    if (typeof stateKey === 'string')
      state = new Map(state).set(keyOf(String(type), stateKey), pdu.id)
    if (type === 'm.room.create' && version === '12') roomId = `!${pdu.id.slice(1)}`
    tips = [...keepTips, pdu.id]
    depth = Math.max(depth, Number(pdu.json['depth']))
    return pdu
  }

  /** Takes over the state of a room that another server holds, with the event that comes after it. */
  function adopt(stateEvents: readonly Pdu[], others: readonly Pdu[], last: Pdu): void {
    for (const { id, json } of [...others, ...stateEvents]) events.set(id, json)
    state = new Map(
      stateEvents.map(({ id, json }) => [
        keyOf(String(json['type']), String(json['state_key'])),
        id,
      ]),
    )
    add(last)
  }

  const idsOf = (references: unknown): string[] =>
    Array.isArray(references)
      ? references.map((one) => String(Array.isArray(one) ? one[0] : one))
      : []

  /** All events that authorise these, directly or not. */
  function authChain(ids: Iterable<string>): string[] {
    const chain = new Set<string>()
    const queue = [...ids]
    for (let id = queue.pop(); id !== undefined; id = queue.pop()) {
      for (const next of idsOf(events.get(id)?.['auth_events'])) {
        if (!chain.has(next) && events.has(next)) {
          chain.add(next)
          queue.push(next)
        }
      }
    }
    return [...chain]
  }

  /** Walks back over prev_events, newest first. */
  function walkBack(from: readonly string[], until: readonly string[], limit: number): string[] {
    const seen = new Set<string>(until)
    const found: string[] = []
    const queue = [...from]
    for (let id = queue.shift(); id !== undefined && found.length < limit; id = queue.shift()) {
      if (seen.has(id) || !events.has(id)) continue
      seen.add(id)
      found.push(id)
      queue.push(...idsOf(events.get(id)?.['prev_events']))
    }
    return found
  }

  return {
    version,
    get roomId() {
      return roomId
    },
    get tips() {
      return tips
    },
    get depth() {
      return depth
    },
    get state() {
      return state
    },
    events,
    before,
    template,
    build,
    add,
    adopt,
    authChain,
    walkBack,
    idsOf,
    lookUp,
    /** Builds an event and takes it in. */
    append: (draft: Draft) => add(build(draft)),
    /** The JSON of events that are here. */
    jsonOf: (ids: Iterable<string>): Body[] => [...ids].map((id) => events.get(id)).filter(isBody),
    size: (json: Body) => Buffer.byteLength(canonical(json)),
  }
}

/** Makes a public room with a creator who is in it. */
export function startRoom(options: {
  version: string
  server: string
  key: SigningKey
  creator: string
  joinRule?: Body
  initialState?: readonly Omit<Draft, 'sender'>[]
}): PeerRoom {
  const { version, creator } = options
  const room = createPeerRoom(options)
  const creatorField = Number(version) < 11 ? { creator } : {}
  const state = (type: string, stateKey: string, content: Body) =>
    room.append({ type, stateKey, content, sender: creator })
  state('m.room.create', '', { room_version: version, ...creatorField })
  state('m.room.member', creator, { membership: 'join' })
  state('m.room.power_levels', '', version === '12' ? { users: {} } : { users: { [creator]: 100 } })
  state('m.room.join_rules', '', options.joinRule ?? { join_rule: 'public' })
  state('m.room.history_visibility', '', { history_visibility: 'shared' })
  for (const draft of options.initialState ?? []) room.append({ ...draft, sender: creator })
  return room
}
