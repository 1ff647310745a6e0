/**
 * What becomes of a transaction that a destination refuses for what is in it: its halves are sent, and so on, so that
 * one event that it cannot digest holds up nothing else.
 */
import type { OutgoingTransaction } from './outgoing.ts'

/** `refused` says something about the content, `failed` about the destination. */
export type Outcome = 'taken' | 'refused' | 'failed'

export interface Sifting {
  readonly send: (transaction: OutgoingTransaction) => Promise<Outcome>
  /** Called with what is refused by itself, while the destination takes other things. */
  readonly dropped: (what: { readonly pdu?: string; readonly edu?: string }) => void
}

const nothing: OutgoingTransaction = { pdus: [], edus: [] }

/** True when the destination has taken all that it ever will; false when it refuses whatever comes, or is away. */
export async function sendSifted(
  transaction: OutgoingTransaction,
  sifting: Sifting,
): Promise<boolean> {
  const outcome = await sifting.send(transaction)
  if (outcome !== 'refused') return outcome === 'taken'
  const { pdus, edus } = transaction
  if (pdus.length + edus.length > 1) {
    const [first, second] = halvesOf(transaction)
    return (await sendSifted(first, sifting)) && (await sendSifted(second, sifting))
  }
  if (pdus.length + edus.length === 0 || (await sifting.send(nothing)) !== 'taken') return false
  const [pdu] = pdus
  const [edu] = edus
  sifting.dropped({ ...(pdu !== undefined && { pdu }), ...(edu !== undefined && { edu }) })
  return true
}

/** Events and EDUs apart, or the list that there is in the middle: the order of events stays. */
function halvesOf({
  pdus,
  edus,
}: OutgoingTransaction): readonly [OutgoingTransaction, OutgoingTransaction] {
  if (pdus.length > 0 && edus.length > 0) {
    return [
      { pdus, edus: [] },
      { pdus: [], edus },
    ]
  }
  const halve = (list: readonly string[]) => {
    const middle = Math.ceil(list.length / 2)
    return [list.slice(0, middle), list.slice(middle)] as const
  }
  const [pdusBefore, pdusAfter] = halve(pdus)
  const [edusBefore, edusAfter] = halve(edus)
  return [
    { pdus: pdusBefore, edus: edusBefore },
    { pdus: pdusAfter, edus: edusAfter },
  ]
}
