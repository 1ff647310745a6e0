/** What may be lost on its way to a destination, and how little of a transaction it takes: one EDU tells many things. */
import { lenientCanonicalJson } from '../spec/canonical-json.ts'
import type { JsonObject } from '../spec/json.ts'
import { eduText } from './outgoing.ts'

/** Worth nothing later. Presence is a canonical text of one entry of `push`, everything else whole EDUs. */
export type Ephemeral =
  | { readonly kind: 'edu'; readonly text: string }
  | { readonly kind: 'presence'; readonly text: string }
  | { readonly kind: 'receipt'; readonly receipt: OutgoingReceipt }

/** The newest receipt of one user in a room or thread. */
export interface OutgoingReceipt {
  readonly room: string
  readonly user: string
  readonly event: string
  /** Milliseconds since the epoch. */
  readonly ts: number
  readonly thread?: string
}

/** An EDU and the keys of what it tells. */
interface Told {
  readonly text: string
  readonly keys: readonly string[]
}

/** Entries of one m.presence EDU; receivers look at no more than some of them at a time. */
const pushMax = 100

/** An entry of an m.presence EDU; undefined when it has no canonical form. */
export function presenceItem(push: JsonObject): Ephemeral | undefined {
  try {
    return { kind: 'presence', text: lenientCanonicalJson(push) }
  } catch {
    return undefined
  }
}

/** Takes as much out of `waiting` as fits into `max` EDUs, and answers their texts. */
export function takeEdus(waiting: Map<string, Ephemeral>, max: number): string[] {
  if (waiting.size === 0) return []
  const told = [...plainEdus(waiting), ...presenceEdus(waiting), ...receiptEdus(waiting)]
  const taken = told.slice(0, max)
  for (const { keys } of taken) for (const key of keys) waiting.delete(key)
  return taken.map(({ text }) => text)
}

function plainEdus(waiting: ReadonlyMap<string, Ephemeral>): Told[] {
  return [...waiting].flatMap(([key, item]) =>
    item.kind === 'edu' ? [{ text: item.text, keys: [key] }] : [],
  )
}

/** {@link https://spec.matrix.org/v1.19/server-server-api/#presence} */
function presenceEdus(waiting: ReadonlyMap<string, Ephemeral>): Told[] {
  const pushes = [...waiting].flatMap(([key, item]) =>
    item.kind === 'presence' ? [{ key, text: item.text }] : [],
  )
  const told: Told[] = []
  for (let at = 0; at < pushes.length; at += pushMax) {
    const some = pushes.slice(at, at + pushMax)
    const push = some.map(({ text }) => text).join(',')
    told.push({
      text: `{"content":{"push":[${push}]},"edu_type":"m.presence"}`,
      keys: some.map(({ key }) => key),
    })
  }
  return told
}

/**
 * An EDU has room for one receipt of a user in a room: those of several threads go into several EDUs.
 * {@link https://spec.matrix.org/v1.19/server-server-api/#receipts}
 */
function receiptEdus(waiting: ReadonlyMap<string, Ephemeral>): Told[] {
  const layers: { rooms: Record<string, Record<string, JsonObject>>; keys: string[] }[] = []
  for (const [key, item] of waiting) {
    if (item.kind !== 'receipt') continue
    const { room, user, event, ts, thread } = item.receipt
    const free = layers.find(({ rooms }) => rooms[room]?.[user] === undefined)
    const layer = free ?? { rooms: {}, keys: [] }
    if (free === undefined) layers.push(layer)
    const data = { ts, ...(thread !== undefined && { thread_id: thread }) }
    layer.rooms[room] = { ...layer.rooms[room], [user]: { data, event_ids: [event] } }
    layer.keys.push(key)
  }
  return layers.flatMap(({ rooms, keys }) => {
    const content = Object.entries(rooms).map(([room, users]) => [room, { 'm.read': users }])
    const text = eduText('m.receipt', Object.fromEntries(content))
    return text === undefined ? [] : [{ text, keys }]
  })
}
