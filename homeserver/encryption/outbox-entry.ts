import type { ServerName } from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import type { LogEntry } from '../stream/log.ts'

/**
 * A log entry that queues an EDU for a server until the server has taken it. Of those with the same `collapseKey`
 * only the newest waits.
 */
export function outboxEntry(
  destination: ServerName,
  eduType: string,
  content: JsonObject,
  collapseKey?: string,
): LogEntry {
  const row = {
    destination,
    edu_type: eduType,
    content: JSON.stringify(content),
    collapse_key: collapseKey ?? null,
  }
  return { kind: 'outbox', ref: destination, payload: row, tables: { outbox: [row] } }
}
