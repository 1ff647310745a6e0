/**
 * Tells push gateways of what happens. Each process looks after the users that rendezvous hashing gives it: it follows
 * the log, asks the rules, and sends. What a gateway does not take is remembered with the pusher and tried again, by
 * whichever process is there. {@link https://spec.matrix.org/v1.19/client-server-api/#push-notifications}
 */
import { isUserId, type RoomId, type UserId } from '../../spec/ids.ts'
import { isEventPayload } from '../rooms/memberships.ts'
import type { Memberships } from '../rooms/rooms.ts'
import type { LogRow, Position } from '../stream/log.ts'
import { createPushAudience } from './push-audience.ts'
import { createPushLanes, type PushLanesNeeds } from './push-lanes.ts'
import { createPushNews, type PushNewsNeeds } from './push-news.ts'
import { createPushProgress, type PushProgressNeeds } from './push-progress.ts'
import type { Pushers } from './pushers.ts'

export interface Pushing extends AsyncDisposable {
  /** After the tail has begun. */
  start(): void
}

export type PushingNeeds = Omit<PushLanesNeeds, 'missed'> &
  Omit<PushNewsNeeds, 'audience' | 'lanes' | 'withPushers'> &
  Omit<PushProgressNeeds, 'replay'> & {
    readonly pushers: Pushers
    readonly memberships: Pick<Memberships, 'localJoined'>
    /** Does this process look after what has this name. */
    readonly owns: (name: string) => boolean
  }

/** Rows that wait to be looked at; the oldest are left out, for whoever is that late has more to do. */
const inboxMax = 50_000
const tickMs = 1_000
/** How often rows are looked at that could not be; then they are left out. */
const attemptsMax = 30
/** How often is looked for what a process left that had a user until a moment ago. */
const takeOverMs = 30_000

export function createPushing(needs: PushingNeeds): Pushing {
  const { tail, pushers, clock, logger } = needs
  let withPushers: ReadonlySet<UserId> | undefined
  const known = () => withPushers ?? nobody
  const audience = createPushAudience({ ...needs, withPushers: known })
  const isMine = (user: UserId) => needs.owns(`push:${user}`)
  const lanes = createPushLanes({ ...needs, missed: (user, after) => news.missed(user, after) })
  const news = createPushNews({ ...needs, audience, lanes, withPushers: known })
  const progress = createPushProgress({
    ...needs,
    replay: (rows, mine) => news.take(rows, (user) => mine(user) && isMine(user)),
  })
  let inbox: LogRow[] = []
  let working: Promise<void> | undefined
  let lookedTo: Position = 0
  let failures = 0
  let retryAt = 0
  let isStopped = false
  let takenOverAt = clock.now()

  /** May the row have to be pushed to somebody. */
  function matters({ kind, room, user, payload }: LogRow): boolean {
    switch (kind) {
      case 'event':
        return isEventPayload(payload) && (mayConcern(room) || isForOne(user))
      case 'outOfBandMembership':
        return isForOne(user)
      case 'receipt':
        return isForOne(user)
      default:
        return false
    }
  }
  const mayConcern = (room: RoomId | undefined) =>
    room !== undefined && audience.peek(room)?.length !== 0
  const isForOne = (user: UserId | undefined) =>
    user !== undefined && (withPushers?.has(user) ?? true)

  const subscription = tail.subscribe('pushing', (rows) => {
    for (const row of rows) {
      if (row.kind === 'invalidate' && isUserId(row.user)) lanes.changed(row.user)
    }
    if (withPushers?.size === 0) return
    for (const row of rows) if (matters(row)) inbox.push(row)
    if (inbox.length > inboxMax) inbox = inbox.slice(-inboxMax)
    look()
  })

  function look(): void {
    if (working !== undefined || isStopped || withPushers === undefined) return
    if (clock.now() < retryAt) return
    working = work()
      .catch((error: unknown) => logger.warn({ error }, 'notifications were not looked at'))
      .finally(() => {
        working = undefined
        if (inbox.length > 0) look()
      })
  }

  async function work(): Promise<void> {
    const rows = inbox
    inbox = []
    const upTo = tail.position
    try {
      await news.take(rows, isMine)
      failures = 0
    } catch (error) {
      failures = (failures + 1) % attemptsMax
      if (failures > 0) {
        // A pusher passes over what it has already.
        inbox = [...rows, ...inbox]
        retryAt = clock.now() + tickMs
        throw error
      }
      logger.error({ error, rows: rows.length }, 'notifications were given up')
    }
    lookedTo = upTo
  }

  async function begin(): Promise<void> {
    const upTo = tail.position
    withPushers = await pushers.users()
    look()
    await lanes.takeOver(isMine)
    await progress.begin(upTo)
  }

  let beginning: Promise<void> | undefined
  function tick(): void {
    if (isStopped) return
    if (withPushers === undefined) {
      beginning ??= begin()
        .catch((error: unknown) => logger.warn({ error }, 'pushing could not begin'))
        .finally(() => {
          beginning = undefined
        })
      return
    }
    lanes.runDue(isMine)
    if (inbox.length > 0) look()
    if (known().size > 0 && clock.now() - takenOverAt > takeOverMs) takeOver()
    if (known().size > 0) progress.store(done())
  }

  /** Everything at or below is sent, or stored as not delivered. */
  function done(): Position {
    const isAtRest = inbox.length === 0 && working === undefined
    return Math.min(isAtRest ? tail.position : lookedTo, lanes.unstored() - 1)
  }

  let ticker: Disposable | undefined
  const change = needs.processes.onChange(takeOver)

  function takeOver(): void {
    if (withPushers === undefined || isStopped) return
    takenOverAt = clock.now()
    void Promise.all([lanes.takeOver(isMine), progress.takeOver()]).catch((error: unknown) =>
      logger.warn({ error }, 'pushers of another process were not taken over'),
    )
  }

  return {
    start() {
      ticker = clock.every(tickMs, tick)
      tick()
    },
    async [Symbol.asyncDispose]() {
      isStopped = true
      ticker?.[Symbol.dispose]()
      change[Symbol.dispose]()
      subscription[Symbol.dispose]()
      await beginning
      await working
      await lanes[Symbol.asyncDispose]()
      if (known().size > 0) await progress.end(done())
    },
  }
}

const nobody: ReadonlySet<UserId> = new Set()
