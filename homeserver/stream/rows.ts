import type { RoomId, UserId } from '../../spec/ids.ts'
import { type LogKind, type LogRow, logKinds } from './log.ts'
import type { StoredLogRow } from './queries.ts'

/** Reads what rows of one kind carry, in the same order. */
export type Load = (rows: readonly LogRow[]) => Promise<readonly unknown[]>

/** The loaders of all kinds. */
export interface Loaders {
  set(kind: LogKind, load: Load): void
  /** The same rows with their payloads; rejects when a loader does, or loses a row. */
  load(rows: readonly LogRow[]): Promise<LogRow[]>
}

export function createLoaders(): Loaders {
  const loaders = new Map<LogKind, Load>()

  async function loadKind(kind: LogKind, indexes: readonly number[], out: LogRow[]): Promise<void> {
    const load = loaders.get(kind)
    if (load === undefined) return
    const bare = indexes.flatMap((index) => out[index] ?? [])
    const payloads = await load(bare)
    if (payloads.length !== bare.length) throw new Error(`loader of ${kind} lost rows`)
    indexes.forEach((index, at) => {
      const row = bare[at]
      if (row !== undefined) out[index] = { ...row, payload: payloads[at] }
    })
  }

  return {
    set(kind, load) {
      if (loaders.has(kind)) throw new Error(`rows of kind ${kind} have a loader`)
      loaders.set(kind, load)
    },
    async load(rows) {
      const out = [...rows]
      const byKind = new Map<LogKind, number[]>()
      rows.forEach(({ kind }, index) => {
        const indexes = byKind.get(kind)
        if (indexes === undefined) byKind.set(kind, [index])
        else indexes.push(index)
      })
      await Promise.all([...byKind].map(([kind, indexes]) => loadKind(kind, indexes, out)))
      return out
    },
  }
}

const kindOf: ReadonlyMap<number, string> = new Map(
  Object.entries(logKinds).map(([name, number]) => [number, name]),
)

/** Is this the name of a kind? */
export function isKind(name: string | undefined): name is LogKind {
  return name !== undefined && Object.hasOwn(logKinds, name)
}

/** A row as its table has it, without a payload. */
export function parseRow(stored: StoredLogRow): LogRow {
  const kind = kindOf.get(stored.kind)
  if (!isKind(kind)) throw new Error(`row of unknown kind ${stored.kind} at ${stored.position}`)
  return {
    position: stored.position,
    kind,
    ...(isRoomId(stored.room_id) ? { room: stored.room_id } : {}),
    ...(isUserId(stored.user_id) ? { user: stored.user_id } : {}),
    ref: stored.ref,
    payload: undefined,
  }
}

// What the log holds was parsed before it was written.
function isRoomId(text: string | null): text is RoomId {
  return text !== null
}

function isUserId(text: string | null): text is UserId {
  return text !== null
}
