import type { DeviceId, UserId } from '../../spec/ids.ts'
import type { Db } from '../database/database.ts'

/** Keys of a device, as it uploaded them, as JSON text. */
export interface DeviceKeysRow {
  readonly user_id: UserId
  readonly device_id: DeviceId
  readonly keys: string
}

export async function deviceKeysOf(db: Db, users: readonly UserId[]): Promise<DeviceKeysRow[]> {
  return await db<DeviceKeysRow>`
    select user_id, device_id, keys from device_keys where user_id = any(${users}::text[])`
}

/** A one-time or fallback key, as JSON text. */
export interface KeyRow {
  readonly user_id: UserId
  readonly device_id: DeviceId
  readonly algorithm: string
  readonly key_id: string
  readonly key: string
}

export async function findOneTimeKeys(
  db: Db,
  user: UserId,
  device: DeviceId,
  keys: readonly { algorithm: string; keyId: string }[],
): Promise<KeyRow[]> {
  return await db<KeyRow>`
    select k.user_id, k.device_id, k.algorithm, k.key_id, k.key
    from unnest(${keys.map((k) => k.algorithm)}::text[], ${keys.map((k) => k.keyId)}::text[]) as w(algorithm, key_id)
    join one_time_keys k using (algorithm, key_id)
    where k.user_id = ${user} and k.device_id = ${device}`
}

export async function countOneTimeKeys(
  db: Db,
  user: UserId,
  device: DeviceId,
): Promise<{ algorithm: string; n: number }[]> {
  return await db`
    select algorithm, count(*) as n from one_time_keys
    where user_id = ${user} and device_id = ${device} group by algorithm`
}

export async function unusedFallbackAlgorithms(
  db: Db,
  user: UserId,
  device: DeviceId,
): Promise<{ algorithm: string }[]> {
  return await db`
    select algorithm from fallback_keys
    where user_id = ${user} and device_id = ${device} and not used order by algorithm`
}

export interface Claim {
  readonly user: UserId
  readonly device: DeviceId
  readonly algorithm: string
}

/** Takes the oldest key of each claim; a key that another claim holds is passed over. Claims must differ. */
export async function takeOneTimeKeys(db: Db, claims: readonly Claim[]): Promise<KeyRow[]> {
  return await db<KeyRow>`
    with wanted as (
      select user_id, device_id, algorithm from unnest(
        ${claims.map((c) => c.user)}::text[], ${claims.map((c) => c.device)}::text[],
        ${claims.map((c) => c.algorithm)}::text[]) as w(user_id, device_id, algorithm)),
    picked as materialized (
      select w.user_id, w.device_id, w.algorithm, p.key_id from wanted w cross join lateral (
        select o.key_id from one_time_keys o
        where o.user_id = w.user_id and o.device_id = w.device_id and o.algorithm = w.algorithm
        order by o.nr limit 1 for update skip locked) p)
    delete from one_time_keys k using picked p
    where k.user_id = p.user_id and k.device_id = p.device_id and k.algorithm = p.algorithm and k.key_id = p.key_id
    returning k.user_id, k.device_id, k.algorithm, k.key_id, k.key`
}

export async function useFallbackKeys(db: Db, claims: readonly Claim[]): Promise<KeyRow[]> {
  return await db<KeyRow>`
    update fallback_keys f set used = true
    from unnest(
      ${claims.map((c) => c.user)}::text[], ${claims.map((c) => c.device)}::text[],
      ${claims.map((c) => c.algorithm)}::text[]) as w(user_id, device_id, algorithm)
    where f.user_id = w.user_id and f.device_id = w.device_id and f.algorithm = w.algorithm
    returning f.user_id, f.device_id, f.algorithm, f.key_id, f.key`
}

/** `usage` is master, self_signing or user_signing. */
export interface CrossSigningRow {
  readonly user_id: UserId
  readonly usage: string
  readonly key: string
}

export async function crossSigningKeysOf(
  db: Db,
  users: readonly UserId[],
): Promise<CrossSigningRow[]> {
  return await db<CrossSigningRow>`
    select user_id, usage, key from cross_signing_keys where user_id = any(${users}::text[])`
}

