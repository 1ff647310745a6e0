/** The search for users: those who share a room with the searcher or are in a room that anybody may come into. */

import type { ServerName, UserId } from '../../spec/ids.ts'
import { serverOfUser } from '../../spec/ids.ts'
import { type JsonObject, stringAt } from '../../spec/json.ts'
import type { Database } from '../database/database.ts'
import type { Memberships } from '../rooms/rooms.ts'
import type { SeenProfile } from '../rooms/seen-profiles.ts'
import type { Indexer } from './indexer.ts'
import { findNames } from './queries.ts'
import { matchesName, nameQuery } from './words.ts'

/** A user as the searcher knows them. */
export interface Person {
  readonly user: UserId
  readonly displayName?: string
  readonly avatarUrl?: string
}

interface Needs {
  readonly db: Database
  readonly serverName: ServerName
  readonly indexer: Pick<Indexer, 'catchUp'>
  readonly memberships: Pick<Memberships, 'sharingWith'>
  readonly profileOf: (user: UserId) => Promise<JsonObject>
  readonly seenProfiles: (
    viewer: UserId,
    users: readonly UserId[],
  ) => Promise<ReadonlyMap<UserId, readonly SeenProfile[]>>
}

/** Users who share rooms that are looked for by themselves; candidates of one search; people of an answer. */
const sharedMax = 10_000
const candidatesMax = 500
const peopleMax = 50

export function createPeopleSearch(needs: Needs) {
  const { db, serverName, indexer, memberships } = needs

  /** Those who share rooms first, so that none of them is crowded out. */
  async function candidates(user: UserId, query: string): Promise<UserId[]> {
    const shared = [...(await memberships.sharingWith(user))].slice(0, sharedMax)
    const near = await findNames(db, query, shared, candidatesMax)
    const all = await findNames(db, query, undefined, candidatesMax)
    const users = new Set([...near, ...all])
    users.delete(user)
    return [...users]
  }

  /** How a user is shown, when a name that the searcher may know matches. */
  async function shown(
    user: UserId,
    seen: readonly SeenProfile[],
    term: string,
  ): Promise<Person | undefined> {
    const names = serverOfUser(user) === serverName ? [await globalProfile(user)] : seen
    const found = names.find(({ displayName = '' }) => matchesName(term, user, displayName))
    return found && { ...found, user }
  }

  async function globalProfile(user: UserId): Promise<SeenProfile> {
    const profile = await needs.profileOf(user)
    const displayName = stringAt(profile, 'displayname')
    const avatarUrl = stringAt(profile, 'avatar_url')
    return {
      ...(displayName !== undefined && { displayName }),
      ...(avatarUrl !== undefined && { avatarUrl }),
    }
  }

  return async (
    user: UserId,
    term: string,
    limit: number,
  ): Promise<{ limited: boolean; people: readonly Person[] }> => {
    const query = nameQuery(term.replaceAll('\0', ''))
    if (query === undefined) return { limited: false, people: [] }
    await indexer.catchUp()
    const found = await candidates(user, query)
    const profiles = await needs.seenProfiles(user, found)
    const people: Person[] = []
    for (const [other, seen] of profiles) {
      const person = await shown(other, seen, term)
      if (person !== undefined) people.push(person)
    }
    const shared = await memberships.sharingWith(user)
    const weigh = (person: Person) => weightOf(person, term.trim().toLowerCase(), shared)
    people.sort((a, b) => weigh(b) - weigh(a) || (a.user < b.user ? -1 : 1))
    const max = Math.min(limit, peopleMax)
    return { limited: people.length > max, people: people.slice(0, max) }
  }
}

/** How likely somebody is who was meant. */
function weightOf(
  { user, displayName = '', avatarUrl }: Person,
  term: string,
  shared: ReadonlySet<UserId>,
): number {
  const id = user.toLowerCase()
  const name = displayName.toLowerCase()
  const isExact = id === term || id.slice(1, id.indexOf(':')) === term || name === term
  const isStart = name.startsWith(term) || id.slice(1).startsWith(term)
  return (isExact ? 8 : 0) + (isStart ? 4 : 0) + (shared.has(user) ? 2 : 0) + (avatarUrl ? 0.5 : 0)
}
