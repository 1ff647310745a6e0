/** Invites that users of this server do not want. {@link https://spec.matrix.org/v1.19/client-server-api/#invite-permission} */
import { MatrixError } from '../../spec/errors.ts'
import type { UserId } from '../../spec/ids.ts'

/** What becomes of an invite of a user of ours, by who invites; an ignored one is made and never shown. */
export type InvitePermissionOf = (
  invitee: UserId,
) => Promise<(inviter: UserId) => 'allow' | 'ignore' | 'block'>

/** @throws MatrixError M_INVITE_BLOCKED when the invited user, who is one of ours, wants none of the inviter */
export async function requireWanted(
  permissionOf: InvitePermissionOf | undefined,
  invite: { readonly sender: UserId; readonly target: UserId },
): Promise<void> {
  const verdict = (await permissionOf?.(invite.target))?.(invite.sender)
  if (verdict !== 'block') return
  throw new MatrixError('M_INVITE_BLOCKED', 'You are not permitted to invite this user')
}
