import type { DeviceId, RoomId, UserId } from '../../spec/ids.ts'
import type { Db } from '../database/database.ts'

/** A row of `users`. */
export interface UserRow {
  readonly user_id: UserId
  readonly password_hash: string | null
  readonly created_at: number
  readonly admin: boolean
  readonly guest: boolean
  readonly appservice: string | null
  readonly deactivated_at: number | null
  readonly erased: boolean
  readonly locked: boolean
  readonly suspended: boolean
}

export async function findUser(db: Db, user: UserId): Promise<UserRow | undefined> {
  const [row] = await db<UserRow>`
    select user_id, password_hash, created_at, admin, guest, appservice, deactivated_at, erased,
      locked, suspended
    from users where user_id = ${user}`
  return row
}

/** False when the id was taken before. */
export async function insertUser(
  db: Db,
  user: Omit<UserRow, 'deactivated_at' | 'erased' | 'locked' | 'suspended'>,
): Promise<boolean> {
  const rows = await db`
    insert into users (user_id, password_hash, created_at, admin, guest, appservice)
    values (${user.user_id}, ${user.password_hash}, ${user.created_at}, ${user.admin}, ${user.guest}, ${user.appservice})
    on conflict (user_id) do nothing returning user_id`
  return rows.length === 1
}

export async function nextGuestNumber(db: Db): Promise<number> {
  const [row] = await db<{ n: number }>`select nextval('guest_number') as n`
  return row?.n ?? 0
}

export async function hasAdmin(db: Db): Promise<boolean> {
  const rows = await db`select 1 from users where admin and deactivated_at is null limit 1`
  return rows.length > 0
}

export async function insertNonce(db: Db, nonce: string, expiresAt: number): Promise<void> {
  await db`insert into registration_nonces (nonce, expires_at) values (${nonce}, ${expiresAt})`
}

/** True once for a nonce that has not expired. */
export async function takeNonce(db: Db, nonce: string, now: number): Promise<boolean> {
  const rows = await db<{ live: boolean }>`
    delete from registration_nonces where nonce = ${nonce} returning expires_at > ${now} as live`
  return rows[0]?.live === true
}

export async function insertAdminInvite(
  db: Db,
  invite: { hash: string; createdAt: number; expiresAt: number },
): Promise<void> {
  await db`
    insert into admin_invites (token_hash, created_at, expires_at)
    values (${invite.hash}, ${invite.createdAt}, ${invite.expiresAt})`
}

export async function findAdminInvite(db: Db, hash: string, now: number): Promise<boolean> {
  const rows =
    await db`select 1 from admin_invites where token_hash = ${hash} and expires_at > ${now}`
  return rows.length > 0
}

/** True once for an invite that has not expired. */
export async function takeAdminInvite(db: Db, hash: string, now: number): Promise<boolean> {
  const rows = await db<{ live: boolean }>`
    delete from admin_invites where token_hash = ${hash} returning expires_at > ${now} as live`
  return rows[0]?.live === true
}

export async function deleteExpired(db: Db, now: number): Promise<void> {
  await db`
    with nonces as (delete from registration_nonces where expires_at < ${now}),
      invites as (delete from admin_invites where expires_at < ${now})
    delete from uia_sessions where expires_at < ${now}`
}

/** A row of `devices`. */
export interface DeviceRow {
  readonly user_id: UserId
  readonly device_id: DeviceId
  readonly display_name: string | null
  readonly last_seen_at: number | null
  readonly last_seen_ip: string | null
}

export async function devicesOf(db: Db, users: readonly UserId[]): Promise<DeviceRow[]> {
  return await db<DeviceRow>`
    select user_id, device_id, display_name, last_seen_at, last_seen_ip from devices
    where user_id = any(${users}::text[]) order by user_id, created_at, device_id`
}

export async function renameDevice(
  db: Db,
  user: UserId,
  device: DeviceId,
  name: string | null,
): Promise<boolean> {
  const rows = await db`
    update devices set display_name = ${name}
    where user_id = ${user} and device_id = ${device} returning 1`
  return rows.length === 1
}

export async function updateLastSeen(
  db: Db,
  seen: readonly { user: UserId; device: DeviceId; at: number; ip: string; agent: string }[],
): Promise<void> {
  await db`
    update devices d set last_seen_at = s.at, last_seen_ip = s.ip, last_seen_agent = s.agent
    from unnest(
      ${seen.map((s) => s.user)}::text[], ${seen.map((s) => s.device)}::text[],
      ${seen.map((s) => s.at)}::bigint[], ${seen.map((s) => s.ip)}::text[], ${seen.map((s) => s.agent)}::text[]
    ) as s(user_id, device_id, at, ip, agent)
    where d.user_id = s.user_id and d.device_id = s.device_id`
}

