import type { SigningKey } from '../crypto/ed25519.ts'
import { decodeBase64, hashOfSigned, sha256Text, unpaddedBase64 } from '../crypto/hash.ts'
import { addSignature } from '../crypto/sign-json.ts'
import { badJson, MatrixError } from '../errors.ts'
import type { Pdu } from '../events/event.ts'
import {
  createIdOfRoom,
  type EventId,
  eventIdOfHash,
  isUserId,
  isWithin,
  roomIdOfCreate,
  type ServerName,
  serverOfEventId,
  serverOfUser,
} from '../ids.ts'
import { isObject, type Json, type JsonObject, objectAt, stringAt } from '../json.ts'
import { type EventFields, readEventId, readFields } from './event-fields.ts'
import { hashedText, membersOf, setMember, signedText, wholeText } from './event-text.ts'
import { redactEvent } from './redact.ts'
import type { RoomVersionRules } from './version.ts'

/** Largest event, in bytes of canonical JSON with its signatures. {@link https://spec.matrix.org/v1.19/client-server-api/#size-limits} */
export const eventBytesMax = 65_536

/** An event from elsewhere whose format is right, with what the next checks need. */
export interface ExaminedPdu {
  readonly pdu: Pdu
  /** Does the content hash match; when not, go on with `redactPdu`. */
  readonly contentHashMatches: boolean
  /** What the event's signatures cover. */
  readonly signedText: string
}

/**
 * Checks an event from elsewhere against its room version's format and makes its id. Hash and signatures are read, not verified.
 * {@link https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu}
 * @throws MatrixError M_BAD_JSON naming the field; M_TOO_LARGE when the event or a field is over its limit.
 */
export function parsePdu(json: unknown, rules: RoomVersionRules): Pdu {
  return examinePdu(json, rules).pdu
}

/** As `parsePdu`, and computes in the same pass what the checks of hash and signatures need. */
export function examinePdu(json: unknown, rules: RoomVersionRules): ExaminedPdu {
  if (!isObject(json)) throw badJson('event', 'must be an object')
  const fields = readFields(json, rules)
  const hash = readHash(json)
  checkSignatures(json)
  const members = membersOf(json, rules)
  const text = wholeText(members)
  checkSize(text)
  const signed = signedText(members, json, rules)
  const eventId = idOf(json, signed, rules)
  const pdu = assemble(eventId, fields, json, text, rules)
  return {
    pdu,
    contentHashMatches: isSameHash(hash, sha256Text(hashedText(members), 'base64')),
    signedText: signed,
  }
}

/**
 * Reads an event back from where a checked one was stored; only what is needed to type it is checked again.
 * @throws MatrixError when the text is not such an event.
 */
export function readStoredPdu(text: string, eventId: EventId, rules: RoomVersionRules): Pdu {
  const json: unknown = JSON.parse(text)
  if (!isObject(json)) throw badJson('event', 'must be an object')
  return assemble(eventId, readFields(json, rules), json, text, rules)
}

/**
 * Makes an event of ours from a draft, which has all members but hashes and signatures (and an
 * event_id only in room versions 1 and 2): adds the content hash, signs, and makes the id.
 * {@link https://spec.matrix.org/v1.19/server-server-api/#adding-hashes-and-signatures-to-outgoing-events}
 * @throws MatrixError M_BAD_JSON naming the field; M_TOO_LARGE when the event or a field is over its limit.
 */
export function finishPdu(
  draft: JsonObject,
  rules: RoomVersionRules,
  server: ServerName,
  key: SigningKey,
): Pdu {
  const fields = readFields(draft, rules)
  const json: Record<string, Json> = { ...draft, hashes: {}, signatures: {} }
  const members = membersOf(json, rules)
  json['hashes'] = { sha256: sha256Text(hashedText(members), 'base64') }
  setMember(members, 'hashes', json['hashes'], rules)
  const signed = signedText(members, json, rules)
  json['signatures'] = { [server]: { [key.keyId]: key.sign(signed) } }
  setMember(members, 'signatures', json['signatures'], rules)
  const text = wholeText(members)
  checkSize(text)
  return assemble(idOf(json, signed, rules), fields, json, text, rules)
}

/**
 * The event with one more signature, such as an invited server's or that of a resident server on a restricted join.
 * Its id stays.
 */
export function countersignPdu(
  pdu: Pdu,
  rules: RoomVersionRules,
  server: ServerName,
  key: SigningKey,
): Pdu {
  const members = membersOf(pdu.json, rules)
  const signature = key.sign(signedText(members, pdu.json, rules))
  const signatures = addSignature(pdu.json, server, key, signature)
  setMember(members, 'signatures', signatures, rules)
  const text = wholeText(members)
  checkSize(text)
  return { ...pdu, json: { ...pdu.json, signatures }, text }
}

/** The event as a redaction leaves it, under the same id. */
export function redactPdu(pdu: Pdu, rules: RoomVersionRules): Pdu {
  const json = redactEvent(pdu.json, rules)
  if (json === pdu.json) return pdu
  const text = wholeText(membersOf(json, rules))
  return assemble(pdu.eventId, readFields(json, rules), json, text, rules)
}

