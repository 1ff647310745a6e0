/**
 * From a server name to the address, the port, the Host header and the name in the certificate.
 * {@link https://spec.matrix.org/v1.19/server-server-api/#resolving-server-names}
 */
import { isIP } from 'node:net'
import { LRUCache } from 'lru-cache'
import { atMost } from '../homeserver/platform/cache.ts'
import type { Clock } from '../homeserver/platform/clock.ts'
import type { ConnectTarget } from '../homeserver/platform/guarded-dispatcher.ts'
import type { ServerName } from '../spec/ids.ts'
import { createDelegations, type FetchWellKnown } from './well-known.ts'

/** Where requests to a server go. */
export interface Route {
  /** `https://host:port`; the certificate must be valid for `host`. */
  readonly origin: string
  /** The Host header. */
  readonly host: string
}

export interface SrvRecord {
  readonly name: string
  readonly port: number
  readonly priority: number
  readonly weight: number
}

export interface Needs {
  readonly clock: Clock
  readonly fetchWellKnown: FetchWellKnown
  /** SRV records of a name; rejects or answers none when there are none. */
  readonly resolveSrv: (name: string) => Promise<readonly SrvRecord[]>
  /** Tells the dispatcher that `host:port` is served elsewhere. */
  readonly redirect: (origin: string, to: ConnectTarget | undefined) => void
}

export interface Discovery {
  route(server: ServerName): Promise<Route>
  /** The route did not work: look again (not before the caches' shortest time), try another SRV target. */
  failed(server: ServerName): void
}

const defaultPort = 8448
/** Most servers remembered. */
const serversMax = 10_000
const routeMs = 5 * 60_000
/** A failed route may be looked up again after this. */
const routeFailedMs = 10_000

interface KnownRoute {
  readonly route: Promise<Route>
  readonly since: number
  until: number
}

export function createDiscovery(needs: Needs): Discovery {
  const { clock, redirect } = needs
  const delegationOf = createDelegations(needs)
  const routes = new LRUCache<ServerName, KnownRoute>({ ...atMost(serversMax) })
  /** How often a server's route failed: turns through its SRV targets. */
  const failures = new LRUCache<ServerName, number>({ ...atMost(serversMax) })

  async function find(server: ServerName): Promise<Route> {
    const { host, port } = splitServerName(server)
    // 1 and 2: an IP literal, or an explicit port.
    if (isLiteral(host) || port !== undefined) return direct(server, host, port)
    // 3: delegation by well-known.
    const delegated = await delegationOf(server)
    if (delegated === undefined) return bySrv(server, server)
    const to = splitServerName(delegated)
    if (isLiteral(to.host) || to.port !== undefined) return direct(delegated, to.host, to.port)
    return bySrv(delegated, server)
  }

  function direct(name: ServerName, host: string, port = defaultPort): Route {
    redirect(`${host}:${port}`, undefined)
    return { origin: `https://${host}:${port}`, host: name }
  }

  /** 3.3 to 3.5 and 4 to 6: SRV records of the host, else port 8448 of the host itself. */
  async function bySrv(name: ServerName, server: ServerName): Promise<Route> {
    const records = await srvRecords(name)
    const record = records[(failures.get(server) ?? 0) % Math.max(records.length, 1)]
    if (record === undefined) return direct(name, name)
    redirect(`${name}:${record.port}`, { host: record.name, port: record.port })
    return { origin: `https://${name}:${record.port}`, host: name }
  }

  async function srvRecords(host: string): Promise<readonly SrvRecord[]> {
    for (const service of ['_matrix-fed._tcp', '_matrix._tcp']) {
      const records = await needs.resolveSrv(`${service}.${host}`).catch(() => [])
      const usable = records.filter(({ name }) => name !== '' && name !== '.')
      if (usable.length > 0) return usable.toSorted(byPriority)
    }
    return []
  }

  return {
    route(server) {
      const known = routes.get(server)
      if (known && known.until > clock.now()) return known.route
      const route = find(server)
      const entry = { route, since: clock.now(), until: clock.now() + routeMs }
      routes.set(server, entry)
      return route
    },
    failed(server) {
      const known = routes.get(server)
      if (!known || known.until <= clock.now()) return
      failures.set(server, (failures.get(server) ?? 0) + 1)
      known.until = Math.min(known.until, known.since + routeFailedMs)
    },
  }
}

/** The parts of a server name; brackets stay around an IPv6 address. */
export function splitServerName(server: string): { host: string; port?: number } {
  const [, host = server, port] = /^(\[[^\]]*\]|[^:]*)(?::(\d+))?$/.exec(server) ?? []
  return port === undefined ? { host } : { host, port: Number(port) }
}

function isLiteral(host: string): boolean {
  return isIP(host.replace(/^\[|\]$/g, '')) !== 0
}

function byPriority(a: SrvRecord, b: SrvRecord): number {
  return a.priority - b.priority || b.weight - a.weight
}