/** What an access token stands for, with what refreshing it would end. */
export interface TokenRow {
  readonly user_id: UserId
  readonly device_id: DeviceId
  readonly expires_at: number | null
  readonly admin: boolean
  readonly guest: boolean
  readonly deactivated: boolean
  readonly locked: boolean
  readonly suspended: boolean
  readonly previous_hash: string | null
}

export async function findToken(db: Db, hash: string): Promise<TokenRow | undefined> {
  const [row] = await db<TokenRow>`
    select t.user_id, t.device_id, t.expires_at, u.admin, u.guest,
      u.locked, u.suspended, u.deactivated_at is not null as deactivated, r.previous_hash
    from access_tokens t
    join users u on u.user_id = t.user_id
    left join refresh_tokens r on r.token_hash = t.refresh_hash
    where t.token_hash = ${hash}`
  return row
}

interface RefreshTokenRow {
  readonly user_id: UserId
  readonly device_id: DeviceId
  readonly previous_hash: string | null
  readonly locked: boolean
}

export async function findRefreshToken(db: Db, hash: string): Promise<RefreshTokenRow | undefined> {
  const [row] = await db<RefreshTokenRow>`
    select t.user_id, t.device_id, t.previous_hash, u.locked from refresh_tokens t
    join users u on u.user_id = t.user_id and u.deactivated_at is null
    where t.token_hash = ${hash}`
  return row
}

/** A row of `uia_sessions`. */
export interface UiaRow {
  readonly session_id: string
  readonly flows: string
  readonly params: string
  readonly request: string
  readonly completed: string[]
  readonly result: string | null
}

export async function insertUiaSession(
  db: Db,
  session: { id: string; flows: string; params: string; request: string; expiresAt: number },
): Promise<void> {
  await db`
    insert into uia_sessions (session_id, flows, params, request, expires_at)
    values (${session.id}, ${session.flows}, ${session.params}, ${session.request}, ${session.expiresAt})`
}

export async function findUiaSession(db: Db, id: string, now: number): Promise<UiaRow | undefined> {
  const [row] = await db<UiaRow>`
    select session_id, flows, params, request, completed, result from uia_sessions
    where session_id = ${id} and expires_at > ${now}`
  return row
}

export async function completeUiaStage(db: Db, id: string, stage: string): Promise<string[]> {
  const [row] = await db<{ completed: string[] }>`
    update uia_sessions set completed =
      case when ${stage} = any(completed) then completed else completed || ${stage}::text end
    where session_id = ${id} returning completed`
  return row?.completed ?? []
}

export async function setUiaResult(db: Db, id: string, result: string): Promise<void> {
  await db`update uia_sessions set result = ${result} where session_id = ${id}`
}

export async function profileFieldsOf(
  db: Db,
  user: UserId,
): Promise<{ field: string; value: string }[]> {
  return await db`select field, value from profile_fields where user_id = ${user} order by field`
}

/** False when the profile would outgrow `bytesMax`. */
export async function setProfileField(
  db: Db,
  user: UserId,
  field: string,
  value: string,
  bytesMax: number,
): Promise<boolean> {
  const rows = await db`
    insert into profile_fields (user_id, field, value)
    select ${user}::text, ${field}::text, ${value}::text
    where octet_length(${field}::text) + octet_length(${value}::text) + coalesce((
      select sum(octet_length(field) + octet_length(value) + 6) from profile_fields
      where user_id = ${user} and field <> ${field}), 0) <= ${bytesMax}::bigint
    on conflict (user_id, field) do update set value = excluded.value returning 1`
  return rows.length === 1
}

export async function deleteProfileField(db: Db, user: UserId, field: string): Promise<boolean> {
  const rows = await db`
    delete from profile_fields where user_id = ${user} and field = ${field} returning 1`
  return rows.length === 1
}

export async function deleteProfile(db: Db, user: UserId): Promise<void> {
  await db`delete from profile_fields where user_id = ${user}`
}

/** A row of `account_data`; `room_id` is empty for global data. */
export interface AccountDataRow {
  readonly user_id: UserId
  readonly room_id: RoomId | ''
  readonly type: string
  readonly content: string
  readonly position: number
}

