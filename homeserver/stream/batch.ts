import { z } from 'zod'
import type { JsonObject } from '../../spec/json.ts'
import { type LogEntry, type LogRow, type LogWrite, logKinds, type Verdict } from './log.ts'

/**
 * The JSON of a batch. A write is turned into text once, when it is queued; a batch only adds the numbers `i` (entry)
 * and `w` (write) and joins the texts.
 */

/** A write as text. Each piece is a JSON object that lacks its closing brace, so that numbers can be added. */
export interface EncodedWrite {
  readonly write: LogWrite
  /** Fence, claim and key; undefined when there is nothing to judge. */
  readonly judged: string | undefined
  readonly entries: readonly string[]
  readonly tables: readonly EncodedRow[]
  readonly sizeBytes: number
}

interface EncodedRow {
  readonly name: string
  /** Index of its entry in the write; -1 for a row without a position. */
  readonly entry: number
  readonly text: string
}

const applyName = /^[a-z][a-z0-9_]{0,49}$/

/** Throws TypeError for what is no JSON or names no apply function. */
export function encodeWrite(write: LogWrite): EncodedWrite {
  const entries = write.entries.map(encodeEntry)
  const tables: EncodedRow[] = []
  write.entries.forEach((entry, index) => {
    encodeTables(entry.tables, index, tables)
  })
  encodeTables(write.tables, -1, tables)
  const judged = encodeJudged(write)
  let sizeBytes = judged?.length ?? 0
  for (const text of entries) sizeBytes += Buffer.byteLength(text)
  for (const row of tables) sizeBytes += Buffer.byteLength(row.text)
  return { write, judged, entries, tables, sizeBytes }
}

function encodeEntry(entry: LogEntry): string {
  let text = `{"k":${logKinds[entry.kind]}`
  if (entry.room !== undefined) text += `,"r":${JSON.stringify(entry.room)}`
  if (entry.user !== undefined) text += `,"u":${JSON.stringify(entry.user)}`
  return `${text},"f":${JSON.stringify(entry.ref)}`
}

function encodeTables(
  tables: Readonly<Record<string, readonly JsonObject[]>> | undefined,
  entry: number,
  out: EncodedRow[],
): void {
  for (const name in tables) {
    if (!applyName.test(name)) throw new TypeError('not the name of an apply function')
    for (const row of tables[name] ?? []) {
      out.push({ name, entry, text: JSON.stringify(row).slice(0, -1) })
    }
  }
}

function encodeJudged({ fence, claim, once }: LogWrite): string | undefined {
  if (fence !== undefined && claim !== undefined && fence.room !== claim.room) {
    throw new TypeError('a write has one room to be decided under')
  }
  const room = fence?.room ?? claim?.room
  if (room === undefined && once === undefined) return undefined
  const fields: string[] = []
  if (room !== undefined) fields.push(`"r":${JSON.stringify(room)}`)
  if (fence !== undefined) fields.push(`"f":${fence.value}`)
  if (claim !== undefined) fields.push('"c":true')
  if (once !== undefined) {
    const { scope, key, answer } = once
    fields.push(`"s":${JSON.stringify(scope)},"k":${JSON.stringify(key)}`)
    fields.push(`"a":${JSON.stringify(answer)}`)
  }
  return `{${fields.join(',')}`
}

/** The two JSON texts of `log_commit` for writes in this order. */
export function encodeBatch(writes: readonly EncodedWrite[]): { writes: string; rows: string } {
  const judged: string[] = []
  const log: string[] = []
  const tables = new Map<string, string[]>()
  writes.forEach((write, w) => {
    const first = log.length
    if (write.judged !== undefined) judged.push(`${write.judged},"w":${w}}`)
    for (const entry of write.entries) log.push(`${entry},"i":${log.length},"w":${w}}`)
    for (const row of write.tables) {
      const rows = tables.get(row.name) ?? []
      if (rows.length === 0) tables.set(row.name, rows)
      const comma = row.text === '{' ? '' : ','
      const number = row.entry === -1 ? '' : `"i":${first + row.entry},`
      rows.push(`${row.text}${comma}${number}"w":${w}}`)
    }
  })
  const parts = [...tables].map(([name, rows]) => `,"${name}":[${rows.join(',')}]`)
  return { writes: `[${judged.join(',')}]`, rows: `{"log":[${log.join(',')}]${parts.join('')}}` }
}

/** What `log_commit` answers. */
export const BatchAnswer = z.object({
  base: z.number().optional(),
  before: z.number().optional(),
  again: z.boolean().optional(),
  bad: z
    .array(
      z.object({
        w: z.number(),
        v: z.enum(['fenced', 'chained', 'duplicate']),
        a: z.string().optional(),
      }),
    )
    .default([]),
  fences: z.array(z.object({ w: z.number(), f: z.number() })).default([]),
})
export type BatchAnswer = z.infer<typeof BatchAnswer>

/** The verdict of each write, and the rows that the done ones put into the log. */
export interface BatchOutcome {
  readonly verdicts: readonly Verdict[]
  readonly rows: readonly LogRow[]
}

/** Reads an answer against the writes of its batch. */
export function readAnswer(writes: readonly EncodedWrite[], answer: BatchAnswer): BatchOutcome {
  const bad = new Map(answer.bad.map((verdict) => [verdict.w, verdict]))
  const fences = new Map(answer.fences.map(({ w, f }) => [w, f]))
  const rows: LogRow[] = []
  let next = answer.base ?? 0
  const verdicts = writes.map(({ write }, w): Verdict => {
    const first = next
    next += write.entries.length
    const refusal = bad.get(w)
    if (refusal !== undefined) {
      return refusal.v === 'duplicate'
        ? { kind: 'duplicate', answer: refusal.a ?? '' }
        : { kind: refusal.v }
    }
    const positions = write.entries.map((entry, index) => {
      rows.push(logRow(entry, first + index))
      return first + index
    })
    const fence = fences.get(w)
    return fence === undefined ? { kind: 'done', positions } : { kind: 'done', positions, fence }
  })
  return { verdicts, rows }
}

function logRow({ kind, room, user, ref, payload }: LogEntry, position: number): LogRow {
  return {
    position,
    kind,
    ...(room === undefined ? {} : { room }),
    ...(user === undefined ? {} : { user }),
    ref,
    payload,
  }
}
