import { z } from 'zod'
import { badJson, MatrixError } from '../errors.ts'
import { roomIdSchema, userIdSchema, utf8Length } from '../ids.ts'
import { isObject, type Json, type JsonObject } from '../json.ts'
import { parsePropertyPath, valueAtPath } from '../property-path.ts'
import { relationOf } from '../room/relation.ts'

/** Largest filter, as JSON in bytes of UTF-8. */
export const filterBytesMax = 65_536
/** Most event types in one list; each may be a glob and is tried on every event. */
const filterTypesMax = 500
/** Most users or rooms in one list. */
const filterIdsMax = 5_000
/** Most paths in event_fields. */
const filterFieldsMax = 200

/** Events in the timeline of a room when the filter does not say how many. */
export const timelineLimitDefault = 10
/** Most events in the timeline of a room, whatever the filter says. */
export const timelineLimitMax = 1_000

const types = z.array(z.string().max(255)).max(filterTypesMax)
const users = z.array(userIdSchema).max(filterIdsMax)
const rooms = z.array(roomIdSchema).max(filterIdsMax)

/** `limit: 0` is outside the specification and in use: it asks for no events. */
const eventFilterShape = {
  limit: z.number().int().min(0).optional(),
  types: types.optional(),
  not_types: types.optional(),
  senders: users.optional(),
  not_senders: users.optional(),
}

const roomEventFilterShape = {
  ...eventFilterShape,
  rooms: rooms.optional(),
  not_rooms: rooms.optional(),
  contains_url: z.boolean().optional(),
  lazy_load_members: z.boolean().optional(),
  include_redundant_members: z.boolean().optional(),
  unread_thread_notifications: z.boolean().optional(),
  related_by_senders: users.optional(),
  related_by_rel_types: types.optional(),
  'org.matrix.msc3874.rel_types': types.optional(),
  'org.matrix.msc3874.not_rel_types': types.optional(),
}

/** {@link https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3useruseridfilter} */
const eventFilterSchema = z.looseObject(eventFilterShape)
/** What /messages and /context take, and the parts of `room` in a filter. */
const roomEventFilterSchema = z.looseObject(roomEventFilterShape)

/** A whole filter, as it is uploaded or given to /sync. */
const filterSchema = z.looseObject({
  event_fields: z.array(z.string().max(255)).max(filterFieldsMax).optional(),
  event_format: z.enum(['client', 'federation']).optional(),
  presence: eventFilterSchema.optional(),
  account_data: eventFilterSchema.optional(),
  room: z
    .looseObject({
      rooms: rooms.optional(),
      not_rooms: rooms.optional(),
      include_leave: z.boolean().optional(),
      ephemeral: roomEventFilterSchema.optional(),
      state: roomEventFilterSchema.optional(),
      timeline: roomEventFilterSchema.optional(),
      account_data: roomEventFilterSchema.optional(),
    })
    .optional(),
})

/** Filter of events that belong to no room. */
export type EventFilter = z.output<typeof eventFilterSchema>
/** Filter of events in rooms. */
export type RoomEventFilter = z.output<typeof roomEventFilterSchema>
/** A whole filter. */
export type Filter = z.output<typeof filterSchema>

/** What of an event a filter looks at; account data and ephemeral events have no sender. */
export interface FilteredEvent {
  readonly type: string
  readonly sender?: string | undefined
  readonly roomId?: string | undefined
  readonly content?: JsonObject | undefined
}

/** @throws MatrixError M_BAD_JSON naming the field, or M_TOO_LARGE */
export function parseFilter(input: unknown): Filter {
  return parse(filterSchema, input)
}

/** @throws MatrixError M_BAD_JSON naming the field, or M_TOO_LARGE */
export function parseRoomEventFilter(input: unknown): RoomEventFilter {
  return parse(roomEventFilterSchema, input)
}

/** Does the filter let the event through. No filter lets everything through; its flags and limits are for the caller. */
export function matchesEvent(filter: RoomEventFilter | undefined, event: FilteredEvent): boolean {
  if (filter === undefined) return true
  const tests = compiled.get(filter) ?? compile(filter)
  compiled.set(filter, tests)
  return tests.every((matches) => matches(event))
}

/** Does the filter let a room through: `rooms` and `not_rooms`, of the whole or of a part. */
export function matchesRoom(
  filter: Pick<RoomEventFilter, 'rooms' | 'not_rooms'> | undefined,
  room: string,
): boolean {
  if (filter === undefined) return true
  return listMatches(filter.rooms, filter.not_rooms, room)
}

/** How many events of a timeline to send. */
export function timelineLimitOf(filter: EventFilter | undefined): number {
  return Math.min(filter?.limit ?? timelineLimitDefault, timelineLimitMax)
}

/**
 * The fields of an event that `event_fields` asks for.
 * {@link https://spec.matrix.org/v1.19/appendices/#dot-separated-property-paths}
 */
