import { canonicalJson, lenientCanonicalJson, sortedKeys } from '../canonical-json.ts'
import type { Json, JsonObject } from '../json.ts'
import { keptKeys, redactContent } from './redact.ts'
import type { RoomVersionRules } from './version.ts'

/**
 * An event has three canonical texts: the whole, what its content hash covers, and what its id and signatures cover.
 * They share most of their members, so each member is serialised once and the texts are put together from
 * them: top-level members by key, in canonical order, each as `"key":value`, without `unsigned`.
 */
export type Members = Map<string, string>

/**
 * Serialises the members of an event.
 * @throws MatrixError M_BAD_JSON when it has no canonical JSON in its room version.
 */
export function membersOf(event: JsonObject, rules: RoomVersionRules): Members {
  const members: Members = new Map()
  for (const key of sortedKeys(event)) {
    const value = event[key]
    if (key !== 'unsigned' && value !== undefined) setMember(members, key, value, rules)
  }
  return members
}

/** Adds a member at the end or replaces one in its place. */
export function setMember(
  members: Members,
  key: string,
  value: Json,
  rules: RoomVersionRules,
): void {
  members.set(key, `${canonicalJson(key)}:${eventJson(value, rules)}`)
}

/** All but `unsigned`: what is stored, sent and measured. */
export function wholeText(members: Members): string {
  return `{${[...members.values()].join(',')}}`
}

/** What the content hash covers. {@link https://spec.matrix.org/v1.19/server-server-api/#calculating-the-content-hash-for-an-event} */
export function hashedText(members: Members): string {
  const parts: string[] = []
  for (const [key, text] of members) {
    if (key !== 'hashes' && key !== 'signatures') parts.push(text)
  }
  return `{${parts.join(',')}}`
}

/**
 * What the reference hash and the signatures cover: the event redacted, without `signatures`.
 * {@link https://spec.matrix.org/v1.19/server-server-api/#calculating-the-reference-hash-for-an-event}
 */
export function signedText(members: Members, event: JsonObject, rules: RoomVersionRules): string {
  const kept = keptKeys(rules)
  const parts: string[] = []
  for (const [key, text] of members) {
    if (key === 'signatures' || !kept.has(key)) continue
    parts.push(key === 'content' ? redactedContentText(text, event, rules) : text)
  }
  return `{${parts.join(',')}}`
}

function redactedContentText(text: string, event: JsonObject, rules: RoomVersionRules): string {
  const { content } = event
  const redacted = redactContent(event['type'], content, rules)
  return redacted === content ? text : `"content":${eventJson(redacted, rules)}`
}

/** Canonical JSON as strict as the room version is. {@link https://spec.matrix.org/v1.19/rooms/v6/#canonical-json} */
function eventJson(value: Json, rules: RoomVersionRules): string {
  return rules.strictCanonicalJson ? canonicalJson(value) : lenientCanonicalJson(value)
}
