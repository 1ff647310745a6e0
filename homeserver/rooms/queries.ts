import type { EventId, RoomAlias, RoomId, ServerName, UserId } from '../../spec/ids.ts'
import type { Db } from '../database/database.ts'
import type { Membership } from './rooms.ts'

/** A row of `memberships`; what it holds was parsed before it was written. */
export interface StoredMembership {
  readonly room_id: RoomId
  readonly user_id: UserId
  readonly membership: Membership
  readonly event_id: EventId
  readonly sender: UserId
  readonly since: number
  readonly position: number
  readonly display_name: string | null
  readonly avatar_url: string | null
  readonly forgotten: boolean
}

const selectMemberships = `
  select room_id, user_id, membership, event_id, sender, since, position, display_name, avatar_url, forgotten
  from memberships`

export async function membershipsOfUser(db: Db, user: UserId): Promise<StoredMembership[]> {
  return await db.query(`${selectMemberships} where user_id = $1`, [user])
}

export async function membershipsOfRoom(db: Db, room: RoomId): Promise<StoredMembership[]> {
  return await db.query(`${selectMemberships} where room_id = $1`, [room])
}

/** JSON text of the stripped events that came with an invite or a knock. */
export async function strippedStateOf(
  db: Db,
  room: RoomId,
  user: UserId,
): Promise<string | undefined> {
  const [row] = await db<{ state: string }>`
    select state from stripped_states where room_id = ${room} and user_id = ${user}`
  return row?.state
}

export interface StoredAlias {
  readonly alias: RoomAlias
  readonly room_id: RoomId
  readonly creator: UserId
  readonly servers: readonly ServerName[]
}

export async function findAlias(db: Db, alias: RoomAlias): Promise<StoredAlias | undefined> {
  const [row] = await db<StoredAlias>`
    select alias, room_id, creator, servers from room_aliases where alias = ${alias}`
  return row
}

/** False when the alias was taken before. */
export async function insertAlias(
  db: Db,
  alias: Omit<StoredAlias, 'room_id'> & { readonly room: RoomId | '' },
): Promise<boolean> {
  const rows = await db`
    insert into room_aliases (alias, room_id, creator, servers)
    values (${alias.alias}, ${alias.room}, ${alias.creator}, ${alias.servers})
    on conflict do nothing returning alias`
  return rows.length > 0
}

/** Gives a reserved alias its room. */
export async function setAliasRoom(db: Db, alias: RoomAlias, room: RoomId): Promise<void> {
  await db`update room_aliases set room_id = ${room} where alias = ${alias}`
}

export async function deleteAlias(db: Db, alias: RoomAlias): Promise<boolean> {
  const rows = await db`delete from room_aliases where alias = ${alias} returning alias`
  return rows.length > 0
}

export async function aliasesOfRoom(
  db: Db,
  room: RoomId,
  limit: number,
): Promise<{ alias: RoomAlias }[]> {
  return await db`
    select alias from room_aliases where room_id = ${room} order by alias limit ${limit}`
}

/** All aliases of one room lead to another from now on. */
export async function moveAliases(db: Db, from: RoomId, to: RoomId): Promise<void> {
  await db`update room_aliases set room_id = ${to} where room_id = ${from}`
}

export async function isPublished(db: Db, room: RoomId): Promise<boolean> {
  const rows = await db`select room_id from published_rooms where room_id = ${room}`
  return rows.length > 0
}

export async function publishRoom(db: Db, room: RoomId): Promise<void> {
  await db`insert into published_rooms (room_id) values (${room}) on conflict do nothing`
}

export async function unpublishRoom(db: Db, room: RoomId): Promise<void> {
  await db`delete from published_rooms where room_id = ${room}`
}

/** Stands for this server's list and those of all networks. */
export const everyNetwork = '*'

/** Lists a room among those of a network, or no longer. */
export async function setNetworkRoom(
  db: Db,
  row: { readonly service: string; readonly network: string; readonly room: RoomId },
  listed: boolean,
): Promise<void> {
  const { service, network, room } = row
  if (listed) {
    await db`
      insert into network_rooms (service, network, room_id)
      values (${service}, ${network}, ${room}) on conflict do nothing`
    return
  }
  await db`
    delete from network_rooms
    where service = ${service} and network = ${network} and room_id = ${room}`
}

/** Published rooms with somebody in them, the largest first; of a network (`service|network`), or of this server. */
export async function publishedRooms(
  db: Db,
  limit: number,
  network?: string,
): Promise<{ room_id: RoomId; joined: number }[]> {
  const own = network === undefined || network === everyNetwork
  return await db`
    select p.room_id, m.joined from (
      select room_id from published_rooms where ${own}::boolean
      union select room_id from network_rooms
      where ${network ?? ''} in (${everyNetwork}, service || '|' || network)) p
    join lateral (select count(*) as joined from memberships m
                  where m.room_id = p.room_id and m.membership = 'join') m on m.joined > 0
    order by m.joined desc, p.room_id limit ${limit}`
}

/** How many users are joined to each of these rooms; those with nobody are missing. */
export async function joinedCounts(
  db: Db,
  rooms: readonly RoomId[],
): Promise<ReadonlyMap<RoomId, number>> {
  const rows = await db<{ room_id: RoomId; joined: number }>`
    select room_id, count(*) as joined from memberships
    where room_id = any(${rooms}::text[]) and membership = 'join' group by room_id`
  return new Map(rows.map(({ room_id, joined }) => [room_id, joined]))
}

/** Keeps where a walk through a space stopped, and forgets those that nobody went on with in time. */
export async function insertHierarchyPage(
  db: Db,
  page: { token: string; user: UserId; room: RoomId; state: string; now: number; until: number },
): Promise<void> {
  await db`
    with expired as (delete from hierarchy_pages where expires_at < ${page.now})
    insert into hierarchy_pages (token, user_id, room_id, state, expires_at)
    values (${page.token}, ${page.user}, ${page.room}, ${page.state}, ${page.until})`
}

/** Where a user's walk through a space stopped. */
export async function findHierarchyPage(
  db: Db,
  page: { token: string; user: UserId; room: RoomId; now: number },
): Promise<string | undefined> {
  const [row] = await db<{ state: string }>`
    select state from hierarchy_pages
    where token = ${page.token} and user_id = ${page.user} and room_id = ${page.room}
      and expires_at >= ${page.now}`
  return row?.state
}

/** Where these users are joined, and as whom. */
export async function joinedRowsOf(
  db: Db,
  users: readonly UserId[],
  limit: number,
): Promise<
  { room_id: RoomId; user_id: UserId; display_name: string | null; avatar_url: string | null }[]
> {
  return await db`
    select room_id, user_id, display_name, avatar_url from memberships
    where user_id = any(${users}::text[]) and membership = 'join' limit ${limit}`
}
