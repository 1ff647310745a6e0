/**
 * Asks again for the device lists of other servers' users: those of which an update was lost, soon; those that could
 * not be had, until they are; those that are kept, once a day, since nothing else tells of an update that was lost after all others.
 */
import { type ServerName, serverOfUser, type UserId } from '../../spec/ids.ts'
import type { Database } from '../database/database.ts'
import type { Clock } from '../platform/clock.ts'
import type { Logger } from '../platform/log.ts'
import type { LogRow, LogWriter, Tail } from '../stream/log.ts'
import { writeDone } from '../stream/settled.ts'
import { listEntry } from './device-lists.ts'
import { grouped } from './grouped.ts'
import * as queries from './refresh-queries.ts'
import type { RemoteKeys } from './remote-keys.ts'

export const refreshLimits = {
  everyMs: 30_000,
  /** How long after news of other servers' devices it is looked whether some were lost. */
  soonMs: 1_000,
  /** Lists that a process asks for in one round. */
  perRound: 50,
  /** No other process asks for a list within this. */
  leaseMs: 300_000,
  retryMinMs: 30_000,
  retryMaxMs: 1_800_000,
} as const

interface Needs {
  readonly db: Database
  readonly log: Pick<LogWriter, 'write'>
  readonly tail: Pick<Tail, 'subscribe'>
  readonly serverName: ServerName
  readonly clock: Pick<Clock, 'now' | 'every' | 'sleep'>
  readonly remoteKeys: Pick<RemoteKeys, 'refresh' | 'isTracked'>
  readonly logger: Logger
}

export interface ListRefresh extends Disposable {
  /** Asks for what is due; resolves when the answers are in. */
  round(): Promise<void>
  start(): void
}

export function createListRefresh(needs: Needs): ListRefresh {
  const { db, log, clock, remoteKeys, logger, serverName } = needs
  const stop = new AbortController()
  let subscriptions: readonly Disposable[] = []
  let isRunning = false
  let isSoon = false

  async function askServer(server: ServerName, lists: readonly queries.DueList[]): Promise<void> {
    const wanted: queries.DueList[] = []
    for (const list of lists) {
      if (await remoteKeys.isTracked(list.user_id)) wanted.push(list)
      else await queries.forgetList(db, list.user_id, list.version)
    }
    if (wanted.length === 0) return
    try {
      await tell(await remoteKeys.refresh(server, wanted))
    } catch (error) {
      logger.debug({ server, lists: wanted.length, error }, 'device lists were not to be had')
      for (const { user_id, failures } of wanted)
        await queries.postponeList(db, user_id, clock.now() + retryMs(failures))
    }
  }

  /** Who shares a room with these users asks for their keys anew. */
  async function tell(changed: readonly UserId[]): Promise<void> {
    if (changed.length === 0) return
    await writeDone(log, { entries: changed.map((user) => listEntry(user, 'devices')) })
  }

  async function round(): Promise<void> {
    const now = clock.now()
    const { leaseMs, perRound } = refreshLimits
    const due = await queries.takeDueLists(db, { now, until: now + leaseMs, limit: perRound })
    const servers = grouped(due, ({ user_id }) => serverOfUser(user_id))
    await Promise.all([...servers].map(([server, lists]) => askServer(server, lists)))
  }

  function tick(): void {
    if (isRunning) return
    isRunning = true
    round()
      .catch((error: unknown) => logger.warn({ error }, 'device lists were not refreshed'))
      .finally(() => {
        isRunning = false
      })
  }

  const isOfOthers = ({ kind, user }: LogRow) =>
    kind === 'deviceList' && user !== undefined && serverOfUser(user) !== serverName

  function onRows(rows: readonly LogRow[]): void {
    if (isSoon || !rows.some(isOfOthers)) return
    isSoon = true
    clock.sleep(refreshLimits.soonMs, stop.signal).then(
      () => {
        isSoon = false
        tick()
      },
      () => {},
    )
  }

  return {
    round,
    start() {
      subscriptions = [
        clock.every(refreshLimits.everyMs, tick),
        needs.tail.subscribe('lost device lists', onRows),
      ]
    },
    [Symbol.dispose]() {
      stop.abort()
      for (const subscription of subscriptions) subscription[Symbol.dispose]()
    },
  }
}

function retryMs(failures: number): number {
  const { retryMinMs, retryMaxMs } = refreshLimits
  return Math.min(retryMaxMs, retryMinMs * 2 ** Math.min(failures - 1, 20))
}
