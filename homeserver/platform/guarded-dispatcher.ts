/**
 * The only way out to an address that someone else chose (server names, push gateways, previews). Resolves the name
 * itself, refuses every address that is not public unless the operator allows its network, and connects to exactly the
 * address it has checked.
 */
import { type LookupAddress, type LookupAllOptions, lookup as lookupName } from 'node:dns'
import { isIP, type LookupFunction } from 'node:net'
import { createSecureContext, rootCertificates } from 'node:tls'
import ipaddr from 'ipaddr.js'
import { Agent, buildConnector } from 'undici'

export interface GuardOptions {
  /** Networks in CIDR form that are allowed though they are not public; default none. */
  readonly allowedNetworks: readonly string[]
  /** Only the allowed networks may be reached: for what must not go over the internet. */
  readonly refusesPublic?: boolean
  /** Certificates (PEM) of authorities to trust beside those that Node trusts. */
  readonly authorities?: readonly string[]
  /** Resolves names; as Node does unless a test says otherwise. */
  readonly lookup?: Lookup
}

/** All addresses of a name. */
export type Lookup = (
  hostname: string,
  options: LookupAllOptions,
  callback: (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void,
) => void

/** Where a TLS connection really goes, when that is not the host of its URL (SRV records). */
export interface ConnectTarget {
  readonly host: string
  readonly port: number
}

/** An address that nobody may be sent to. */
export class ForbiddenAddressError extends Error {
  override readonly name = 'ForbiddenAddressError'
  readonly code = 'FORBIDDEN_ADDRESS'
}

export interface GuardedDispatcher extends AsyncDisposable {
  readonly agent: Agent
  /** Connections to this origin (`host:port` of the URL) go to `to`; the name in the certificate stays `host`. */
  redirect(origin: string, to: ConnectTarget | undefined): void
}

/** Most time for resolving, connecting and TLS together. */
const connectTimeoutMs = 10_000
/** Connections to one origin at a time; a request more waits. */
const connectionsPerOrigin = 8
/** An idle connection is closed after this; common servers keep theirs for 60 s. */
const keepAliveMs = 55_000
/** Largest answer that any caller may take; callers set their own, lower bounds. */
const replyBytesMax = 256 * 1024 * 1024
/** Most origins with a connection of their own. */
const redirectsMax = 10_000

/** Makes the dispatcher; dispose it to close its connections. */
export function createGuardedDispatcher(options: GuardOptions): GuardedDispatcher {
  const isAllowed = addressCheck(options.allowedNetworks, options.refusesPublic)
  const redirects = new Map<string, ConnectTarget>()
  const connect = buildConnector({
    timeout: connectTimeoutMs,
    lookup: guardedLookup(isAllowed, options.lookup ?? lookupName),
    // One context for all connections: parsing the authorities costs more than a handshake.
    ...(options.authorities && {
      secureContext: createSecureContext({ ca: [...rootCertificates, ...options.authorities] }),
    }),
  })
  const agent = new Agent({
    connections: connectionsPerOrigin,
    keepAliveTimeout: keepAliveMs,
    keepAliveMaxTimeout: keepAliveMs,
    maxResponseSize: replyBytesMax,
    connect: (target, callback) => {
      const to = redirects.get(`${target.hostname}:${target.port}`)
      const hostname = to?.host ?? target.hostname
      // The lookup function is not asked about literal addresses.
      const literal = hostname.replace(/^\[|\]$/g, '')
      if (isIP(literal) !== 0 && !isAllowed(literal)) {
        callback(
          new ForbiddenAddressError(`${literal} is not an address that may be reached`),
          null,
        )
        return
      }
      connect({ ...target, hostname: literal, port: String(to?.port ?? target.port) }, callback)
    },
  })
  return {
    agent,
    redirect(origin, to) {
      redirects.delete(origin)
      if (to !== undefined) redirects.set(origin, to)
      if (redirects.size > redirectsMax) {
        const oldest = redirects.keys().next().value
        if (oldest !== undefined) redirects.delete(oldest)
      }
    },
    async [Symbol.asyncDispose]() {
      await agent.destroy()
    },
  }
}

/**
 * May a connection go to this address: public ones, and those in `allowedNetworks`. An IPv4 address mapped into
 * IPv6 is judged as what it is; those of translators and tunnels (NAT64, 6to4, Teredo) are refused.
 */
export function addressCheck(
  allowedNetworks: readonly string[],
  refusesPublic = false,
): (address: string) => boolean {
  const allowed = allowedNetworks.map((network) => ipaddr.parseCIDR(network))
  return (address) => {
    if (!ipaddr.isValid(address)) return false
    const parsed = ipaddr.process(address)
    const inside = allowed.some(
      ([network, bits]) =>
        network.kind() === parsed.kind() &&
        (network instanceof ipaddr.IPv4
          ? parsed instanceof ipaddr.IPv4 && parsed.match(network, bits)
          : parsed instanceof ipaddr.IPv6 && parsed.match(network, bits)),
    )
    return inside || (!refusesPublic && parsed.range() === 'unicast' && isAssigned(parsed))
  }
}

/** Of IPv6 only 2000::/3 is given out; the rest holds old forms of private addresses, such as ::127.0.0.1. */
function isAssigned(address: ipaddr.IPv4 | ipaddr.IPv6): boolean {
  return address instanceof ipaddr.IPv4 || address.match(globalUnicast)
}

const globalUnicast = ipaddr.IPv6.parseCIDR('2000::/3')

/** Resolves like Node does, and leaves out what may not be connected to. */
function guardedLookup(isAllowed: (address: string) => boolean, lookup: Lookup): LookupFunction {
  return (hostname, options, callback) => {
    lookup(hostname, { ...options, all: true }, (error, addresses) => {
      if (error) return callback(error, '')
      const usable = addresses.filter(({ address }) => isAllowed(address))
      const [first] = usable
      if (first === undefined) {
        callback(new ForbiddenAddressError(`${hostname} has no address that may be reached`), '')
      } else if (options.all) callback(null, usable)
      else callback(null, first.address, first.family)
    })
  }
}