export interface SignatureRow {
  readonly target_user_id: UserId
  readonly target_key_id: string
  readonly signer_user_id: UserId
  readonly signer_key_id: string
  readonly signature: string
}

/** Signatures on keys of `users` that `viewer` may see: their own ones and the viewer's. */
export async function signaturesOn(
  db: Db,
  users: readonly UserId[],
  viewer: UserId | undefined,
): Promise<SignatureRow[]> {
  return await db<SignatureRow>`
    select target_user_id, target_key_id, signer_user_id, signer_key_id, signature from key_signatures
    where target_user_id = any(${users}::text[])
      and (signer_user_id = target_user_id or signer_user_id = ${viewer ?? null})`
}

/** Numbers for `count` updates about a user, and the newest number given before. */
export async function takeStreamIds(
  db: Db,
  user: UserId,
  count: number,
): Promise<{ previous: number | null; ids: number[] }> {
  const [row] = await db<{ previous: number | null; ids: number[] }>`
    with old as (select stream_id from device_list_streams where user_id = ${user}),
      made as (select array_agg(nextval('device_list_stream')) as ids from generate_series(1, ${count}::int)),
      kept as (
        insert into device_list_streams as s (user_id, stream_id)
        select ${user}::text, ids[array_upper(ids, 1)] from made
        on conflict (user_id) do update set stream_id = greatest(s.stream_id, excluded.stream_id))
    select (select stream_id from old) as previous, ids from made`
  return row ?? { previous: null, ids: [] }
}

export async function streamIdOf(db: Db, user: UserId): Promise<number> {
  const [row] = await db<{ stream_id: number }>`
    select stream_id from device_list_streams where user_id = ${user}`
  return row?.stream_id ?? 0
}

/** Those of `users` whose devices or keys changed with after < position. */
export async function changedAmong(
  db: Db,
  users: readonly UserId[],
  after: number,
): Promise<{ user_id: UserId }[]> {
  return await db`
    select user_id from device_list_changes
    where user_id = any(${users}::text[]) and position > ${after}`
}

/** Whose master keys `user` signed with after < position. */
export async function signedSince(
  db: Db,
  user: UserId,
  after: number,
): Promise<{ target_user_id: UserId }[]> {
  return await db`
    select target_user_id from signature_changes where user_id = ${user} and position > ${after}`
}

export interface RemoteListRow {
  readonly user_id: UserId
  readonly version: number
  readonly fresh: boolean
  /** Log position at which the list was asked for. */
  readonly kept_at: number
  /** The newest update that is in it; null when that is not known. */
  readonly stream_id: number | null
}

/** What is known of the lists of remote users; makes a row for those that have none. */
export async function remoteLists(db: Db, users: readonly UserId[]): Promise<RemoteListRow[]> {
  await db`
    insert into remote_device_lists (user_id) select unnest(${users}::text[]) on conflict do nothing`
  return await db`
    select user_id, version, fresh, kept_at, stream_id from remote_device_lists
    where user_id = any(${users}::text[])`
}

/** Is a list kept that has just this update. */
export async function hasUpdate(db: Db, user: UserId, streamId: number): Promise<boolean> {
  const rows = await db`
    select 1 from remote_device_lists where user_id = ${user} and fresh and stream_id = ${streamId}`
  return rows.length > 0
}

export async function remoteDevicesOf(db: Db, users: readonly UserId[]): Promise<DeviceKeysRow[]> {
  return await db<DeviceKeysRow>`
    select user_id, device_id, keys from remote_devices where user_id = any(${users}::text[])`
}

/**
 * Keeps the answer about a remote user's keys. False when the list has become stale since `version` was read: then
 * nothing is kept. One statement, so that no lock outlives it.
 */
