/** What a device or a user can be, the most present first. */
export const presenceKinds = ['online', 'unavailable', 'offline'] as const
export type PresenceKind = (typeof presenceKinds)[number]

/** A device counts as being so until then. */
interface Lease {
  readonly kind: PresenceKind
  readonly until: number
}

/** What this process knows of a user. */
export interface Person {
  /** By device, by other process, or by the user's server. */
  readonly leases: Map<string, Lease>
  lastActiveTs: number
  statusMsg?: string
  /** What others were last told of, to see a change. */
  shown: string
  publishedAt: number
}

const processPrefix = 'process '

/** The holder under which the devices of another process are kept. */
export function processHolder(id: string): string {
  return `${processPrefix}${id}`
}

/**
 * A user is as present as the most present device; leases that have run out are dropped. `ownOnly` leaves out what
 * other processes said: they are told what this one knows by itself.
 */
export function currentOf(person: Person, now: number, ownOnly = false): PresenceKind {
  let best: PresenceKind = 'offline'
  for (const [holder, { kind, until }] of person.leases) {
    if (until <= now) person.leases.delete(holder)
    else if (ownOnly && holder.startsWith(processPrefix)) continue
    else if (presenceKinds.indexOf(kind) < presenceKinds.indexOf(best)) best = kind
  }
  return best
}
