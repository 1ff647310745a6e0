/** A cheap HTTP client for the load: one keep-alive pool for a server, JSON in and out. */
import { Pool } from 'undici'
import { z } from 'zod'
import { password, unique } from '../harness/client.ts'
import { type Body, isBody, path } from '../harness/http.ts'

const connections = 80
const timeoutMs = 60_000
const v3 = '/_matrix/client/v3'
const eventId = z.object({ event_id: z.string() })

export interface LoadUser {
  readonly userId: string
  readonly token: string
}

export type LoadClient = ReturnType<typeof createLoadClient>

/** Opens the pool; every answer that is not 200 is an error. */
export function createLoadClient(base: string) {
  const pool = new Pool(base, { connections, headersTimeout: timeoutMs, bodyTimeout: timeoutMs })

  async function request(
    method: 'GET' | 'PUT' | 'POST',
    where: string,
    token?: string,
    body?: Body,
  ): Promise<Body> {
    const answer = await pool.request({
      method,
      path: where,
      headers: {
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      body: body === undefined ? null : JSON.stringify(body),
    })
    const parsed: unknown = await answer.body.json()
    if (answer.statusCode !== 200 || !isBody(parsed)) {
      throw new Error(`${method} ${where}: ${answer.statusCode} ${JSON.stringify(parsed)}`)
    }
    return parsed
  }

  const room = (id: string, ...rest: string[]) => path(`${v3}/rooms`, id, ...rest)

  return {
    request,
    async register(name: string): Promise<LoadUser> {
      const answer = await request('POST', `${v3}/register`, undefined, {
        username: unique(name),
        password,
        auth: { type: 'm.login.dummy' },
      })
      return { userId: String(answer['user_id']), token: String(answer['access_token']) }
    },
    async createRoom(user: LoadUser, more: Body = {}): Promise<string> {
      const answer = await request('POST', `${v3}/createRoom`, user.token, {
        preset: 'public_chat',
        room_version: '11',
        ...more,
      })
      return String(answer['room_id'])
    },
    join: (user: LoadUser, id: string, via?: string) =>
      request(
        'POST',
        path(`${v3}/join`, id) + (via ? `?via=${via}&server_name=${via}` : ''),
        user.token,
        {},
      ),
    async send(user: LoadUser, id: string, text: string): Promise<string> {
      const where = room(id, 'send', 'm.room.message', unique('t'))
      const answer = await request('PUT', where, user.token, { msgtype: 'm.text', body: text })
      return eventId.parse(answer).event_id
    },
    sync: (user: LoadUser, since?: string, timeout = 0) =>
      request(
        'GET',
        `${v3}/sync?timeout=${timeout}${since ? `&since=${since}` : ''}&set_presence=offline`,
        user.token,
      ),
    /** All event ids of a room's history, by paging. */
    async history(user: LoadUser, id: string): Promise<Set<string>> {
      const ids = new Set<string>()
      let from = ''
      for (;;) {
        const answer = await request(
          'GET',
          `${room(id, 'messages')}?dir=b&limit=1000${from}`,
          user.token,
        )
        const chunk: unknown[] = Array.isArray(answer['chunk']) ? answer['chunk'] : []
        for (const event of chunk) ids.add(String(Object(event).event_id))
        if (typeof answer['end'] !== 'string' || chunk.length === 0) return ids
        from = `&from=${encodeURIComponent(answer['end'])}`
      }
    },
    close: () => pool.close(),
  }
}