export async function keepRemoteKeys(
  db: Db,
  list: {
    user: UserId
    version: number
    keptAt: number
    streamId: number | undefined
    dueAt: number
  },
  devices: readonly { device: string; keys: string }[],
  signing: readonly { usage: string; key: string }[],
): Promise<boolean> {
  const rows = await db`
    with fresh as (
      update remote_device_lists
      set fresh = true, kept_at = ${list.keptAt}, stream_id = ${list.streamId ?? null}, due_at = ${list.dueAt},
        failures = 0
      where user_id = ${list.user} and version = ${list.version} returning user_id),
    gone as (
      delete from remote_devices d using fresh f
      where d.user_id = f.user_id and d.device_id <> all(${devices.map((d) => d.device)}::text[])),
    kept as (
      insert into remote_devices (user_id, device_id, keys)
      select f.user_id, d.device_id, d.keys from fresh f,
        unnest(${devices.map((d) => d.device)}::text[], ${devices.map((d) => d.keys)}::text[]) as d(device_id, keys)
      on conflict (user_id, device_id) do update set keys = excluded.keys),
    unsigned as (
      delete from cross_signing_keys c using fresh f
      where c.user_id = f.user_id and c.usage <> all(${signing.map((k) => k.usage)}::text[])),
    signed as (
      insert into cross_signing_keys (user_id, usage, key)
      select f.user_id, k.usage, k.key from fresh f,
        unnest(${signing.map((k) => k.usage)}::text[], ${signing.map((k) => k.key)}::text[]) as k(usage, key)
      on conflict (user_id, usage) do update set key = excluded.key)
    select 1 from fresh`
  return rows.length === 1
}

/** A message waiting for a device. */
export interface ToDeviceRow {
  readonly user_id: UserId
  readonly device_id: DeviceId
  readonly position: number
  readonly sender: UserId
  readonly type: string
  readonly content: string
}

export async function messagesBetween(
  db: Db,
  user: UserId,
  device: DeviceId,
  range: { after: number; upTo: number; limit: number },
): Promise<ToDeviceRow[]> {
  return await db<ToDeviceRow>`
    select user_id, device_id, position, sender, type, content from to_device_messages
    where user_id = ${user} and device_id = ${device}
      and position > ${range.after} and position <= ${range.upTo}
    order by position limit ${range.limit}`
}

export async function messagesByKeys(
  db: Db,
  keys: readonly { user: string; device: string; position: number }[],
): Promise<ToDeviceRow[]> {
  return await db<ToDeviceRow>`
    select m.user_id, m.device_id, m.position, m.sender, m.type, m.content
    from unnest(${keys.map((k) => k.user)}::text[], ${keys.map((k) => k.device)}::text[],
      ${keys.map((k) => k.position)}::bigint[]) as k(user_id, device_id, position)
    join to_device_messages m using (user_id, device_id, position)`
}

/** First and last position of what waits for a device. */
export async function inboxOf(
  db: Db,
  user: UserId,
  device: DeviceId,
): Promise<{ oldest: number | null; newest: number | null } | undefined> {
  const [row] = await db<{ oldest: number | null; newest: number | null }>`
    select min(position) as oldest, max(position) as newest from to_device_messages
    where user_id = ${user} and device_id = ${device}`
  return row
}

/** Answers how many of at most `limit` were deleted, oldest first. */
export async function deleteMessages(
  db: Db,
  user: UserId,
  device: DeviceId,
  upTo: number,
  limit: number,
): Promise<number> {
  const rows = await db`
    delete from to_device_messages where user_id = ${user} and device_id = ${device}
      and position in (
        select position from to_device_messages
        where user_id = ${user} and device_id = ${device} and position <= ${upTo}
        order by position limit ${limit})
    returning 1`
  return rows.length
}

/** The position of the newest message that has `keep` newer ones; undefined when there are fewer. */
export async function positionBeyond(
  db: Db,
  user: UserId,
  device: DeviceId,
  keep: number,
): Promise<number | undefined> {
  const [row] = await db<{ position: number }>`
    select position from to_device_messages where user_id = ${user} and device_id = ${device}
    order by position desc offset ${keep} limit 1`
  return row?.position
}

/** What is kept of a user's dehydrated device; `device_data` is JSON text. */
export interface DehydratedRow {
  readonly device_id: DeviceId
  readonly device_data: string
}

export async function dehydratedDeviceOf(db: Db, user: UserId): Promise<DehydratedRow | undefined> {
  const [row] = await db<DehydratedRow>`
    select device_id, device_data from dehydrated_devices where user_id = ${user}`
  return row
}
