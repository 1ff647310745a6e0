import net from 'node:net'
import tls from 'node:tls'
import postgres from 'postgres'
import type { DatabaseAddress } from './address.ts'
import { DatabaseError } from './database-error.ts'
import { wireTypes } from './wire-types.ts'

/**
 * One connection to Postgres that lives once. The driver is given a socket of ours and can never open a second one,
 * so no statement can run on a reconnected session; nothing is handed to the driver after the first sign of death,
 * so it never writes to a socket that is gone; and destroying the socket ends whatever waits for a silent server.
 */
export interface Connection {
  /** Process id of the server's side, for tests and messages. */
  readonly backend: number
  /** False from the first sign of death on. */
  readonly alive: boolean
  /** When the statement in flight was sent; undefined while there is none. */
  readonly waitingSince: number | undefined
  /** Runs one statement; one at a time, the caller's duty. Rejects with DatabaseError only. */
  run<T extends object>(text: string, values: readonly unknown[], deadlineMs: number): Promise<T[]>
  /** Runs several statements without parameters, separated by semicolons. */
  script(text: string, deadlineMs: number): Promise<void>
  /** Drops the connection at once; what is in flight rejects with `reason`. */
  destroy(reason: DatabaseError): void
  /** Says goodbye to the server, then drops the connection. */
  close(): Promise<void>
}

/** What a connection is opened with. */
export interface ConnectionSettings {
  readonly address: DatabaseAddress
  readonly connectMs: number
  /** Shown in pg_stat_activity. */
  readonly applicationName: string
  /** The server cancels a statement after this long; 0 for never. */
  readonly statementMs: number
  /** The server ends a session that idles in a transaction for this long; 0 for never. */
  readonly idleInTransactionMs: number
  readonly onNotify?: (channel: string, payload: string) => void
  /** Called once, when the connection is found dead. */
  readonly onDeath?: () => void
}

const goodbyeMs = 1_000
/** Texts beyond this many are not kept as prepared statements. */
const preparedMax = 2_000

/** Opens a connection. Rejects with `unavailable` when there is none in `connectMs`. */
export async function openConnection(settings: ConnectionSettings): Promise<Connection> {
  const deadline = Date.now() + settings.connectMs
  let socket: net.Socket
  try {
    socket = await connectSocket(settings.address, settings.connectMs)
  } catch (error) {
    throw unavailable(error)
  }
  const connection = new OneLife(socket, settings)
  try {
    await connection.hello(Math.max(1, deadline - Date.now()))
    return connection
  } catch (error) {
    connection.destroy(new DatabaseError('closed', 'the connection could not be set up'))
    throw unavailable(error)
  }
}

function unavailable(error: unknown): DatabaseError {
  const refusal = error instanceof DatabaseError && error.code !== undefined
  const message = `no connection to the database: ${error instanceof Error ? error.message : error}`
  return new DatabaseError(
    'unavailable',
    message,
    refusal ? { code: error.code ?? '', cause: error } : { cause: error },
  )
}

class OneLife implements Connection {
  backend = 0
  waitingSince: number | undefined
  readonly #sql: postgres.Sql
  readonly #socket: net.Socket
  readonly #prepared = new Set<string>()
  readonly #onDeath: (() => void) | undefined
  #death: DatabaseError | undefined
  #failCurrent: ((error: DatabaseError) => void) | undefined
  #open = false

