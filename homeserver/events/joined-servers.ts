/**
 * Which servers have a joined user in a room. One joined user of each is remembered: nobody else who leaves changes
 * anything, so that a change of a membership costs a look at one server's users at most.
 */
import type { StateKey } from '../../spec/events/event.ts'
import { isUserId, type ServerName, serverOfUser } from '../../spec/ids.ts'
import type { EventStore } from './store.ts'

/** What is known of a room's servers. */
interface KnownServers {
  /** Those that were found; never changed, but replaced. */
  all: ReadonlySet<ServerName>
  /** The member event's key of a joined user of each. */
  readonly witnesses: Map<ServerName, StateKey>
  /** Those that have to be looked at again. */
  readonly open: Set<ServerName>
}

/** The part of a room's view that this needs. */
export interface ServersView {
  readonly entries: ReadonlyMap<StateKey, number>
  knownServers?: KnownServers | undefined
  /** How often a membership has changed. */
  readonly memberChanges: number
}

type Store = Pick<EventStore, 'byNumber' | 'peekNumber'>

export const memberPrefix = 'm.room.member\u0000'
/** Up to so many servers are looked for by the end of users' ids, which is quicker than to take each apart. */
const endingsMax = 8

/** Takes note of a changed membership; `nr` is the new event, if any. */
export function noteMember(
  store: Pick<EventStore, 'peekNumber'>,
  known: KnownServers,
  key: StateKey,
  nr: number | undefined,
): void {
  const user = key.slice(memberPrefix.length)
  if (!isUserId(user)) return
  const server = serverOfUser(user)
  const { witnesses, open } = known
  const witness = witnesses.get(server)
  if (witness !== undefined && witness !== key) return
  const event = nr === undefined ? undefined : store.peekNumber(nr)
  if (event?.pdu.content['membership'] === 'join') {
    witnesses.set(server, key)
    open.delete(server)
    if (!known.all.has(server)) known.all = new Set([...known.all, server])
    return
  }
  const isUnknown = nr !== undefined && event === undefined
  if (witness === undefined && !isUnknown) return
  witnesses.delete(server)
  open.add(server)
}

/** Servers with a joined user in a state. Few members are looked at, and none when nothing has changed. */
export async function joinedServers(
  store: Store,
  view: ServersView,
): Promise<ReadonlySet<ServerName>> {
  const { knownServers: known, memberChanges } = view
  if (known?.open.size === 0) return known.all
  const witnesses = new Map(known?.witnesses)
  const members = membersByServer(view, known?.open)
  await findWitnesses(store, members, witnesses)
  const all = new Set(witnesses.keys())
  if (view.memberChanges === memberChanges) view.knownServers = { all, witnesses, open: new Set() }
  return all
}

type Member = readonly [key: StateKey, nr: number]

/** Looks at ever more users of each server, until one is joined. */
async function findWitnesses(
  store: Store,
  members: ReadonlyMap<ServerName, Member[]>,
  witnesses: Map<ServerName, StateKey>,
): Promise<void> {
  let open = [...members]
  for (let each = 1; open.length > 0; each *= 4) {
    const some = open.flatMap(([server, all]) =>
      all.splice(-each).map(([key, nr]) => ({ server, key, nr })),
    )
    const events = await store.byNumber(some.map(({ nr }) => nr))
    for (const { server, key, nr } of some)
      if (events.get(nr)?.pdu.content['membership'] === 'join') witnesses.set(server, key)
    open = open.filter(([server, all]) => all.length > 0 && !witnesses.has(server))
  }
}

function membersByServer(
  { entries }: ServersView,
  only: ReadonlySet<ServerName> | undefined,
): Map<ServerName, Member[]> {
  const members = new Map<ServerName, Member[]>()
  const endings =
    only !== undefined && only.size <= endingsMax
      ? [...only].map((server) => `:${server}`)
      : undefined
  for (const [key, nr] of entries) {
    if (!key.startsWith(memberPrefix)) continue
    if (endings?.every((ending) => !key.endsWith(ending))) continue
    const user = key.slice(memberPrefix.length)
    if (!isUserId(user)) continue
    const server = serverOfUser(user)
    if (only?.has(server) === false) continue
    const known = members.get(server)
    if (known === undefined) members.set(server, [[key, nr]])
    else known.push([key, nr])
  }
  return members
}