export async function findAccountData(
  db: Db,
  user: UserId,
  room: RoomId | '',
  type: string,
): Promise<{ content: string; position: number } | undefined> {
  const [row] = await db<{ content: string; position: number }>`
    select content, position from account_data
    where user_id = ${user} and room_id = ${room} and type = ${type}`
  return row
}

export async function accountDataBetween(
  db: Db,
  user: UserId,
  after: number,
  upTo: number,
): Promise<AccountDataRow[]> {
  return await db<AccountDataRow>`
    select user_id, room_id, type, content, position from account_data
    where user_id = ${user} and position > ${after} and position <= ${upTo} order by position`
}

/** Lists of ignored users; of everybody who has one unless `users` are named. */
export async function ignoredLists(
  db: Db,
  users: readonly UserId[] | undefined,
): Promise<{ user_id: UserId; content: string }[]> {
  return await db<{ user_id: UserId; content: string }>`
    select user_id, content from account_data
    where type = 'm.ignored_user_list' and room_id = ''
      and (${users === undefined}::bool or user_id = any(${users ?? []}::text[]))`
}

/** The rows that log rows name; a newer value stands in for one that has been overwritten. */
export async function accountDataByKeys(
  db: Db,
  keys: readonly { user: string; room: string; type: string }[],
): Promise<AccountDataRow[]> {
  return await db<AccountDataRow>`
    select a.user_id, a.room_id, a.type, a.content, a.position
    from unnest(${keys.map((k) => k.user)}::text[], ${keys.map((k) => k.room)}::text[],
      ${keys.map((k) => k.type)}::text[]) as k(user_id, room_id, type)
    join account_data a using (user_id, room_id, type)`
}

export async function countAccountDataTypes(
  db: Db,
  user: UserId,
  room: RoomId | '',
): Promise<number> {
  const [row] = await db<{ n: number }>`
    select count(*) as n from account_data where user_id = ${user} and room_id = ${room}`
  return row?.n ?? 0
}

/** Takes out the oldest of what was deleted and is remembered as empty; how many. */
export async function forgetDeletedAccountData(
  db: Db,
  user: UserId,
  room: RoomId | '',
  limit: number,
): Promise<number> {
  const rows = await db<{ type: string }>`
    delete from account_data where user_id = ${user} and room_id = ${room} and type in (
      select type from account_data where user_id = ${user} and room_id = ${room} and content = '{}'
      order by position limit ${limit})
    returning type`
  return rows.length
}

/** The filter's id: that of the same text stored before, or the next free one. */
export async function insertFilter(
  db: Db,
  user: UserId,
  filter: string,
  hash: string,
): Promise<number | undefined> {
  const [row] = await db<{ filter_id: number }>`
    with known as (select filter_id from filters where user_id = ${user} and hash = ${hash}),
      made as (
        insert into filters (user_id, filter_id, filter, hash)
        select ${user}::text, coalesce((select max(filter_id) + 1 from filters where user_id = ${user}), 0),
          ${filter}::text, ${hash}::text
        where not exists (select 1 from known)
        on conflict do nothing returning filter_id)
    select filter_id from known union all select filter_id from made`
  return row?.filter_id
}

export async function findFilter(db: Db, user: UserId, id: number): Promise<string | undefined> {
  const [row] = await db<{ filter: string }>`
    select filter from filters where user_id = ${user} and filter_id = ${id}`
  return row?.filter
}

/** Keeps a token, and forgets those that are too old or too many. */
export async function insertOpenidToken(
  db: Db,
  token: { hash: string; user: UserId; now: number; until: number; max: number },
): Promise<void> {
  await db`
    with expired as (delete from openid_tokens where expires_at <= ${token.now}),
      superfluous as (
        delete from openid_tokens where token_hash in (
          select token_hash from openid_tokens
          where user_id = ${token.user} and expires_at > ${token.now}
          order by expires_at desc, token_hash offset ${token.max - 1}))
    insert into openid_tokens (token_hash, user_id, expires_at)
    values (${token.hash}, ${token.user}, ${token.until})`
}

export async function findOpenidUser(
  db: Db,
  hash: string,
  now: number,
): Promise<UserId | undefined> {
  const [row] = await db<{ user_id: UserId }>`
    select t.user_id from openid_tokens t
    join users u on u.user_id = t.user_id and u.deactivated_at is null
    where t.token_hash = ${hash} and t.expires_at > ${now}`
  return row?.user_id
}