  constructor(socket: net.Socket, settings: ConnectionSettings) {
    this.#socket = socket
    this.#onDeath = settings.onDeath
    // Before the driver's own listeners: death must be known here first.
    socket.once('error', (error) => this.#die(lost(error)))
    socket.once('end', () => this.#die(lost()))
    socket.once('close', () => this.#die(lost()))
    this.#sql = createDriver(socket, settings)
  }

  get alive(): boolean {
    return this.#death === undefined
  }

  async hello(deadlineMs: number): Promise<void> {
    const text = 'select pg_backend_pid() as pid'
    const rows = await this.run<{ pid: number }>(text, [], deadlineMs)
    this.backend = rows[0]?.pid ?? 0
    this.#open = true
  }

  async run<T extends object>(
    text: string,
    values: readonly unknown[],
    deadlineMs: number,
  ): Promise<T[]> {
    return await this.#guard(deadlineMs, () => {
      const parameters = values.map((value) => toParameter(this.#sql, value))
      const prepare = this.#prepared.has(text) || this.#prepared.size < preparedMax
      if (prepare) this.#prepared.add(text)
      // `simple` is missing from the driver's types: false also without parameters keeps to one statement.
      const options = { prepare, simple: false }
      return this.#sql.unsafe<T[]>(text, parameters, options)
    })
  }

  async script(text: string, deadlineMs: number): Promise<void> {
    await this.#guard(deadlineMs, () => this.#sql.unsafe(text))
  }

  destroy(reason: DatabaseError): void {
    this.#die(reason)
  }

  async close(): Promise<void> {
    if (this.#death !== undefined) return
    const closed = new Promise((resolve) => this.#socket.once('close', resolve))
    const timer = setTimeout(() => this.#socket.destroy(), goodbyeMs)
    this.#death = new DatabaseError('closed', 'the connection was closed')
    void this.#sql.end().catch(() => {})
    await closed
    clearTimeout(timer)
  }

  /** Settles with the query, the deadline or the connection's death, whichever is first. */
  #guard<T extends object>(deadlineMs: number, start: () => PromiseLike<T[]>): Promise<T[]> {
    return new Promise((resolve, reject) => {
      if (this.#death !== undefined) {
        reject(new DatabaseError('connection_lost', 'the connection is gone', { outcome: 'none' }))
        return
      }
      this.waitingSince = Date.now()
      const timer = setTimeout(() => {
        this.#die(
          new DatabaseError('deadline', `no answer within ${deadlineMs} ms`, {
            outcome: 'unknown',
          }),
        )
      }, deadlineMs)
      const settle = () => {
        clearTimeout(timer)
        this.waitingSince = undefined
        this.#failCurrent = undefined
      }
      this.#failCurrent = (error) => {
        settle()
        reject(error)
      }
      const onError = (error: unknown) => {
        settle()
        reject(this.#death ?? translate(error))
      }
      try {
        start().then((rows) => {
          settle()
          resolve(rows)
        }, onError)
      } catch (error) {
        onError(error)
      }
    })
  }

  #die(reason: DatabaseError): void {
    if (this.#death !== undefined) return
    this.#death = reason
    this.#socket.destroy()
    this.#failCurrent?.(reason)
    // A connection that never opened is the business of who opens it.
    if (this.#open) this.#onDeath?.()
  }
}

function createDriver(socket: net.Socket, settings: ConnectionSettings): postgres.Sql {
  let given = false
  const { address, onNotify } = settings
  // A variable and not a literal: the driver's types know neither `socket` nor `onnotify`.
  const options = {
    host: address.host,
    port: address.port,
    user: address.user,
    pass: address.password,
    database: address.database,
    ssl: false,
    max: 1,
    // The driver's own timers and look-ups are off: a connection's life is ours to end.
    connect_timeout: 0,
    idle_timeout: 0,
    max_lifetime: null,
    fetch_types: false,
    types: wireTypes,
    onnotice: () => {},
    ...(onNotify === undefined ? {} : { onnotify: onNotify }),
    connection: {
      application_name: settings.applicationName,
      statement_timeout: settings.statementMs,
      idle_in_transaction_session_timeout: settings.idleInTransactionMs,
    },
    socket: () => {
      if (given) throw new Error('a connection lives once')
      given = true
      return socket
    },
  }
  return postgres(options)
}

/** Values go without a type: the server says which one it wants, and the driver or `wireTypes` writes it so. */
function toParameter(sql: postgres.Sql, value: unknown): postgres.Parameter<unknown> {
  if (value === undefined) throw new TypeError('undefined as a statement parameter')
  return sql.typed(value, 0)
}

function lost(cause?: unknown): DatabaseError {
  return new DatabaseError('connection_lost', 'the connection to the database was lost', { cause })
}

/** From the driver's errors to ours; the server's `detail` is left out because it carries values. */
function translate(error: unknown): DatabaseError {
  if (error instanceof DatabaseError) return error
  if (error instanceof postgres.PostgresError) {
    const kind = error.code === '57014' ? 'deadline' : 'refused'
    return new DatabaseError(kind, error.message, {
      code: error.code,
      constraint: error.constraint_name,
    })
  }
  if (error instanceof Error && /^CONNECTION_/.test('code' in error ? String(error.code) : '')) {
    return lost(error)
  }
  // A parameter that cannot be written: nothing was sent.
  const message = error instanceof Error ? error.message : String(error)
  return new DatabaseError('refused', message, { cause: error })
}

async function connectSocket(address: DatabaseAddress, connectMs: number): Promise<net.Socket> {
  const where =
    address.socketPath === undefined
      ? { host: address.host, port: address.port }
      : { path: address.socketPath }
  const socket = net.connect(where)
  const timer = setTimeout(
    () => socket.destroy(new Error(`no answer within ${connectMs} ms`)),
    connectMs,
  )
  try {
    await once(socket, 'connect')
    socket.setNoDelay(true)
    return address.tls === undefined ? socket : await secure(socket, address.tls)
  } finally {
    clearTimeout(timer)
  }
}

/** Asks the server for TLS (SSLRequest, {@link https://www.postgresql.org/docs/current/protocol-flow.html}). */
async function secure(socket: net.Socket, options: tls.ConnectionOptions): Promise<net.Socket> {
  socket.write(Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]))
  const answer = await once(socket, 'data')
  if (!Buffer.isBuffer(answer) || answer.toString() !== 'S') {
    socket.destroy()
    throw new Error('the server does not offer TLS')
  }
  const encrypted = tls.connect({ ...options, socket })
  await once(encrypted, 'secureConnect')
  return encrypted
}

function once(socket: net.Socket, event: string): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const fail = (error?: Error) => reject(error ?? new Error('the server closed the connection'))
    socket.once('error', fail)
    socket.once('close', fail)
    socket.once(event, (value: unknown) => {
      socket.removeListener('error', fail)
      socket.removeListener('close', fail)
      resolve(value)
    })
  })
}
