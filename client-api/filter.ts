import { isObject, type JsonObject, parseJson } from '../spec/json.ts'
import { parseRoomEventFilter } from '../spec/sync/filter.ts'

/** Deepest nesting of a filter. */
const filterDepthMax = 10

/** The event filter that a query carries as JSON text, checked. */
export function filterOf(text: string | undefined): JsonObject | undefined {
  if (text === undefined) return undefined
  const filter = parseJson(text, { depthMax: filterDepthMax })
  parseRoomEventFilter(filter)
  return isObject(filter) ? filter : undefined
}
