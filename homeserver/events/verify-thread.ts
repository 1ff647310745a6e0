/** A thread that checks many events on receipt: format, signatures, content hash. */
import { verifySignature } from '../../spec/crypto/ed25519.ts'
import { triedSignatures } from '../../spec/crypto/sign-json.ts'
import { MatrixError } from '../../spec/errors.ts'
import type { Pdu } from '../../spec/events/event.ts'
import type { EventId, RoomId, ServerName } from '../../spec/ids.ts'
import { isObject, parseJson } from '../../spec/json.ts'
import { examinePdu, redactPdu, requiredSigners } from '../../spec/room/event-format.ts'
import { type RoomVersionRules, rulesOf } from '../../spec/room/version.ts'
import { serveThread } from '../platform/threads.ts'

/** A key of a server, good for what was sent up to a time. */
export type KnownKey = readonly [
  server: ServerName,
  keyId: string,
  publicKey: string,
  validUntil: number,
]
/** A key that is needed, and for when. */
export type WantedKey = readonly [server: ServerName, keyId: string, validAt: number]

export interface EventTexts {
  readonly version: string
  readonly room: RoomId
  readonly texts: readonly string[]
  readonly keys: readonly KnownKey[]
}

/** An event that passed; `text` is its canonical JSON, redacted when its content hash was wrong. */
export interface VerifiedText {
  readonly eventId: EventId
  readonly type: string
  readonly stateKey?: string
  readonly authEvents: readonly EventId[]
  readonly text: string
}

/** What became of each text, in their order. */
export type TextVerdict =
  | { readonly good: VerifiedText }
  | { readonly bad: string }
  | { readonly wanted: readonly WantedKey[] }

/** An answer of a server is nested deeper than its events are. */
const depthMax = 200

function verify({ version, room, texts, keys }: EventTexts): readonly TextVerdict[] {
  const rules = rulesOf(version)
  if (rules === undefined) throw new Error(`unknown room version ${version}`)
  const known = new Map<string, KnownKey>(keys.map((key) => [`${key[0]} ${key[1]}`, key]))
  return texts.map((text): TextVerdict => {
    try {
      return verifyOne(text, room, rules, known)
    } catch (error) {
      if (error instanceof MatrixError) return { bad: error.message }
      throw error
    }
  })
}

function verifyOne(
  json: string,
  room: RoomId,
  rules: RoomVersionRules,
  known: ReadonlyMap<string, KnownKey>,
): TextVerdict {
  const parsed = parseJson(json, { depthMax })
  if (!isObject(parsed)) return { bad: 'the event is no object' }
  const { pdu, contentHashMatches, signedText } = examinePdu(parsed, rules)
  if (pdu.roomId !== room) return { bad: 'the event is of another room' }
  for (const server of requiredSigners(pdu, rules)) {
    const checked = checkSigner(server, pdu, signedText, rules, known)
    if (checked !== undefined) return checked
  }
  const kept = contentHashMatches ? pdu : redactPdu(pdu, rules)
  const { eventId, type, stateKey, authEvents } = kept
  const text = kept.text ?? JSON.stringify(kept.json)
  return { good: { eventId, type, authEvents, text, ...(stateKey !== undefined && { stateKey }) } }
}

function checkSigner(
  server: ServerName,
  pdu: Pdu,
  signedText: string,
  rules: RoomVersionRules,
  known: ReadonlyMap<string, KnownKey>,
): TextVerdict | undefined {
  // Versions before 5 do not ask that the key was valid when the event was made.
  const validAt = rules.enforceKeyValidity ? pdu.originServerTs : 0
  const wanted: WantedKey[] = []
  for (const [keyId, signature] of triedSignatures(pdu.json, server)) {
    const key = known.get(`${server} ${keyId}`)
    if (key === undefined || key[3] < validAt) wanted.push([server, keyId, validAt])
    else if (verifySignature(key[2], signedText, signature)) return undefined
  }
  return wanted.length > 0 ? { wanted } : { bad: `no valid signature of ${server}` }
}

serveThread(verify)
