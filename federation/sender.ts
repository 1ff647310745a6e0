/**
 * Sends what commits here to the servers it is for. Follows the log; of a destination's queue only its owner sends.
 * An event's destinations are fixed when it commits: the servers in the room before it and after it.
 */
import type { Destinations } from '../homeserver/destinations/destinations.ts'
import type { EventPayload, Events } from '../homeserver/events/events.ts'
import type { StoredEvent } from '../homeserver/events/stored-event.ts'
import type { Clock } from '../homeserver/platform/clock.ts'
import type { Logger } from '../homeserver/platform/log.ts'
import type { LogRow, Position, Processes } from '../homeserver/stream/log.ts'
import { isServerName, type RoomId, type ServerName, serverOfUser } from '../spec/ids.ts'
import { isObject, stringAt } from '../spec/json.ts'
import type { Ephemeral } from './coalescing.ts'
import { createDestinationQueue, type DestinationQueue } from './destination-queue.ts'
import type { Peering } from './peering.ts'
import type { FederationClient } from './request.ts'
import { createRoomServers, memberOf } from './room-servers.ts'
import { createSenderCursor, type ReadableLog } from './sender-cursor.ts'
import { createTransport } from './transport.ts'

export interface Sender extends AsyncDisposable {
  /** Takes up what was left by an earlier run; called once, when the tail has started. */
  start(): Promise<void>
  /** Something that is worth nothing later, to the servers in a room; a newer one with the same key replaces it. */
  sendToRoom(room: RoomId, item: Ephemeral, key: string): void
  /** As sendToRoom, to the servers given. */
  sendTo(servers: Iterable<ServerName>, item: Ephemeral, key: string): void
}

export interface SenderNeeds {
  readonly serverName: ServerName
  readonly client: Pick<FederationClient, 'call'>
  /** With whom to talk; without it with all. */
  readonly peering?: Peering
  readonly destinations: Destinations
  readonly events: Pick<Events, 'serversIn' | 'timeline' | 'serverMaySee'>
  readonly tail: ReadableLog
  readonly processes: Processes
  readonly clock: Clock
  readonly log: Logger
}

/** Queues whose pause has ended are found within this; receipts and presence wait for each other so long. */
const tickMs = 250
/** Servers that another process has heard from are found within this. */
const refreshMs = 2_000
/** What waits in the database for destinations that no row of the log speaks of is looked for. */
const sweepMs = 30_000
/** Idle queues are dropped when there are more than this. */
const queuesMax = 10_000

