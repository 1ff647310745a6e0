/** Takes the content of redacted events out of the database, some time after they were redacted. */
import { type EventId, isEventId } from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import { redactPdu } from '../../spec/room/event-format.ts'
import { rulesOf } from '../../spec/room/version.ts'
import type { Database } from '../database/database.ts'
import type { Jobs } from '../jobs/jobs.ts'
import { reducedEntry } from './purged.ts'
import { findRoom } from './queries.ts'
import type { EventStore } from './store.ts'

const jobKind = 'events.reduce'

/** The job that reduces an event, which was just redacted, at a time. */
export function reduceJob(jobs: Pick<Jobs, 'row'>, target: EventId, runAtMs: number): JsonObject {
  return jobs.row(jobKind, { event_id: target }, { id: `${jobKind} ${target}`, runAtMs })
}

/** Sets the handler of the job. */
export function reduceRedacted(needs: {
  readonly jobs: Pick<Jobs, 'handle'>
  readonly db: Database
  readonly store: EventStore
}): void {
  const { jobs, db, store } = needs
  jobs.handle(jobKind, async ({ payload: { event_id: id } }) => {
    if (!isEventId(id)) return undefined
    const event = (await store.get([id])).get(id)
    const row = event && (await findRoom(db, event.pdu.roomId))
    const rules = row && rulesOf(row.version)
    if (event === undefined || rules === undefined) return undefined
    const { text, json } = redactPdu(event.pdu, rules)
    const changed = { nr: event.nr, json: text ?? JSON.stringify(json) }
    return { entries: [reducedEntry(event.nr, id)], tables: { event_texts: [changed] } }
  })
}
