/** With which servers this one talks, by the operator's two lists. */
import { compileGlob } from '../spec/glob.ts'
import type { ServerName } from '../spec/ids.ts'

export interface PeeringSettings {
  /** Globs over host names; when there are any, only servers that match one. */
  readonly allow: readonly string[]
  /** Globs over host names; servers that match are left out also when they are allowed. */
  readonly deny: readonly string[]
}

/** Does this server talk with that one, in either direction. */
export type Peering = (server: ServerName) => boolean

/** A glob is compared with the host, and with the whole server name for those with a port. */
export function createPeering({ allow, deny }: PeeringSettings): Peering {
  const allows = anyOf(allow)
  const denies = anyOf(deny)
  return (server) => (allow.length === 0 || allows(server)) && !denies(server)
}

function anyOf(globs: readonly string[]): (server: ServerName) => boolean {
  const tests = globs.map((glob) => compileGlob(glob, { ignoreCase: true }))
  return (server) => {
    if (tests.length === 0) return false
    const host = server.replace(/:\d+$/, '')
    return tests.some((matches) => matches(host) || matches(server))
  }
}
