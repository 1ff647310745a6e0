import type { UserId } from '../../spec/ids.ts'
import type { AccountData } from '../accounts/account-data.ts'
import type { MembershipRow } from '../rooms/rooms.ts'

/**
 * A user's memberships without the invites that they do not want: those are shown to nobody, however they came about.
 * {@link https://spec.matrix.org/v1.19/client-server-api/#invite-permission}
 */
export async function withoutUnwanted(
  accountData: Pick<AccountData, 'invitePermission'>,
  user: UserId,
  rows: readonly MembershipRow[],
): Promise<readonly MembershipRow[]> {
  if (!rows.some(({ membership }) => membership === 'invite')) return rows
  const verdictOn = await accountData.invitePermission(user)
  return rows.filter(
    ({ membership, sender }) => membership !== 'invite' || verdictOn(sender) === 'allow',
  )
}
