/**
 * A small client of the client-server API: one object per signed-in device. Its methods throw an ApiError on a refusal;
 * `ask` returns the bare answer. It knows nothing of the server's code.
 */
import { randomBytes } from 'node:crypto'
import { z } from 'zod'
import { type Answer, ask, type Body, bodyOf, path, type RequestOptions, send } from './http.ts'
import type { Homeserver } from './server.ts'
import {
  type ClientEvent,
  event,
  eventIdAnswer,
  type MessagesAnswer,
  messagesAnswer,
  roomIdAnswer,
  type Session,
  type SyncAnswer,
  sessionAnswer,
  syncAnswer,
} from './shapes.ts'

const v3 = '/_matrix/client/v3'
const waitTimeoutMs = 15_000
const pollMs = 3_000

/** Parameters of `/sync`. */
export interface SyncOptions {
  readonly since?: string
  readonly filter?: string | Body
  readonly fullState?: boolean
  readonly timeoutMs?: number
  readonly presence?: 'online' | 'offline' | 'unavailable'
}

export type Client = ReturnType<typeof clientOf>

/** A password that nobody else has. */
export const password = 'a fairly long password'

/** A local part, room name or transaction id that nobody has used. */
export function unique(prefix: string): string {
  return `${prefix}-${randomBytes(5).toString('hex')}`
}

/** Registers a new user with `m.login.dummy` and returns its client. */
export async function register(
  server: Homeserver,
  name = 'user',
  more: Body = {},
): Promise<Client> {
  const body = { username: unique(name), password, ...more }
  const options = { body: { ...body, auth: { type: 'm.login.dummy' } } }
  const first = await ask(server.clientUrl, 'POST', `${v3}/register`, options)
  if (first.status !== 401) {
    return clientOf(server, sessionAnswer.parse(bodyOf('the registration', first)))
  }
  const auth = { type: 'm.login.dummy', session: first.body['session'] }
  const answer = await send(server.clientUrl, 'POST', `${v3}/register`, { body: { ...body, auth } })
  return clientOf(server, sessionAnswer.parse(answer))
}

/** Signs a user in with a password on a new device. */
export async function login(server: Homeserver, user: string, more: Body = {}): Promise<Client> {
  const identifier = { type: 'm.id.user', user }
  const body = { type: 'm.login.password', identifier, password, ...more }
  return clientOf(
    server,
    sessionAnswer.parse(await send(server.clientUrl, 'POST', `${v3}/login`, { body })),
  )
}

