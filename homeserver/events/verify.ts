/**
 * Checks on receipt that look at the event alone: format, signatures, content hash. Every event of another server
 * comes through here, whatever the route.
 * {@link https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu}
 */
import { verifySignature } from '../../spec/crypto/ed25519.ts'
import { triedSignatures } from '../../spec/crypto/sign-json.ts'
import { MatrixError } from '../../spec/errors.ts'
import type { Pdu } from '../../spec/events/event.ts'
import type { RoomId, ServerName } from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import { examinePdu, redactPdu, requiredSigners } from '../../spec/room/event-format.ts'
import type { RoomVersionRules } from '../../spec/room/version.ts'
import type { KeyRing } from '../ports.ts'

export type Verified =
  | { readonly kind: 'good'; readonly pdu: Pdu }
  | { readonly kind: 'bad'; readonly reason: string; readonly pdu?: Pdu }

export interface Verifier {
  /** Never throws for a bad event. */
  verify(json: JsonObject, room: RoomId, rules: RoomVersionRules): Promise<Verified>
}

export function createVerifier({ keys }: { readonly keys: KeyRing }): Verifier {
  async function isSignedBy(
    server: ServerName,
    pdu: Pdu,
    text: string,
    rules: RoomVersionRules,
  ): Promise<boolean> {
    // Versions before 5 do not ask that the key was valid when the event was made.
    const validAt = rules.enforceKeyValidity ? pdu.originServerTs : 0
    for (const [keyId, signature] of triedSignatures(pdu.json, server)) {
      const key = await keys.verifyKey(server, keyId, validAt)
      if (key !== undefined && verifySignature(key, text, signature)) return true
    }
    return false
  }

  return {
    async verify(json, room, rules) {
      try {
        // 1: is a valid event.
        const { pdu, contentHashMatches, signedText } = examinePdu(json, rules)
        if (pdu.roomId !== room) return { kind: 'bad', reason: 'the event is of another room', pdu }
        // 2: passes signature checks.
        for (const server of requiredSigners(pdu, rules)) {
          if (!(await isSignedBy(server, pdu, signedText, rules))) {
            return { kind: 'bad', reason: `no valid signature of ${server}`, pdu }
          }
        }
        // 3: passes hash checks, otherwise it is redacted before being processed further.
        return { kind: 'good', pdu: contentHashMatches ? pdu : redactPdu(pdu, rules) }
      } catch (error) {
        if (error instanceof MatrixError) return { kind: 'bad', reason: error.message }
        throw error
      }
    },
  }
}
