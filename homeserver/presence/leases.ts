/** Somebody who is there and does not want to be disturbed. {@link https://github.com/matrix-org/matrix-spec-proposals/pull/3026} */
export const busyKind = 'org.matrix.msc3026.busy'
/** What a device or a user can be, the most present first. */
export const presenceKinds = [busyKind, 'online', 'unavailable', 'offline'] as const
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
  /** Devices that said to be busy, in any process: they are until they say something else or all are gone. */
  busy: ReadonlySet<string>
  lastActiveTs: number
  statusMsg?: string
  /** What the user's own server says of it; of users of this one it follows from `lastActiveTs`. */
  currentlyActive?: boolean
  /** What others were last told of, to see a change. */
  shown: Shown
  publishedAt: number
  /** When the listeners were told. */
  toldAt: number
}

/** What others see of a person, as far as a change of it is told. */
export interface Shown {
  readonly presence: PresenceKind
  readonly statusMsg: string | undefined
}

/** Who does nothing for so long is idle, whatever the devices say. */
const idleAfterMs = 300_000
/** Who did something within this is active. */
const activeForMs = 60_000

const processPrefix = 'process '

/** The holder under which the devices of another process are kept. */
export function processHolder(id: string): string {
  return `${processPrefix}${id}`
}

/**
 * The most present device of a user; leases that have run out are dropped. `ownOnly` leaves out what other processes
 * said: they are told what this one knows by itself.
 */
export function mostPresent(person: Person, now: number, ownOnly = false): PresenceKind {
  let best: PresenceKind = 'offline'
  for (const [holder, { kind, until }] of person.leases) {
    if (until <= now) person.leases.delete(holder)
    else if (ownOnly && holder.startsWith(processPrefix)) continue
    else if (presenceKinds.indexOf(kind) < presenceKinds.indexOf(best)) best = kind
  }
  return best
}

/**
 * What a user is: as present as the most present device, but idle when nothing was done for a while. Of a user of
 * another server it is what that server says.
 * {@link https://spec.matrix.org/v1.19/client-server-api/#idle-timeout}
 */
export function presenceOf(
  person: Person,
  now: number,
): { readonly presence: PresenceKind; readonly currentlyActive: boolean } {
  const best = mostPresent(person, now)
  const { currentlyActive } = person
  if (currentlyActive !== undefined) {
    return { presence: best, currentlyActive: currentlyActive && best === 'online' }
  }
  const idleMs = now - person.lastActiveTs
  const presence = best === 'online' && idleMs >= idleAfterMs ? 'unavailable' : best
  return { presence, currentlyActive: presence === 'online' && idleMs < activeForMs }
}

/** The user did something: devices that said to be idle are not. True when that may change what others see. */
export function bump(person: Person, now: number): boolean {
  let changed = now - person.lastActiveTs >= idleAfterMs
  person.lastActiveTs = now
  for (const [holder, { kind, until }] of person.leases) {
    if (kind !== 'unavailable' || until <= now) continue
    person.leases.set(holder, { kind: 'online', until })
    changed = true
  }
  return changed
}