export function selectFields(event: JsonObject, fields: readonly string[]): JsonObject {
  const selected: JsonObject[] = []
  for (const field of fields) {
    const part = partAt(event, parsePropertyPath(field))
    if (part !== undefined) selected.push(part)
  }
  return selected.reduce(merge, {})
}

type EventTest = (event: FilteredEvent) => boolean

// A filter is parsed once and used for many events.
const compiled = new WeakMap<RoomEventFilter, readonly EventTest[]>()

function compile(filter: RoomEventFilter): EventTest[] {
  const tests: EventTest[] = []
  const { types: wanted, not_types: unwanted, contains_url: url } = filter
  if (wanted !== undefined) {
    const matches = typeTest(wanted)
    tests.push(({ type }) => matches(type))
  }
  if (unwanted !== undefined) {
    const matches = typeTest(unwanted)
    tests.push(({ type }) => !matches(type))
  }
  addListTest(tests, filter.senders, filter.not_senders, (event) => event.sender)
  addListTest(tests, filter.rooms, filter.not_rooms, (event) => event.roomId)
  const relTypes = filter['org.matrix.msc3874.rel_types']
  const notRelTypes = filter['org.matrix.msc3874.not_rel_types']
  if (relTypes !== undefined || notRelTypes !== undefined) {
    tests.push(({ content }) => listMatches(relTypes, notRelTypes, relTypeIn(content)))
  }
  if (url !== undefined) tests.push(({ content }) => hasUrl(content) === url)
  return tests
}

/** One type or glob out of a list; in a glob `*` stands for any characters and everything else for itself. */
function typeTest(patterns: readonly string[]): (type: string) => boolean {
  const plain = new Set<string>()
  const globs: ((type: string) => boolean)[] = []
  for (const pattern of patterns) {
    if (pattern.includes('*')) globs.push(starTest(pattern))
    else plain.add(pattern)
  }
  return (type) => plain.has(type) || globs.some((matches) => matches(type))
}

/** A glob of `*` only; a question mark is a character like others here. */
function starTest(pattern: string): (type: string) => boolean {
  const [head = '', ...parts] = pattern.split('*')
  const tail = parts.pop() ?? ''
  return (type) => {
    if (type.length < head.length + tail.length) return false
    if (!type.startsWith(head) || !type.endsWith(tail)) return false
    const end = type.length - tail.length
    let at = head.length
    for (const part of parts) {
      const found = type.indexOf(part, at)
      if (found === -1) return false
      at = found + part.length
    }
    return at <= end
  }
}

function addListTest(
  tests: EventTest[],
  wanted: readonly string[] | undefined,
  unwanted: readonly string[] | undefined,
  read: (event: FilteredEvent) => string | undefined,
): void {
  if (wanted === undefined && unwanted === undefined) return
  tests.push((event) => listMatches(wanted, unwanted, read(event)))
}

/** What is unwanted is out even when it is wanted as well; an event without such a value is never wanted. */
function listMatches(
  wanted: readonly string[] | undefined,
  unwanted: readonly string[] | undefined,
  value: string | undefined,
): boolean {
  if (value === undefined) return wanted === undefined
  if (unwanted !== undefined && setOf(unwanted).has(value)) return false
  return wanted === undefined || setOf(wanted).has(value)
}

const sets = new WeakMap<readonly string[], ReadonlySet<string>>()

function setOf(list: readonly string[]): ReadonlySet<string> {
  const set = sets.get(list) ?? new Set(list)
  sets.set(list, set)
  return set
}

/** The kind of an event's own relation. {@link https://github.com/matrix-org/matrix-spec-proposals/pull/3874} */
function relTypeIn(content: JsonObject | undefined): string | undefined {
  return content && relationOf({ content })?.relType
}

function hasUrl(content: JsonObject | undefined): boolean {
  return content !== undefined && Object.hasOwn(content, 'url')
}

/** The object that has nothing but the value at the path. */
function partAt(root: JsonObject, path: readonly string[]): JsonObject | undefined {
  const value = valueAtPath(root, path)
  if (value === undefined) return undefined
  let part: Json = value
  for (const name of path.toReversed()) part = { [name]: part }
  return isObject(part) ? part : undefined
}

function merge(a: JsonObject, b: JsonObject): JsonObject {
  let merged = a
  for (const [key, value] of Object.entries(b)) {
    const old = Object.hasOwn(merged, key) ? merged[key] : undefined
    merged = { ...merged, [key]: isObject(old) && isObject(value) ? merge(old, value) : value }
  }
  return merged
}

function parse<Schema extends z.ZodType>(schema: Schema, input: unknown): z.output<Schema> {
  if (utf8Length(JSON.stringify(input) ?? '') > filterBytesMax) {
    throw new MatrixError('M_TOO_LARGE', `a filter is at most ${filterBytesMax} bytes long`)
  }
  const result = schema.safeParse(input)
  if (result.success) return result.data
  const [issue] = result.error.issues
  throw badJson(issue?.path.join('.') || 'filter', issue?.message ?? 'not a filter')
}
