/**
 * Starts homeservers through launchers (docs/launcher.md) and stops them again. A launcher is killed as a process
 * group, so that nothing it started outlives a test.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Authority } from './certificates.ts'
import { freePorts } from './ports.ts'

const readyTimeoutMs = 90_000
const readyPollMs = 50
const stopTimeoutMs = 20_000
const logTailChars = 4_000

/** What a test needs to know of a homeserver. */
export interface Homeserver {
  /** The Matrix server name. */
  readonly name: string
  /** Base of the client-server API, without a slash at the end. */
  readonly clientUrl: string
  /** Secret of the shared-secret registration, if the server has one. */
  readonly sharedSecret?: string
}

/** How to start a server; every instance of one federation shares the authority. */
export interface LaunchOptions {
  readonly launcher: string
  /** Directory of this server's data, certificate and log; made when absent. */
  readonly dir: string
  readonly authority: Authority
  readonly authorityFile: string
  /** Host part of the server name; the port is the federation port. */
  readonly host?: string
  /** More variables of the launcher contract. */
  readonly env?: Readonly<Record<string, string>>
  /** A second process of an instance keeps the first one's name and has ports of its own. */
  readonly name?: string
  /** Ports of client and federation listener; free ones by default. */
  readonly ports?: readonly [number, number]
  /** The data directory of another process of the same instance. */
  readonly dataDir?: string
}

/** A server that was started by a launcher. */
export interface LaunchedServer extends Homeserver {
  readonly dir: string
  readonly clientPort: number
  readonly federationPort: number
  /** Process id of the launcher, also the id of its process group. */
  pid(): number
  /** Milliseconds from the start of the launcher to the first good answer. */
  startMs(): number
  /** SIGTERM, then SIGKILL when it does not end in time. */
  stop(): Promise<void>
  /** SIGKILL to the launcher and everything it started. */
  kill(): Promise<void>
  /** Starts it again on the same ports and data; the server must have ended. */
  start(): Promise<void>
  /** The end of the server's output. */
  logTail(): string
}

const running = new Set<ChildProcess>()
process.on('exit', () => {
  for (const child of running) signal(child, 'SIGKILL')
})

/** Starts a server and waits until `GET /_matrix/client/versions` answers 200. */
export async function launch(options: LaunchOptions): Promise<LaunchedServer> {
  const [clientPort, federationPort] = await choosePorts(options)
  const host = options.host ?? 'localhost'
  const name = options.name ?? `${host}:${federationPort}`
  const sharedSecret = 'conformance-shared-secret'
  const dataDir = options.dataDir ?? join(options.dir, 'data')
  mkdirSync(options.dir, { recursive: true })
  mkdirSync(dataDir, { recursive: true })
  const env = writeFiles(options, host)
  const logFile = join(options.dir, 'server.log')
  let child: ChildProcess | undefined
  let startMs = 0

  async function start(): Promise<void> {
    const log = openSync(logFile, 'a')
    const startedAt = performance.now()
    child = spawn(options.launcher, [], {
      detached: true,
      stdio: ['ignore', log, log],
      env: {
        ...process.env,
        HS_NAME: name,
        HS_BIND: '127.0.0.1',
        HS_CLIENT_PORT: String(clientPort),
        HS_FED_PORT: String(federationPort),
        HS_DIR: dataDir,
        HS_SHARED_SECRET: sharedSecret,
        ...env,
        ...options.env,
      },
    })
    closeSync(log)
    running.add(child)
    await ready(child, `http://127.0.0.1:${clientPort}/_matrix/client/versions`, logTail)
    startMs = performance.now() - startedAt
  }

  async function end(first: NodeJS.Signals): Promise<void> {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const ended = new Promise<void>((resolve) => child?.once('exit', () => resolve()))
    signal(child, first)
    await Promise.race([ended, sleep(stopTimeoutMs, undefined, { ref: false })])
    signal(child, 'SIGKILL')
    await ended
    running.delete(child)
  }

  function logTail(): string {
    return readFileSync(logFile, 'utf8').slice(-logTailChars)
  }

  await start()
  return {
    name,
    clientUrl: `http://127.0.0.1:${clientPort}`,
    sharedSecret,
    dir: options.dir,
    clientPort,
    federationPort,
    pid: () => child?.pid ?? 0,
    startMs: () => startMs,
    stop: () => end('SIGTERM'),
    kill: () => end('SIGKILL'),
    start,
    logTail,
  }
}

async function choosePorts(options: LaunchOptions): Promise<readonly [number, number]> {
  if (options.ports) return options.ports
  const [client = 0, federation = 0] = await freePorts(2)
  return [client, federation]
}

function writeFiles(options: LaunchOptions, host: string): Record<string, string> {
  const leaf = options.authority.issue([host, 'localhost', '127.0.0.1'])
  const cert = join(options.dir, 'tls.crt')
  const key = join(options.dir, 'tls.key')
  writeFileSync(cert, leaf.cert)
  writeFileSync(key, leaf.key, { mode: 0o600 })
  return { HS_TLS_CERT: cert, HS_TLS_KEY: key, HS_CA: options.authorityFile }
}

async function ready(child: ChildProcess, url: string, logTail: () => string): Promise<void> {
  const deadline = performance.now() + readyTimeoutMs
  let failure: Error | undefined
  child.once('error', (error) => {
    failure = error
  })
  while (performance.now() < deadline) {
    if (failure) throw failure
    if (child.exitCode !== null || child.signalCode !== null) {
      throw new Error(
        `the launcher ended with ${child.exitCode ?? child.signalCode}:\n${logTail()}`,
      )
    }
    const answer = await fetch(url, { signal: AbortSignal.timeout(2_000) }).catch(() => undefined)
    await answer?.arrayBuffer()
    if (answer?.status === 200) return
    await sleep(readyPollMs)
  }
  signal(child, 'SIGKILL')
  throw new Error(`the server was not ready after ${readyTimeoutMs} ms:\n${logTail()}`)
}

function signal(child: ChildProcess, name: NodeJS.Signals): void {
  if (child.pid === undefined) return
  try {
    process.kill(-child.pid, name)
  } catch {
    // The group has ended already.
  }
}
