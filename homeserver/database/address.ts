import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import type { ConnectionOptions } from 'node:tls'

/** Where a database is and who we are to it. */
export interface DatabaseAddress {
  readonly host: string
  readonly port: number
  /** Path of the Unix socket, instead of host and port. */
  readonly socketPath: string | undefined
  readonly user: string
  readonly password: string
  readonly database: string
  /** TLS options; undefined: a plain connection. */
  readonly tls: ConnectionOptions | undefined
}

/**
 * Reads `postgres://user:password@host:port/database?sslmode=…&sslrootcert=…`; a Unix socket's directory is given by
 * `?host=/directory`. Throws a plain Error that says what is wrong and never shows the password.
 */
export function parseDatabaseUrl(text: string): DatabaseAddress {
  const url = parseUrl(text)
  const directory = url.searchParams.get('host')
  const host = url.hostname.replace(/^\[|\]$/g, '') || 'localhost'
  const port = Number(url.searchParams.get('port') ?? (url.port || '5432'))
  const database = decodeURIComponent(url.pathname.slice(1))
  if (database === '') throw new Error('the database URL names no database')
  return {
    host,
    port,
    socketPath: directory?.startsWith('/') ? `${directory}/.s.PGSQL.${port}` : undefined,
    user: decodeURIComponent(url.username) || database,
    password: decodeURIComponent(url.password),
    database,
    tls: tlsOptions(url.searchParams, host),
  }
}

function parseUrl(text: string): URL {
  let url: URL
  try {
    url = new URL(text)
  } catch {
    throw new Error('the database URL must look like postgres://user:password@host:5432/database')
  }
  if (url.protocol !== 'postgres:' && url.protocol !== 'postgresql:') {
    throw new Error('the database URL must begin with postgres://')
  }
  return url
}

/** The meaning of sslmode as in libpq: `require` encrypts without checking, `verify-full` checks name and chain. */
function tlsOptions(params: URLSearchParams, host: string): ConnectionOptions | undefined {
  const mode = params.get('sslmode') ?? 'disable'
  if (mode === 'disable') return undefined
  // `host` is what the certificate is checked against; an address must not be sent as a name.
  const servername = isIP(host) ? { host } : { host, servername: host }
  if (mode === 'require') return { ...servername, rejectUnauthorized: false }
  if (mode !== 'verify-full') {
    throw new Error('sslmode must be disable, require or verify-full')
  }
  const root = params.get('sslrootcert')
  return root === null || root === 'system'
    ? { ...servername, rejectUnauthorized: true }
    : { ...servername, rejectUnauthorized: true, ca: readFileSync(root) }
}
