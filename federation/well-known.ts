/** Delegation of a server name by `/.well-known/matrix/server`, remembered as its cache headers say. */
import { LRUCache } from 'lru-cache'
import { atMost } from '../homeserver/platform/cache.ts'
import type { Clock } from '../homeserver/platform/clock.ts'
import type { GuardedReply } from '../homeserver/platform/guarded-request.ts'
import type { ServerName } from '../spec/ids.ts'
import { isServerName } from '../spec/ids.ts'
import { isObject, parseJson, stringAt } from '../spec/json.ts'

/** GET of `https://<host>/.well-known/matrix/server`, redirects followed, bounded in bytes and time. */
export type FetchWellKnown = (host: string) => Promise<GuardedReply>

/** Most servers remembered. */
const serversMax = 10_000
const minuteMs = 60_000
/** An answer without cache headers holds this long. */
const defaultMs = 24 * 60 * minuteMs
const longestMs = 48 * 60 * minuteMs
const shortestMs = 5 * minuteMs
/** Errors are remembered for a minute at first, doubling up to an hour. */
const errorMinMs = minuteMs
const errorMaxMs = 60 * minuteMs
const bodyBytesMax = 50 * 1024
const bodyDepthMax = 10

interface Delegation {
  readonly to?: ServerName
  readonly until: number
  /** How long an error will be remembered the next time. */
  readonly errorMs: number
}

/**
 * Answers where a host delegates to; undefined when it does not, or does so in an invalid way. Never rejects.
 * {@link https://spec.matrix.org/v1.19/server-server-api/#resolving-server-names} step 3
 */
export function createDelegations({
  clock,
  fetchWellKnown,
}: {
  readonly clock: Clock
  readonly fetchWellKnown: FetchWellKnown
}): (host: ServerName) => Promise<ServerName | undefined> {
  const known = new LRUCache<ServerName, Delegation>({ ...atMost(serversMax) })

  return async (host) => {
    const before = known.get(host)
    if (before && before.until > clock.now()) return before.to
    const found = await fetchWellKnown(host)
      .then(read)
      .catch(() => undefined)
    if (found) {
      const until = clock.now() + found.holdsMs
      known.set(host, { to: found.to, until, errorMs: errorMinMs })
      return found.to
    }
    const errorMs = before?.errorMs ?? errorMinMs
    const next = Math.min(errorMs * 2, errorMaxMs)
    known.set(host, { until: clock.now() + errorMs, errorMs: next })
    return undefined
  }
}

/** Undefined when the answer is not a valid delegation. */
function read(reply: GuardedReply): { to: ServerName; holdsMs: number } | undefined {
  if (reply.status !== 200 || reply.body.length > bodyBytesMax) return undefined
  const body = parseJson(reply.body.toString('utf8'), { depthMax: bodyDepthMax })
  const to = isObject(body) ? stringAt(body, 'm.server') : undefined
  return isServerName(to) ? { to, holdsMs: holdsMs(reply.header('cache-control')) } : undefined
}

function holdsMs(cacheControl: string | undefined): number {
  if (cacheControl === undefined) return defaultMs
  if (/\bno-(?:store|cache)\b/i.test(cacheControl)) return shortestMs
  const age = /\bmax-age="?(\d{1,10})/i.exec(cacheControl)?.[1]
  if (age === undefined) return defaultMs
  return Math.min(Math.max(Number(age) * 1000, shortestMs), longestMs)
}
