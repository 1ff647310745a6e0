/** Jobs that accepted events bring about. */
import type { EventId, RoomId } from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import type { Jobs } from '../jobs/jobs.ts'
import type { Clock } from '../platform/clock.ts'
import { branchJobs } from './joining-branches.ts'
import { reduceJob } from './reducing.ts'

/** Rows of jobs, for the write of an accepted event. */
export interface Aftermath {
  /** The content of the redacted event is to go. */
  redacted(target: EventId): readonly JsonObject[]
  /** The room has so many forward extremities. */
  branched(room: RoomId, extremities: number): readonly JsonObject[]
}

export function createAftermath(needs: {
  readonly jobs?: Pick<Jobs, 'row'>
  readonly clock: Clock
  readonly retentionMs: number
}): Aftermath {
  const { jobs, clock, retentionMs } = needs
  if (jobs === undefined) return { redacted: () => [], branched: () => [] }
  return {
    redacted: (target) => [reduceJob(jobs, target, clock.now() + retentionMs)],
    branched: (room, extremities) => branchJobs({ jobs, clock }, room, extremities),
  }
}
