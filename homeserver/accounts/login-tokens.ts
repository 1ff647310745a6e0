/**
 * Tokens by which somebody who is signed in lets another device of theirs in. Owns `login_tokens`.
 * {@link https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv1loginget_token}
 */
import type { UserId } from '../../spec/ids.ts'
import type { Database } from '../database/database.ts'
import type { Clock } from '../platform/clock.ts'
import type { Random } from '../platform/random.ts'
import { hashOf } from './accounts.ts'
import { insertLoginToken, takeLoginToken } from './login-token-queries.ts'

export interface LoginTokens {
  /** A token that is good for one login, soon. */
  issue(user: UserId): Promise<{ readonly token: string; readonly expiresInMs: number }>
  /** Whose token it is, once; undefined when it is unknown, used or too old, or its user is gone. */
  take(token: string): Promise<UserId | undefined>
}

export const loginTokenLimits = {
  tokenMs: 120_000,
  /** Tokens of one user that are good at a time. */
  tokensPerUser: 10,
  tokenLength: 43,
} as const

interface Needs {
  readonly db: Database
  readonly clock: Clock
  readonly random: Random
}

export function createLoginTokens({ db, clock, random }: Needs): LoginTokens {
  return {
    async issue(user) {
      const { tokenMs, tokensPerUser, tokenLength } = loginTokenLimits
      const token = `fml_${random.text(tokenLength)}`
      const now = clock.now()
      const row = { hash: hashOf(token), user, now, until: now + tokenMs, max: tokensPerUser }
      await insertLoginToken(db, row)
      return { token, expiresInMs: tokenMs }
    },
    take: (token) => takeLoginToken(db, hashOf(token), clock.now()),
  }
}