export function createSender(needs: SenderNeeds): Sender {
  const { serverName, processes, tail, destinations, clock, log } = needs
  const transport = createTransport(needs)
  const servers = createRoomServers(needs)
  const queues = new Map<ServerName, DestinationQueue>()
  const touched = new Set<DestinationQueue>()
  /** Rooms whose servers are being loaded: what comes for them keeps its order. */
  const lanes = new Map<RoomId, Promise<void>>()
  const inLanes = new Set<Position>()
  const cursor = createSenderCursor({ ...needs, queues, replay, oldestInHand })

  /** Nobody sends to a server that is not to be talked with. */
  function owns(server: ServerName): boolean {
    if (needs.peering?.(server) === false) return false
    return processes.ownerOf(`destination:${server}`) === undefined
  }

  function queueOf(server: ServerName): DestinationQueue {
    const known = queues.get(server)
    if (known) return known
    const queue = createDestinationQueue(server, { ...needs, ...transport })
    queues.set(server, queue)
    destinations.backoff.met(server)
    return queue
  }

  /** Pumped when all that came together is in the queues. */
  function touch(queue: DestinationQueue): void {
    if (touched.size === 0) queueMicrotask(pumpTouched)
    touched.add(queue)
  }

  function pumpTouched(): void {
    const queues = [...touched]
    touched.clear()
    for (const queue of queues) queue.pump()
  }

  function onRows(rows: readonly LogRow[]): void {
    for (const row of rows) {
      if (row.kind === 'event' && isEventPayload(row.payload)) onEvent(row.payload, row.position)
      else if (row.kind === 'outbox') onOutbox(row.ref)
      else if (row.kind === 'receipt') onReceipt(row)
      else if (row.kind === 'state' && row.room) servers.forget(row.room)
    }
  }

  function onEvent(payload: EventPayload, position: Position): void {
    const before = servers.apply(payload)
    if (!isToSend(payload)) return
    const { roomId } = payload.event.pdu
    const now = servers.peek(roomId)
    if (now && !lanes.has(roomId)) {
      dispatch(payload, position, now, before)
      return
    }
    inLanes.add(position)
    inLane(roomId, async () => {
      dispatch(payload, position, await servers.load(roomId), before)
      inLanes.delete(position)
    })
  }

  function isToSend({ event, onBehalfOf, deliveredBy }: EventPayload): boolean {
    if (deliveredBy !== undefined) return false
    return onBehalfOf !== undefined || serverOfUser(event.pdu.sender) === serverName
  }

  function dispatch(
    { event, onBehalfOf }: EventPayload,
    position: Position,
    after: ReadonlySet<ServerName>,
    before: ReadonlySet<ServerName> = after,
  ): void {
    const to = before === after ? after : new Set([...before, ...after])
    for (const server of withTarget(to, event)) {
      if (server === serverName || server === onBehalfOf || !owns(server)) continue
      const queue = queueOf(server)
      queue.push(event, position)
      touch(queue)
    }
  }

  /** After a restart: which events were delivered is not known exactly, so that they are looked up and sent again. */
  async function replay(rows: readonly LogRow[]): Promise<void> {
    for (const { kind, payload, position } of rows) {
      if (kind !== 'event' || !isEventPayload(payload) || !isToSend(payload)) continue
      const { event, onBehalfOf } = payload
      const now = await servers.load(event.pdu.roomId)
      for (const server of withTarget(now, event)) {
        if (server === serverName || server === onBehalfOf || !owns(server)) continue
        const queue = queueOf(server)
        queue.note(event.pdu.roomId, position)
        touch(queue)
      }
    }
  }

  function inLane(room: RoomId, work: () => Promise<void>): void {
    const before = lanes.get(room) ?? Promise.resolve()
    const lane = before.then(work).catch((error: unknown) => {
      log.error({ room, error }, 'destinations of an event could not be found')
    })
    lanes.set(room, lane)
    void lane.then(() => lanes.get(room) === lane && lanes.delete(room)) // lane never rejects
  }

  function onOutbox(ref: string): void {
    if (!isServerName(ref) || !owns(ref)) return
    const queue = queueOf(ref)
    queue.outboxGrown()
    touch(queue)
  }

  function onReceipt({ ref, user, room }: LogRow): void {
    if (!user || !room || serverOfUser(user) !== serverName) return
    const receipt: unknown = JSON.parse(ref)
    if (!isObject(receipt)) return
    const { type, event_id: event, ts, thread_id: thread } = receipt
    if (type !== 'm.read' || typeof event !== 'string' || typeof ts !== 'number') return
    const isThreaded = typeof thread === 'string'
    const told = { room, user, event, ts, ...(isThreaded && { thread }) }
    const key = `receipt ${room} ${user} ${isThreaded ? thread : ''}`
    sendToRoom(room, { kind: 'receipt', receipt: told }, key)
  }

  function sendToRoom(room: RoomId, item: Ephemeral, key: string): void {
    const now = servers.peek(room)
    if (now && !lanes.has(room)) sendTo(now, item, key)
    else inLane(room, async () => sendTo(await servers.load(room), item, key))
  }

  function sendTo(to: Iterable<ServerName>, item: Ephemeral, key: string): void {
    for (const server of to) {
      if (server === serverName || !owns(server)) continue
      const queue = queueOf(server)
      queue.pushEphemeral(key, item)
      // The others go with the next transaction, or together when the queues are looked at.
      if (item.kind === 'edu') touch(queue)
    }
  }

  function oldestInHand(): Position | undefined {
    let oldest: Position | undefined
    for (const position of inLanes) oldest = Math.min(oldest ?? position, position)
    for (const queue of queues.values()) {
      if (queue.oldest !== undefined) oldest = Math.min(oldest ?? queue.oldest, queue.oldest)
    }
    return oldest
  }

  function onTick(): void {
    for (const [server, queue] of queues) {
      queue.pump()
      // What it waits for is in the database, where the owner finds it.
      const isForeign = !owns(server) && queue.isStored
      if (isForeign || (queues.size > queuesMax && queue.isIdle)) queues.delete(server)
    }
  }

  /** Finds work that no row of the log speaks of: left by another process, or by an earlier run. */
  async function sweep(): Promise<void> {
    await destinations.backoff.refresh()
    for (const server of await destinations.waiting()) {
      if (!owns(server)) continue
      const queue = queueOf(server)
      queue.outboxGrown()
      queue.resume()
      touch(queue)
    }
  }

  const timers: Disposable[] = []
  return {
    async start() {
      timers.push(tail.subscribe('federation sender', onRows))
      destinations.backoff.onReturn((server) => queues.get(server)?.pump())
      await cursor.start()
      await sweep()
      timers.push(
        clock.every(tickMs, onTick),
        clock.every(refreshMs, () => {
          if (!processes.alone) void destinations.backoff.refresh() // it handles its errors
        }),
        clock.every(sweepMs, () => {
          sweep().catch((error: unknown) => log.warn({ error }, 'sweep of destinations failed'))
        }),
      )
    },
    sendToRoom,
    sendTo,
    async [Symbol.asyncDispose]() {
      for (const timer of timers) timer[Symbol.dispose]()
      await cursor[Symbol.asyncDispose]()
    },
  }
}

/** The servers, and that of a user who is removed: it need not be in the room for that. */
function withTarget(servers: ReadonlySet<ServerName>, { pdu }: StoredEvent): Iterable<ServerName> {
  const member = memberOf(pdu)
  const membership = stringAt(pdu.content, 'membership')
  if (!member || (membership !== 'leave' && membership !== 'ban')) return servers
  const server = serverOfUser(member)
  return servers.has(server) ? servers : [...servers, server]
}

function isEventPayload(payload: unknown): payload is EventPayload {
  return typeof payload === 'object' && payload !== null && 'event' in payload
}
