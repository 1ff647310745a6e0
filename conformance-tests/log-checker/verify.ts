import type { Database } from '../../homeserver/database/database.ts'
import type { ClientFindings } from './client.ts'
import { type Report, sumModulus } from './protocol.ts'
import type { ReaderFindings } from './reader.ts'

export type TailReport = Extract<Report, { type: 'finished' }>

/** Everything that does not hold, as sentences; empty when all does. */
export async function verify(
  db: Database,
  found: {
    client: ClientFindings
    requests: number
    free: ReadonlyMap<string, number>
    reader: ReaderFindings
    tails: readonly TailReport[]
  },
): Promise<string[]> {
  const wrong: string[] = []
  wrong.push(...(await checkRequests(db, found.client, found.requests)))
  wrong.push(...(await checkFree(db, found.free)))
  wrong.push(...(await checkChains(db)))
  wrong.push(...(await checkLogRows(db)))
  wrong.push(...(await checkSeen(db, 'the independent reader', 0, found.reader)))
  for (const tail of found.tails) {
    const seen = { last: tail.end, rows: tail.rows, sum: tail.sum }
    wrong.push(...(await checkSeen(db, `the tail of ${tail.self}`, tail.start, seen)))
  }
  return wrong
}

/** No acknowledged write is missing, at another position, or there twice; nothing is there that nobody asked for. */
async function checkRequests(
  db: Database,
  { positions, twice }: ClientFindings,
  requests: number,
): Promise<string[]> {
  const wrong = twice.map((request) => `request ${request} was answered with two positions`)
  const stored = new Map<number, number>()
  for (let last = 0; ; ) {
    const page = await db.query<{ position: number; request: number }>(
      'select position, request from check_rows where position > $1 order by position limit 20000',
      [last],
    )
    if (page.length === 0) break
    for (const { position, request } of page) {
      last = position
      if (stored.has(request)) wrong.push(`request ${request} is stored twice`)
      stored.set(request, position)
    }
  }
  if (stored.size !== requests)
    wrong.push(`${stored.size} requests are stored, ${requests} were sent`)
  for (const [request, position] of positions) {
    const at = stored.get(request)
    if (at === undefined) wrong.push(`request ${request} was answered and is missing`)
    else if (position !== 0 && at !== position) {
      wrong.push(`request ${request} is at ${at}, its answer said ${position}`)
    }
  }
  if (positions.size !== requests)
    wrong.push(`${requests - positions.size} requests were never answered`)
  return wrong
}

/** Of the writes without a key the answered ones are there, at their position, and none is there twice. */
async function checkFree(db: Database, free: ReadonlyMap<string, number>): Promise<string[]> {
  const wrong: string[] = []
  const rows = await db.query<{ position: number; process: string; number: number }>(
    'select position, process, number from check_free',
    [],
  )
  const stored = new Map<string, number>()
  for (const { position, process, number } of rows) {
    const name = `${process} ${number}`
    if (stored.has(name)) wrong.push(`write ${name} without a key is stored twice`)
    stored.set(name, position)
  }
  for (const [name, position] of free) {
    if (stored.get(name) !== position) wrong.push(`write ${name} is not at ${position}`)
  }
  return wrong
}

/** Each write of a room names the one before it. */
async function checkChains(db: Database): Promise<string[]> {
  const broken = await db.query<{
    room: number
    position: number
    previous: number
    before: number
  }>(
    `select room, position, previous, before from (
       select room, position, previous, lag(request, 1, -1) over (partition by room order by position) as before
         from check_rows) as chained
      where previous <> before limit 20`,
    [],
  )
  return broken.map(
    ({ room, position, previous, before }) =>
      `room ${room}: the write at ${position} follows ${previous}, stored before it is ${before}`,
  )
}

/** The log and the table of its kind have the same rows at the same positions. */
async function checkLogRows(db: Database): Promise<string[]> {
  const rows = await db.query<{ position: number }>(
    `select coalesce(l.position, c.position) as position
       from log l full join (
         select position, request::text as ref from check_rows
         union all select position, process || ' ' || number from check_free
       ) c on c.position = l.position and c.ref = l.ref
      where l.position is null or c.position is null limit 20`,
    [],
  )
  return rows.map(({ position }) => `log and table differ at ${position}`)
}

/** A reader saw every row after `start` up to its last one, once. */
async function checkSeen(
  db: Database,
  who: string,
  start: number,
  seen: ReaderFindings,
): Promise<string[]> {
  if (seen.rows === 0) return []
  const [stored] = await db.query<{ rows: number; sum: number }>(
    `select count(*)::int as rows, (coalesce(sum(position), 0) % $3)::bigint as sum
       from log where position > $1 and position <= $2`,
    [start, seen.last, sumModulus],
  )
  if (stored?.rows === seen.rows && stored.sum === seen.sum) return []
  return [
    `${who} saw ${seen.rows} rows after ${start} up to ${seen.last}, stored are ${stored?.rows}`,
  ]
}