/** The client of an existing session. */
export function clientOf(server: Homeserver, session: Session) {
  const base = server.clientUrl
  const token = session.access_token

  const call = (method: string, where: string, options: RequestOptions = {}): Promise<Body> =>
    send(base, method, where, { token, ...options })
  const tryCall = (method: string, where: string, options: RequestOptions = {}): Promise<Answer> =>
    ask(base, method, where, { token, ...options })
  const room = (id: string, ...rest: readonly string[]) => path(`${v3}/rooms`, id, ...rest)
  const membership =
    (action: string) =>
    (id: string, user: string, more: Body = {}) =>
      call('POST', room(id, action), { body: { user_id: user, ...more } })

  async function sync(options: SyncOptions = {}): Promise<SyncAnswer> {
    const filter =
      typeof options.filter === 'object' ? JSON.stringify(options.filter) : options.filter
    const query = {
      since: options.since,
      filter,
      full_state: options.fullState,
      timeout: options.timeoutMs ?? 0,
      set_presence: options.presence ?? 'offline',
    }
    return syncAnswer.parse(await call('GET', `${v3}/sync`, { query }))
  }

  async function sendEvent(
    id: string,
    type: string,
    content: Body,
    txn = unique('t'),
  ): Promise<string> {
    const answer = await call('PUT', room(id, 'send', type, txn), { body: content })
    return eventIdAnswer.parse(answer).event_id
  }

  return {
    server,
    userId: session.user_id,
    deviceId: session.device_id,
    token,
    session,
    /** Sends an authenticated request; throws an ApiError on a refusal. */
    call,
    /** Sends an authenticated request and returns the answer, whatever its status. */
    ask: tryCall,
    /** Path of a room under `/_matrix/client/v3`. */
    room,
    sync,
    sendEvent,

    async createRoom(options: Body = {}): Promise<string> {
      return roomIdAnswer.parse(await call('POST', `${v3}/createRoom`, { body: options })).room_id
    },
    async join(idOrAlias: string, via: readonly string[] = [], body: Body = {}): Promise<string> {
      const query = { via, server_name: via }
      const answer = await call('POST', path(`${v3}/join`, idOrAlias), { body, query })
      return roomIdAnswer.parse(answer).room_id
    },
    leave: (id: string, body: Body = {}) => call('POST', room(id, 'leave'), { body }),
    forget: (id: string) => call('POST', room(id, 'forget'), { body: {} }),
    invite: membership('invite'),
    kick: membership('kick'),
    ban: membership('ban'),
    unban: membership('unban'),
    sendText: (id: string, text: string, txn?: string) =>
      sendEvent(id, 'm.room.message', { msgtype: 'm.text', body: text }, txn),
    async setState(id: string, type: string, key: string, content: Body): Promise<string> {
      const answer = await call('PUT', room(id, 'state', type, key), { body: content })
      return eventIdAnswer.parse(answer).event_id
    },
    getState: (id: string, type: string, key = '') => call('GET', room(id, 'state', type, key)),
    async allState(id: string): Promise<ClientEvent[]> {
      const { text } = await tryCall('GET', room(id, 'state'))
      return z.array(event).parse(JSON.parse(text))
    },
    async redact(id: string, target: string, reason?: string): Promise<string> {
      const body = reason === undefined ? {} : { reason }
      const answer = await call('PUT', room(id, 'redact', target, unique('t')), { body })
      return eventIdAnswer.parse(answer).event_id
    },
    async event(id: string, eventId: string): Promise<ClientEvent> {
      return event.parse(await call('GET', room(id, 'event', eventId)))
    },
    async messages(id: string, query: RequestOptions['query'] = {}): Promise<MessagesAnswer> {
      return messagesAnswer.parse(
        await call('GET', room(id, 'messages'), { query: { dir: 'b', ...query } }),
      )
    },
    /** Stores a filter and returns its id. */
    async filter(definition: Body): Promise<string> {
      const where = path(`${v3}/user`, session.user_id, 'filter')
      const answer = await call('POST', where, { body: definition })
      return z.object({ filter_id: z.string() }).parse(answer).filter_id
    },
    /** Path of the user's account data, global or of a room. */
    dataPath: (type: string, roomId?: string) =>
      roomId === undefined
        ? path(`${v3}/user`, session.user_id, 'account_data', type)
        : path(`${v3}/user`, session.user_id, 'rooms', roomId, 'account_data', type),

    /**
     * Syncs until the predicate holds for an answer, and returns that answer. Without `since` it begins with an
     * initial sync; the deadline is 15 s.
     */
    async syncUntil(
      predicate: (answer: SyncAnswer) => boolean,
      options: SyncOptions = {},
    ): Promise<SyncAnswer> {
      const deadline = performance.now() + waitTimeoutMs
      let since = options.since
      let last: SyncAnswer | undefined
      while (performance.now() < deadline) {
        const timeoutMs = since === undefined ? 0 : pollMs
        last = await sync({ timeoutMs, ...options, ...(since === undefined ? {} : { since }) })
        if (predicate(last)) return last
        since = last.next_batch
      }
      throw new Error(`no sync of ${session.user_id} showed it; the last: ${JSON.stringify(last)}`)
    },
  }
}

/** Has this sync answer an event of the joined room's timeline that satisfies the test. */
export function inTimeline(roomId: string, test: (event: ClientEvent) => boolean) {
  return (answer: SyncAnswer) => answer.rooms.join[roomId]?.timeline.events.some(test) ?? false
}

/** Is the user's own membership of the room this one, by the section the room stands in. */
export function inSection(section: 'join' | 'invite' | 'leave' | 'knock', roomId: string) {
  return (answer: SyncAnswer) => answer.rooms[section][roomId] !== undefined
}

/** Repeats a question until its answer satisfies the test; the deadline is 15 s. */
export async function eventually<T>(
  question: () => Promise<T>,
  test: (answer: T) => boolean,
): Promise<T> {
  const deadline = performance.now() + waitTimeoutMs
  for (;;) {
    const answer = await question().catch((error: unknown) => {
      if (performance.now() > deadline) throw error
      return undefined
    })
    if (answer !== undefined && test(answer)) return answer
    if (performance.now() > deadline) throw new Error(`it never came: ${JSON.stringify(answer)}`)
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}
