import type { ServerName, UserId } from '../../spec/ids.ts'
import type { Db } from '../database/database.ts'

export interface AddressRow {
  readonly medium: string
  readonly address: string
  readonly user_id: UserId
  readonly validated_at: number
  readonly added_at: number
}

export interface AddressSessionRow {
  readonly session_id: string
  readonly client_secret: string
  readonly purpose: string
  readonly address: string
  readonly token_hash: string
  readonly send_attempt: number
  readonly next_link: string | null
  readonly expires_at: number
  readonly validated_at: number | null
}

type OpenSession = Pick<
  AddressSessionRow,
  'client_secret' | 'purpose' | 'address' | 'next_link' | 'validated_at'
>

/** The session that was opened with these, if it is still open. */
export async function findAsked(
  db: Db,
  asked: Pick<AddressSessionRow, 'client_secret' | 'purpose' | 'address'>,
  now: number,
): Promise<Pick<AddressSessionRow, 'session_id' | 'send_attempt'> | undefined> {
  const [row] = await db<Pick<AddressSessionRow, 'session_id' | 'send_attempt'>>`
    select session_id, send_attempt from address_sessions
    where client_secret = ${asked.client_secret} and purpose = ${asked.purpose}
      and address = ${asked.address} and expires_at > ${now}`
  return row
}

export async function findAddressSession(
  db: Db,
  id: string,
  now: number,
): Promise<OpenSession | undefined> {
  const [row] = await db<OpenSession>`
    select client_secret, purpose, address, next_link, validated_at
    from address_sessions where session_id = ${id} and expires_at > ${now}`
  return row
}

/** Opens a session, or gives the one that was opened with the same a new token; forgets those that are over. */
export async function putAddressSession(
  db: Db,
  row: Omit<AddressSessionRow, 'validated_at'>,
  now: number,
): Promise<string> {
  await db`delete from address_sessions where expires_at <= ${now}`
  const [kept] = await db<{ session_id: string }>`
    insert into address_sessions
      (session_id, client_secret, purpose, address, token_hash, send_attempt, next_link, expires_at)
    values (${row.session_id}, ${row.client_secret}, ${row.purpose}, ${row.address},
      ${row.token_hash}, ${row.send_attempt}, ${row.next_link}, ${row.expires_at})
    on conflict (client_secret, purpose, address) do update
      set token_hash = excluded.token_hash, send_attempt = excluded.send_attempt,
        next_link = excluded.next_link, expires_at = excluded.expires_at,
        validated_at = null, uia_session = null
    returning session_id`
  return kept?.session_id ?? row.session_id
}

/** False when the token is not that of the session. */
export async function validateAddressSession(
  db: Db,
  { id, secret, hash, now }: { id: string; secret: string; hash: string; now: number },
): Promise<boolean> {
  const rows = await db`
    update address_sessions set validated_at = coalesce(validated_at, ${now})
    where session_id = ${id} and client_secret = ${secret} and token_hash = ${hash}
      and expires_at > ${now}
    returning 1 as validated`
  return rows.length > 0
}

export async function noteUia(db: Db, id: string, uiaSession: string): Promise<void> {
  await db`update address_sessions set uia_session = ${uiaSession} where session_id = ${id}`
}

export async function findByUia(
  db: Db,
  uiaSession: string,
): Promise<Pick<AddressSessionRow, 'address' | 'validated_at'> | undefined> {
  const [row] = await db<Pick<AddressSessionRow, 'address' | 'validated_at'>>`
    select address, validated_at from address_sessions
    where uia_session = ${uiaSession} and validated_at is not null`
  return row
}

/** False when somebody has the address; the same user may have it again. */
export async function insertAddress(db: Db, row: AddressRow): Promise<boolean> {
  const rows = await db<{ user_id: string }>`
    insert into user_addresses (medium, address, user_id, validated_at, added_at)
    values (${row.medium}, ${row.address}, ${row.user_id}, ${row.validated_at}, ${row.added_at})
    on conflict (medium, address) do update set validated_at = excluded.validated_at
      where user_addresses.user_id = excluded.user_id
    returning user_id`
  return rows.length > 0
}

export async function addressesOf(db: Db, user: UserId): Promise<AddressRow[]> {
  return await db<AddressRow>`
    select medium, address, user_id, validated_at, added_at from user_addresses
    where user_id = ${user} order by added_at, address`
}

export async function findAddress(
  db: Db,
  medium: string,
  address: string,
): Promise<AddressRow | undefined> {
  const [row] = await db<AddressRow>`
    select medium, address, user_id, validated_at, added_at from user_addresses
    where medium = ${medium} and address = ${address}`
  return row
}

/** Without a medium: all that the user has. */
export async function deleteAddresses(
  db: Db,
  user: UserId,
  one?: { readonly medium: string; readonly address: string },
): Promise<void> {
  await db`
    delete from user_addresses where user_id = ${user}
      and (${one?.medium ?? null}::text is null or (medium = ${one?.medium ?? null} and address = ${one?.address ?? null}))`
}

export interface BindingRow {
  readonly medium: string
  readonly address: string
  readonly id_server: ServerName
}

export async function insertBinding(db: Db, user: UserId, row: BindingRow): Promise<void> {
  await db`
    insert into address_bindings (user_id, medium, address, id_server)
    values (${user}, ${row.medium}, ${row.address}, ${row.id_server}) on conflict do nothing`
}

export async function bindingsOf(db: Db, user: UserId): Promise<BindingRow[]> {
  return await db<BindingRow>`
    select medium, address, id_server from address_bindings where user_id = ${user}`
}

export async function deleteBinding(db: Db, user: UserId, row: BindingRow): Promise<void> {
  await db`
    delete from address_bindings where user_id = ${user} and medium = ${row.medium}
      and address = ${row.address} and id_server = ${row.id_server}`
}
