import { isUserId, type UserId } from '../ids.ts'

/**
 * Whose state is under a key that begins with `@` in room versions with owned state: the user id that it is, or that
 * stands before the first `_` after the colon; undefined when that is no user id.
 * {@link https://github.com/matrix-org/matrix-spec-proposals/pull/3757}
 */
export function stateOwner(stateKey: string): UserId | undefined {
  const colon = stateKey.indexOf(':')
  if (colon === -1) return undefined
  // A server name has no underscore.
  const end = stateKey.indexOf('_', colon)
  const user = end === -1 ? stateKey : stateKey.slice(0, end)
  return isUserId(user) ? user : undefined
}
