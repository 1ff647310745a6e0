/** What relates to events, put with them for a viewer. {@link https://spec.matrix.org/v1.19/client-server-api/#aggregations-of-child-events} */
import type { EventId, UserId } from '../../spec/ids.ts'
import { relationOf } from '../../spec/room/relation.ts'
import type { Aggregate, ThreadAggregate } from '../events/aggregate.ts'
import type { Bundle, Events, Seen } from '../events/events.ts'
import type { StoredEvent } from '../events/stored-event.ts'

export interface Bundles {
  /** The same events, those with what relates to them that something relates to and the user may see. */
  attach(user: UserId, list: readonly Seen[]): Promise<readonly Seen[]>
}

interface Needs {
  readonly events: Pick<Events, 'get' | 'visibleTo' | 'relations'>
  /** Nobody is ignored when absent. */
  readonly ignoredUsers?: ((user: UserId) => Promise<ReadonlySet<UserId>>) | undefined
}

/** Events of a thread that are looked at for one that the user may see. */
const latestMax = 20
const nobody: ReadonlySet<UserId> = new Set()

interface Viewer {
  readonly user: UserId
  readonly ignored: ReadonlySet<UserId>
}

export function createBundles({ events, ignoredUsers }: Needs): Bundles {
  const { relations } = events

  async function attach(viewer: UserId | Viewer, list: readonly Seen[]): Promise<readonly Seen[]> {
    const eligible = list.flatMap(({ event }) => (isEligible(event) ? [event] : []))
    if (eligible.length === 0) return list
    const sums = await relations.aggregates(eligible)
    if (sums.size === 0) return list
    const asked =
      typeof viewer === 'string'
        ? { user: viewer, ignored: (await ignoredUsers?.(viewer)) ?? nobody }
        : viewer
    const shown = await visibleOf(events, asked.user, eligible, sums)
    return await Promise.all(
      list.map(async (seen) => {
        const sum = sums.get(seen.event.pdu.eventId)
        const bundle = sum && (await bundleOf(asked, seen.event, sum, shown))
        return bundle === undefined ? seen : { ...seen, bundle }
      }),
    )
  }

  async function bundleOf(
    viewer: Viewer,
    event: StoredEvent,
    { edit, references = [], thread }: Aggregate,
    shown: ReadonlyMap<EventId, Seen>,
  ): Promise<Bundle | undefined> {
    // An edit would show what was redacted.
    const replace = event.redactedBy === undefined && edit ? shown.get(edit) : undefined
    const named = references.filter(({ sender }) => !viewer.ignored.has(sender))
    // There are no threads in threads.
    const isRoot = thread !== undefined && relationOf(event.pdu) === undefined
    const summary = isRoot ? await threadOf(viewer, event, thread, shown) : undefined
    if (replace === undefined && named.length === 0 && summary === undefined) return undefined
    return {
      ...(replace !== undefined && { replace }),
      ...(named.length > 0 && { references: named.map(({ eventId }) => eventId) }),
      ...(summary !== undefined && { thread: summary }),
    }
  }

  async function threadOf(
    viewer: Viewer,
    { pdu }: StoredEvent,
    { latest: latestId, counts }: ThreadAggregate,
    shown: ReadonlyMap<EventId, Seen>,
  ): Promise<Bundle['thread']> {
    let count = 0
    for (const [sender, events] of counts) if (!viewer.ignored.has(sender)) count += events
    if (count === 0) return undefined
    const newest = shown.get(latestId)
    const isWanted = newest !== undefined && !viewer.ignored.has(newest.event.pdu.sender)
    const latest = isWanted ? newest : await latestVisible(events, viewer, pdu.eventId)
    if (latest === undefined) return undefined
    const [whole = latest] = await attach(viewer, [latest])
    const participated = pdu.sender === viewer.user || counts.has(viewer.user)
    return { latest: whole, count, participated }
  }

  return { attach }
}

/** State, edits and annotations have no bundles. */
function isEligible({ pdu }: StoredEvent): boolean {
  if (pdu.stateKey !== undefined) return false
  const relType = relationOf(pdu)?.relType
  return relType !== 'm.replace' && relType !== 'm.annotation'
}

/** The edits and the latest events of threads that the user may see. */
async function visibleOf(
  events: Needs['events'],
  user: UserId,
  eligible: readonly StoredEvent[],
  sums: ReadonlyMap<EventId, Aggregate>,
): Promise<ReadonlyMap<EventId, Seen>> {
  const ids = new Set<EventId>()
  for (const { pdu } of eligible) {
    const { edit, thread } = sums.get(pdu.eventId) ?? {}
    if (edit !== undefined) ids.add(edit)
    if (thread !== undefined) ids.add(thread.latest)
  }
  const found = [...(await events.get([...ids])).values()].filter(isInPlace)
  const seen = await events.visibleTo(user, found)
  return new Map(seen.map((one) => [one.event.pdu.eventId, one]))
}

async function latestVisible(
  events: Needs['events'],
  { user, ignored }: Viewer,
  root: EventId,
): Promise<Seen | undefined> {
  const newest = await events.relations.newestInThread(root, ignored, latestMax)
  return (await events.visibleTo(user, newest.filter(isInPlace)))[0]
}

/** What was refused after all, in a room whose members came late, has no place in it any more. */
export function isInPlace({ position, rejected }: StoredEvent): boolean {
  return position !== undefined && rejected === undefined
}
