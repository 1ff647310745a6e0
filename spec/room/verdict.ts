import type { Pdu } from '../events/event.ts'

/** The state against which an event is judged, asked for one key at a time. */
export type StateReader = (type: string, stateKey: string) => Pdu | undefined

/** What the auth rules say of an event; the reason is one sentence for people, not part of any protocol. */
export type AuthVerdict =
  | { readonly kind: 'allow' }
  | { readonly kind: 'reject'; readonly reason: string }

/** The rules allow it. */
export const allow: AuthVerdict = { kind: 'allow' }

/** The rules reject it, for this reason. */
export function reject(reason: string): AuthVerdict {
  return { kind: 'reject', reason }
}
