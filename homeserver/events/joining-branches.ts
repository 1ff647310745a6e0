/**
 * Keeps the number of a room's forward extremities low: when they have become many, an event that says nothing joins
 * them. It is sent by a local user who may send messages, and shown to nobody.
 */
import { MatrixError } from '../../spec/errors.ts'
import {
  isRoomId,
  isUserId,
  type RoomId,
  type ServerName,
  serverOfUser,
  type UserId,
} from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import type { Jobs } from '../jobs/jobs.ts'
import type { Clock } from '../platform/clock.ts'
import type { Logger } from '../platform/log.ts'
import type { Events } from './events.ts'
import { membershipPrefix } from './persist.ts'
import type { RoomViews } from './room-views.ts'
import { dummyType } from './visible.ts'

export const branchLimits = {
  /** Forward extremities from which on they are joined. */
  many: 10,
  /** How long a room may heal by itself, in ms; and one job per room in that time. */
  waitMs: 10_000,
  /** Events that join branches in one job, and users who are tried as their sender. */
  events: 5,
  senders: 10,
} as const

const jobKind = 'events.join-branches'

/** The job for a room with so many branches, if they are many; the same one for all events of a short time. */
export function branchJobs(
  { jobs, clock }: { readonly jobs: Pick<Jobs, 'row'>; readonly clock: Pick<Clock, 'now'> },
  room: RoomId,
  extremities: number,
): readonly JsonObject[] {
  if (extremities <= branchLimits.many) return []
  const slot = Math.floor(clock.now() / branchLimits.waitMs) + 1
  const runAtMs = slot * branchLimits.waitMs
  return [jobs.row(jobKind, { room }, { id: `${jobKind} ${room} ${slot}`, runAtMs })]
}

interface Needs {
  readonly jobs: Pick<Jobs, 'handle'>
  readonly serverName: ServerName
  readonly views: RoomViews
  readonly events: Pick<Events, 'append' | 'extremities'>
  readonly log: Logger
}

/** Sets the handler of the job. */
export function joinBranches({ jobs, serverName, views, events, log }: Needs): void {
  async function localUsers(room: RoomId): Promise<UserId[]> {
    const users: UserId[] = []
    for (const key of (await views.get(room))?.entries.keys() ?? []) {
      const user = key.startsWith(membershipPrefix) ? key.slice(membershipPrefix.length) : undefined
      if (isUserId(user) && serverOfUser(user) === serverName) users.push(user)
      if (users.length >= branchLimits.senders) break
    }
    return users
  }

  /** False when nobody here may send. */
  async function joinSome(room: RoomId, users: readonly UserId[]): Promise<boolean> {
    for (const sender of users) {
      try {
        const draft = { type: dummyType, sender, content: {} }
        await events.append(room, () => ({ kind: 'append', draft }))
        return true
      } catch (error) {
        if (!(error instanceof MatrixError) || error.errcode !== 'M_FORBIDDEN') throw error
      }
    }
    return false
  }

  jobs.handle(jobKind, async ({ payload: { room } }) => {
    if (!isRoomId(room)) return undefined
    const users = await localUsers(room)
    for (let made = 0; made < branchLimits.events; made++) {
      const { ids } = await events.extremities(room)
      if (ids.length <= branchLimits.many || !(await joinSome(room, users))) break
      log.debug({ room, branches: ids.length }, 'branches joined')
    }
    return undefined
  })
}