/** The id of an event: its own in room versions 1 and 2, its reference hash from 3 on. @throws MatrixError M_BAD_JSON */
export function eventIdOf(json: JsonObject, rules: RoomVersionRules): EventId {
  if (rules.eventIdFormat === 'opaque') return readEventId(json)
  return idOf(json, signedText(membersOf(json, rules), json, rules), rules)
}

/** Does the event's content hash match its content. When not, it may be a redacted copy: go on with `redactPdu`. */
export function checkContentHash(pdu: Pdu, rules: RoomVersionRules): boolean {
  const hash = sha256Text(hashedText(membersOf(pdu.json, rules)), 'base64')
  return isSameHash(stringAt(objectAt(pdu.json, 'hashes') ?? {}, 'sha256') ?? '', hash)
}

/** What the event's signatures cover; serialise it once and verify all signatures against it. */
export function redactedBytesForSignature(pdu: Pdu, rules: RoomVersionRules): string {
  return signedText(membersOf(pdu.json, rules), pdu.json, rules)
}

/**
 * The servers that must have signed the event. Empty for an invite that stands for a third-party one: anyone may send it,
 * and the auth rules check the signature in its content instead.
 * {@link https://spec.matrix.org/v1.19/server-server-api/#validating-hashes-and-signatures-on-received-events}
 * @throws MatrixError M_BAD_JSON when the authorising user of a restricted join is no user id.
 */
export function requiredSigners(pdu: Pdu, rules: RoomVersionRules): ServerName[] {
  const signers = new Set<ServerName>()
  if (!isThirdPartyInvite(pdu)) signers.add(serverOfUser(pdu.sender))
  // v1–2: also the server in the event id
  const idServer = rules.eventIdFormat === 'opaque' ? serverOfEventId(pdu.eventId) : undefined
  if (idServer !== undefined) signers.add(idServer)
  const authoriser = pdu.content['join_authorised_via_users_server']
  // v8+: the server of the user who let a member in
  if (rules.restrictedJoin && pdu.type === 'm.room.member' && authoriser !== undefined) {
    if (!isUserId(authoriser)) {
      throw badJson('content.join_authorised_via_users_server', 'must be a user id')
    }
    signers.add(serverOfUser(authoriser))
  }
  return [...signers]
}

function isThirdPartyInvite({ type, content }: Pdu): boolean {
  return (
    type === 'm.room.member' &&
    content['membership'] === 'invite' &&
    content['third_party_invite'] !== undefined
  )
}

function idOf(json: JsonObject, signed: string, rules: RoomVersionRules): EventId {
  if (rules.eventIdFormat === 'opaque') return readEventId(json)
  return eventIdOfHash(hashOfSigned(signed, rules))
}

function assemble(
  eventId: EventId,
  fields: EventFields,
  json: JsonObject,
  text: string,
  rules: RoomVersionRules,
): Pdu {
  const roomId = fields.roomId ?? roomIdOfCreate(eventId)
  // v12+: the room id names the create event, so it must not be among the auth events as well
  if (rules.createHashRoomId && fields.authEvents.includes(createIdOfRoom(roomId))) {
    throw badJson('auth_events', 'must not hold the create event')
  }
  // one literal: spreading the fields costs more than reading them
  const pdu: { -readonly [K in keyof Pdu]: Pdu[K] } = {
    eventId,
    roomId,
    sender: fields.sender,
    type: fields.type,
    content: fields.content,
    depth: fields.depth,
    originServerTs: fields.originServerTs,
    prevEvents: fields.prevEvents,
    authEvents: fields.authEvents,
    json,
    text,
  }
  if (fields.stateKey !== undefined) pdu.stateKey = fields.stateKey
  if (fields.redacts !== undefined) pdu.redacts = fields.redacts
  return json['unsigned'] === undefined ? pdu : withoutUnsigned(pdu)
}

/** Moves `unsigned` from the JSON to the side; what is not an object is dropped. */
function withoutUnsigned(pdu: Pdu): Pdu {
  const { unsigned, ...json } = pdu.json
  return isObject(unsigned) ? { ...pdu, json, unsigned } : { ...pdu, json }
}

function checkSize(text: string): void {
  if (isWithin(text, eventBytesMax)) return
  throw new MatrixError('M_TOO_LARGE', `event: must be at most ${eventBytesMax} bytes`)
}

function readHash(json: JsonObject): string {
  const { hashes } = json
  const hash = isObject(hashes) ? hashes['sha256'] : undefined
  if (typeof hash === 'string') return hash
  throw badJson('hashes.sha256', 'must be a string')
}

function checkSignatures(json: JsonObject): void {
  const { signatures } = json
  if (!isObject(signatures)) throw badJson('signatures', 'must be an object')
  for (const [server, own] of Object.entries(signatures)) {
    const isRight = isObject(own) && Object.values(own).every((text) => typeof text === 'string')
    if (!isRight) throw badJson(`signatures.${server}`, 'must be an object of strings')
  }
}

function isSameHash(claimed: string, computed: string): boolean {
  if (claimed === computed) return true
  const bytes = decodeBase64(claimed)
  return bytes !== undefined && unpaddedBase64(bytes) === computed
}
