/** The way in for events and EDUs of other servers. */
import { sendTransaction } from '../../spec/api/federation/transactions.ts'
import { JsonText, type Route, route } from '../router.ts'
import type { Transactions } from '../transaction.ts'

export function transactionRoutes({ transactions }: { transactions: Transactions }): Route[] {
  return [
    route(
      sendTransaction,
      async ({ params, body }, origin) =>
        new JsonText(await transactions.receive(origin, params.txnId, body)),
    ),
  ]
}
