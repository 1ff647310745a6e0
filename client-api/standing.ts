import type { Requester } from '../homeserver/rooms/rooms.ts'
import type { ClientEndpointName } from '../spec/api/index.ts'
import { MatrixError, userLocked } from '../spec/errors.ts'

/** What the owner of a locked account can still do. */
const forLocked: ReadonlySet<string> = new Set<ClientEndpointName>(['logout', 'logoutAll'])

/** What the owner of a suspended account cannot do; of events it may send some, see {@link userSuspended}. */
const notForSuspended: ReadonlySet<string> = new Set<ClientEndpointName>([
  'createRoom',
  'upgradeRoom',
  'joinRoom',
  'joinRoomById',
  'knockRoom',
  'inviteUser',
  'kickUser',
  'banUser',
  'unbanUser',
  'setProfileField',
  'deleteProfileField',
  'createAlias',
  'setRoomVisibility',
])

/**
 * Keeps those out whose accounts are locked or suspended. @throws MatrixError M_USER_LOCKED, M_USER_SUSPENDED
 * {@link https://spec.matrix.org/v1.19/client-server-api/#account-moderation}
 */
export function requireStanding(endpoint: string, { restriction }: Requester): void {
  if (restriction === 'locked' && !forLocked.has(endpoint)) throw userLocked()
  if (restriction === 'suspended' && notForSuspended.has(endpoint)) throw userSuspended()
}

/** What a suspended account is told. */
export function userSuspended(): MatrixError {
  return new MatrixError('M_USER_SUSPENDED', 'You cannot perform this action while suspended.')
}
