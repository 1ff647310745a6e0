/** Tokens by which users prove to others who they are. Owns `openid_tokens`. {@link https://spec.matrix.org/v1.19/client-server-api/#openid} */
import type { UserId } from '../../spec/ids.ts'
import type { Database } from '../database/database.ts'
import type { Clock } from '../platform/clock.ts'
import type { Random } from '../platform/random.ts'
import { hashOf } from './accounts.ts'
import { findOpenidUser, insertOpenidToken } from './queries.ts'

export interface OpenidToken {
  readonly token: string
  readonly expiresInMs: number
}

export interface Openid {
  /** A token that tells others who the user is, and opens nothing else. */
  issue(user: UserId): Promise<OpenidToken>
  /** Whose token it is; undefined when it is unknown or too old, or its user is gone. */
  userOf(token: string): Promise<UserId | undefined>
}

interface Needs {
  readonly db: Database
  readonly clock: Clock
  readonly random: Random
}

export const openidLimits = {
  tokenMs: 3_600_000,
  /** Tokens of one user that are good at a time; the oldest makes room. */
  tokensPerUser: 50,
  tokenLength: 32,
} as const

export function createOpenid({ db, clock, random }: Needs): Openid {
  return {
    async issue(user) {
      const { tokenMs, tokensPerUser, tokenLength } = openidLimits
      const token = random.text(tokenLength)
      const now = clock.now()
      const row = { hash: hashOf(token), user, now, until: now + tokenMs, max: tokensPerUser }
      await insertOpenidToken(db, row)
      return { token, expiresInMs: tokenMs }
    },
    userOf: (token) => findOpenidUser(db, hashOf(token), clock.now()),
  }
}
