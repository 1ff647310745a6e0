import type { Pdu } from '../events/event.ts'
import { compileGlob } from '../glob.ts'
import type { ServerName } from '../ids.ts'
import { arrayAt, type JsonObject } from '../json.ts'

/** Answers remembered for each ACL; more servers than this in a room are matched again. */
const answersMax = 2000

/**
 * May the server take part in the room, by its `m.room.server_acl` event.
 * {@link https://spec.matrix.org/v1.19/client-server-api/#server-access-control-lists-acls-for-rooms}
 */
export function isServerAllowed(acl: Pdu | undefined, server: ServerName): boolean {
  // 1: no ACL, no restriction.
  if (acl === undefined) return true
  const compiled = aclCache.get(acl) ?? compile(acl.content)
  aclCache.set(acl, compiled)
  const answer = compiled.answers.get(server) ?? decide(compiled, server)
  if (compiled.answers.size >= answersMax) compiled.answers.clear()
  compiled.answers.set(server, answer)
  return answer
}

interface Acl {
  readonly allowIpLiterals: boolean
  readonly allows: HostTest
  readonly denies: HostTest
  readonly answers: Map<string, boolean>
}

type HostTest = (host: string) => boolean

const aclCache = new WeakMap<Pdu, Acl>()

function decide(acl: Acl, server: ServerName): boolean {
  const host = server.replace(/:[0-9]+$/, '').toLowerCase()
  // 2: addresses, when they are shut out as such.
  if (!acl.allowIpLiterals && isIpLiteral(host)) return false
  // 3, 4, 5
  if (acl.denies(host)) return false
  return acl.allows(host)
}

function compile(content: JsonObject): Acl {
  return {
    allowIpLiterals: content['allow_ip_literals'] !== false,
    allows: hostTest(content, 'allow'),
    denies: hostTest(content, 'deny'),
    answers: new Map(),
  }
}

/** Plain names are looked up, so that a list of thousands costs no more than its globs. */
function hostTest(content: JsonObject, key: string): HostTest {
  const names = new Set<string>()
  const globs: HostTest[] = []
  for (const entry of arrayAt(content, key) ?? []) {
    if (typeof entry !== 'string') continue
    const pattern = entry.toLowerCase()
    if (/[*?]/.test(pattern)) globs.push(compileGlob(pattern))
    else names.add(pattern)
  }
  return (host) => names.has(host) || globs.some((matches) => matches(host))
}

function isIpLiteral(host: string): boolean {
  return host.startsWith('[') || /^[0-9]{1,3}(?:\.[0-9]{1,3}){3}$/.test(host)
}
