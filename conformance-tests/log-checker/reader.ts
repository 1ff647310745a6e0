import type { Database } from '../../homeserver/database/database.ts'
import { sumModulus } from './protocol.ts'

/** What a reader that shares no code with the tail saw of the log. */
export interface ReaderFindings {
  last: number
  rows: number
  sum: number
}

const pageRows = 5_000
const pauseMs = 2

/**
 * Reads the log without pause from `position > last`, as any consumer may. A row that appears at or below a position that
 * was read is never seen: then count and sum differ from the table's in the end.
 */
export async function readUntil(db: Database, stopped: () => boolean): Promise<ReaderFindings> {
  const found: ReaderFindings = { last: 0, rows: 0, sum: 0 }
  for (;;) {
    const ending = stopped()
    const page = await nextPage(db, found.last)
    for (const { position } of page) {
      found.last = position
      found.rows += 1
      found.sum = (found.sum + position) % sumModulus
    }
    if (ending && page.length === 0) return found
    if (page.length < pageRows) await new Promise((resolve) => setTimeout(resolve, pauseMs))
  }
}

async function nextPage(db: Database, last: number): Promise<{ position: number }[]> {
  for (;;) {
    try {
      return await db.query<{ position: number }>(
        `select position from log where position > $1 order by position limit ${pageRows}`,
        [last],
      )
    } catch {
      // Its connections are killed too.
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
}
