/** Checks a server's signature on an event that comes in by a handshake and not by `receive`. */
import { verifySignature } from '../../spec/crypto/ed25519.ts'
import { triedSignatures } from '../../spec/crypto/sign-json.ts'
import type { Pdu } from '../../spec/events/event.ts'
import type { ServerName } from '../../spec/ids.ts'
import { redactedBytesForSignature } from '../../spec/room/event-format.ts'
import type { RoomVersionRules } from '../../spec/room/version.ts'
import type { KeyRing } from '../ports.ts'

/** Has the server signed the event with a key that was valid when it was made. */
export async function isSignedBy(
  keys: KeyRing,
  server: ServerName,
  pdu: Pdu,
  rules: RoomVersionRules,
): Promise<boolean> {
  const validAt = rules.enforceKeyValidity ? pdu.originServerTs : 0
  const text = redactedBytesForSignature(pdu, rules)
  for (const [keyId, signature] of triedSignatures(pdu.json, server)) {
    const key = await keys.verifyKey(server, keyId, validAt)
    if (key !== undefined && verifySignature(key, text, signature)) return true
  }
  return false
}
