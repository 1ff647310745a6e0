import { type EventId, isEventId } from '../ids.ts'
import { type JsonObject, objectAt, stringAt } from '../json.ts'

/** What an event says of another one. */
export interface Relation {
  readonly relType: string
  readonly target: EventId
  /** What an annotation annotates with. */
  readonly key?: string
}

/**
 * The relation in an event's `m.relates_to`; a reply without `rel_type` is none.
 * {@link https://spec.matrix.org/v1.19/client-server-api/#forming-relationships-between-events}
 */
export function relationOf({ content }: { readonly content: JsonObject }): Relation | undefined {
  const relation = objectAt(content, 'm.relates_to')
  if (relation === undefined) return undefined
  const relType = stringAt(relation, 'rel_type')
  const target = stringAt(relation, 'event_id')
  if (relType === undefined || !isEventId(target)) return undefined
  const key = stringAt(relation, 'key')
  return key === undefined ? { relType, target } : { relType, target, key }
}
