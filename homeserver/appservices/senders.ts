import { MatrixError } from '../../spec/errors.ts'
import { localpartOf } from '../../spec/ids.ts'
import type { Accounts } from '../accounts/accounts.ts'
import type { Appservices } from './appservices.ts'

/** Makes the accounts of the services' own users, where they are missing. */
export async function registerSenders(
  { all }: Pick<Appservices, 'all'>,
  accounts: Pick<Accounts, 'find' | 'register'>,
): Promise<void> {
  for (const { id, sender } of all) {
    if ((await accounts.find(sender)) !== undefined) continue
    try {
      await accounts.register({ localpart: localpartOf(sender), appservice: id })
    } catch (error) {
      // Another process was faster.
      if (!(error instanceof MatrixError && error.errcode === 'M_USER_IN_USE')) throw error
    }
  }
}
