/**
 * Events as servers exchange them, for every room version: hashes, signatures, ids. Written from the specification and
 * apart from the server's code, so that the two check each other.
 */
import type { Body } from './http.ts'
import { isBody } from './http.ts'
import { canonical, type SigningKey, sha256, signObject, unpadded } from './signing.ts'

/** An event with its id; `json` is what goes over the wire. */
export interface Pdu {
  readonly id: string
  readonly json: Body
}

/** Room versions 1 and 2 name their events by themselves and refer to others by pairs. */
export const namesItself = (version: string) => version === '1' || version === '2'

/** Adds the content hash and the signature of a server, and finds the id. */
export function finish(draft: Body, version: string, server: string, key: SigningKey): Pdu {
  const { hashes: _, signatures, unsigned, ...hashed } = draft
  const json = sign(
    { ...draft, hashes: { sha256: unpadded(sha256(canonical(hashed))) } },
    version,
    server,
    key,
  )
  return { id: eventId(json, version), json }
}

/** Signs an event as a server does: over its redacted form. */
export function sign(event: Body, version: string, server: string, key: SigningKey): Body {
  const { signatures } = signObject(redact(event, version), server, key)
  return { ...event, signatures }
}

/** The event's id. {@link https://spec.matrix.org/v1.19/server-server-api/#calculating-the-reference-hash-for-an-event} */
export function eventId(event: Body, version: string): string {
  if (namesItself(version)) return String(event['event_id'])
  const { signatures: _, unsigned, ...covered } = redact(event, version)
  return `$${unpadded(sha256(canonical(covered)), version !== '3')}`
}

const topLevel = [
  'event_id',
  'type',
  'room_id',
  'sender',
  'state_key',
  'content',
  'hashes',
  'signatures',
  'depth',
  'prev_events',
  'auth_events',
  'origin_server_ts',
]
const olderTopLevel = [...topLevel, 'origin', 'membership', 'prev_state']

/** The redacted form. {@link https://spec.matrix.org/v1.19/client-server-api/#redactions} */
export function redact(event: Body, version: string): Body {
  const kept = Number(version) >= 11 ? topLevel : olderTopLevel
  const outer = Object.fromEntries(Object.entries(event).filter(([name]) => kept.includes(name)))
  const content = isBody(event['content']) ? event['content'] : {}
  return { ...outer, content: keptContent(String(event['type']), content, Number(version)) }
}

function keptContent(type: string, content: Body, version: number): Body {
  if (type === 'm.room.create' && version >= 11) return content
  const names = new Set(contentKeys(type, version))
  const kept = Object.fromEntries(Object.entries(content).filter(([name]) => names.has(name)))
  const invite = content['third_party_invite']
  if (type === 'm.room.member' && version >= 11 && isBody(invite)) {
    // Without `signed` an empty object stays, as in Synapse: the reference hash depends on it.
    kept['third_party_invite'] = 'signed' in invite ? { signed: invite['signed'] } : {}
  }
  return kept
}

function contentKeys(type: string, version: number): string[] {
  switch (type) {
    case 'm.room.member':
      return version >= 9 ? ['membership', 'join_authorised_via_users_server'] : ['membership']
    case 'm.room.create':
      return ['creator']
    case 'm.room.join_rules':
      return version >= 8 ? ['join_rule', 'allow'] : ['join_rule']
    case 'm.room.power_levels': {
      const levels = [
        'ban',
        'events',
        'events_default',
        'kick',
        'redact',
        'state_default',
        'users',
        'users_default',
      ]
      return version >= 11 ? [...levels, 'invite'] : levels
    }
    case 'm.room.history_visibility':
      return ['history_visibility']
    case 'm.room.aliases':
      return version < 6 ? ['aliases'] : []
    case 'm.room.redaction':
      return version >= 11 ? ['redacts'] : []
    default:
      return []
  }
}
