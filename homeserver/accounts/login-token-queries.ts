import type { UserId } from '../../spec/ids.ts'
import type { Db } from '../database/database.ts'

/** Of a user's tokens the ones that expire first make room for it. */
export async function insertLoginToken(
  db: Db,
  token: {
    readonly hash: string
    readonly user: UserId
    readonly now: number
    readonly until: number
    readonly max: number
  },
): Promise<void> {
  await db`
    with expired as (delete from login_tokens where expires_at <= ${token.now}),
      superfluous as (
        delete from login_tokens where token_hash in (
          select token_hash from login_tokens
          where user_id = ${token.user} and expires_at > ${token.now}
          order by expires_at desc, token_hash offset ${token.max - 1}))
    insert into login_tokens (token_hash, user_id, expires_at)
    values (${token.hash}, ${token.user}, ${token.until})`
}

/** Whose token it was; it is gone after that. */
export async function takeLoginToken(
  db: Db,
  hash: string,
  now: number,
): Promise<UserId | undefined> {
  const [row] = await db<{ user_id: UserId }>`
    delete from login_tokens t using users u
    where t.token_hash = ${hash} and t.expires_at > ${now}
      and u.user_id = t.user_id and u.deactivated_at is null
    returning t.user_id`
  return row?.user_id
}
