import { matchesEvent, type RoomEventFilter } from '../../spec/sync/filter.ts'
import type { Relations } from '../events/relations.ts'
import type { StoredEvent } from '../events/stored-event.ts'

/**
 * The events that a filter lets through, also by what relates to them.
 * {@link https://spec.matrix.org/v1.19/client-server-api/#filtering}
 */
export async function passingEvents(
  { relations }: { readonly relations: Pick<Relations, 'keepRelated'> },
  filter: RoomEventFilter | undefined,
  events: readonly StoredEvent[],
): Promise<readonly StoredEvent[]> {
  if (filter === undefined) return events
  const passing = events.filter(({ pdu }) => matchesEvent(filter, pdu))
  const { related_by_senders: senders, related_by_rel_types: relTypes } = filter
  if (senders === undefined && relTypes === undefined) return passing
  return await relations.keepRelated(passing, {
    ...(senders !== undefined && { senders }),
    ...(relTypes !== undefined && { relTypes }),
  })
}
