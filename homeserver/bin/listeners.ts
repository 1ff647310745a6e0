import { readFileSync } from 'node:fs'
import http, { type RequestListener } from 'node:http'
import https from 'node:https'
import type { AddressInfo } from 'node:net'
import type { Config } from '../config.ts'

/** An open port with its requests. */
export interface Listener {
  /** `http://127.0.0.1:8008` */
  readonly url: string
  /**
   * Takes no more connections and ends idle ones; resolves when all requests are answered, or at the deadline, when
   * the rest are cut off.
   */
  close(deadlineMs: number): Promise<void>
}

const headersMs = 10_000
const requestMs = 120_000
/** A client may be slow to upload a file; its JSON is held to less where it is read. */
const uploadMs = 900_000
const keepAliveMs = 75_000
const headersMax = 100
const connectionsMax = 20_000

/** The plain-HTTP listener for clients. */
export function listenForClients(config: Config, handler: RequestListener): Promise<Listener> {
  return listen(http.createServer(handler), config.clientHost, config.clientPort, 'http', uploadMs)
}

/** The TLS listener for other servers; undefined when there is no certificate. */
export async function listenForServers(
  config: Config,
  handler: RequestListener,
): Promise<Listener | undefined> {
  if (config.tlsCertFile === '') return undefined
  const server = https.createServer(
    {
      cert: readFileSync(config.tlsCertFile),
      key: readFileSync(config.tlsKeyFile || config.tlsCertFile),
      minVersion: 'TLSv1.2',
    },
    handler,
  )
  return await listen(server, config.federationHost, config.federationPort, 'https')
}

/** The listener for /metrics; undefined when it is not wanted. */
export async function listenForMetrics(
  config: Config,
  handler: RequestListener,
): Promise<Listener | undefined> {
  if (config.metricsPort === 0) return undefined
  return await listen(http.createServer(handler), config.metricsHost, config.metricsPort, 'http')
}

async function listen(
  server: http.Server | https.Server,
  host: string,
  port: number,
  scheme: 'http' | 'https',
  wholeMs = requestMs,
): Promise<Listener> {
  server.headersTimeout = headersMs
  server.requestTimeout = wholeMs
  server.keepAliveTimeout = keepAliveMs
  server.maxHeadersCount = headersMax
  server.maxConnections = connectionsMax
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => reject(explain(error, host, port)))
    server.listen(port, host, () => resolve())
  })
  return {
    url: urlOf(scheme, server.address(), host, port),
    close: (deadlineMs) => close(server, deadlineMs),
  }
}

function explain(error: Error, host: string, port: number): Error {
  const code = 'code' in error ? error.code : undefined
  if (code === 'EADDRINUSE') {
    return new Error(`port ${port} of ${host} is in use by another program`, { cause: error })
  }
  if (code === 'EACCES') {
    return new Error(`this user may not listen on port ${port} of ${host}`, { cause: error })
  }
  return new Error(`cannot listen on port ${port} of ${host}: ${error.message}`, { cause: error })
}

function urlOf(scheme: string, address: string | AddressInfo | null, host: string, port: number) {
  const actual = typeof address === 'object' && address !== null ? address.port : port
  const shown = host.includes(':') ? `[${host}]` : host
  return `${scheme}://${shown}:${actual}`
}

async function close(server: http.Server | https.Server, deadlineMs: number): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()))
  server.closeIdleConnections()
  // A connection whose request was under way becomes idle when that is answered.
  const sweep = setInterval(() => server.closeIdleConnections(), 50)
  const deadline = setTimeout(() => server.closeAllConnections(), deadlineMs)
  await closed
  clearInterval(sweep)
  clearTimeout(deadline)
}
