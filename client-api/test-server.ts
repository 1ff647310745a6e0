import { createServer as createHttpServer } from 'node:http'
import Router from '@koa/router'
import { FakeClock } from '../homeserver/platform/fake-clock.ts'
import { silentLogger } from '../homeserver/platform/log.ts'
import { proxiesOf } from '../homeserver/platform/trusted-proxies.ts'
import type { Requester } from '../homeserver/rooms/rooms.ts'
import { parseDeviceId, parseUserId } from '../spec/ids.ts'
import type { Json, JsonObject } from '../spec/json.ts'
import { type AuthenticateNeeds, createAuthenticate } from './authenticate.ts'
import { createDispatch, type DispatchNeeds } from './dispatch.ts'
import type { Route } from './router.ts'
import { createServer } from './server.ts'

/** Callers of a {@link testServer}; the name of each is its access token. */
const callers = {
  alice: {
    user: parseUserId('@alice:example.org'),
    device: parseDeviceId('PHONE'),
    guest: false,
    admin: false,
  },
  guest: {
    user: parseUserId('@17:example.org'),
    device: parseDeviceId('G'),
    guest: true,
    admin: false,
  },
} satisfies Record<string, Requester>

/** An answer as a client sees it; `json` is undefined when there is no body. */
export interface Seen {
  readonly status: number
  readonly headers: Headers
  readonly json: JsonObject
}

/** For tests: the border on a loopback port, with these routes and what the test replaces. */
export async function testServer(
  routes: readonly Route[],
  replaced: Partial<DispatchNeeds> & Pick<AuthenticateNeeds, 'appservices'> = {},
) {
  const { appservices, ...others } = replaced
  const dispatch = createDispatch({
    routes,
    clock: new FakeClock(),
    log: silentLogger,
    requestIdPrefix: 'test-',
    bodyLimits: { sizeBytes: 65_536, jsonDepth: 20 },
    takeBudget: () => {},
    isTrustedProxy: proxiesOf(['127.0.0.0/8']),
    authenticate: createAuthenticate({
      tokenInQuery: true,
      ...(appservices !== undefined && { appservices }),
      sessions: {
        authenticate: async (token) =>
          Object.entries(callers).find(([name]) => name === token)?.[1],
      },
    }),
    ...others,
  })
  const server = createHttpServer(
    createServer({ dispatch, pages: async () => new Router(), log: silentLogger }),
  )
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0

  return {
    port,
    /** `path` is under /_matrix/client unless it begins with `/_`. */
    async ask(
      method: string,
      path: string,
      options: { token?: string; body?: Json } = {},
    ): Promise<Seen> {
      const { token, body } = options
      const answer = await fetch(
        `http://127.0.0.1:${port}${path.startsWith('/_') ? path : `/_matrix/client${path}`}`,
        {
          method,
          ...(token !== undefined && { headers: { authorization: `Bearer ${token}` } }),
          ...(body !== undefined && { body: JSON.stringify(body) }),
        },
      )
      const text = await answer.text()
      return { status: answer.status, headers: answer.headers, json: JSON.parse(text || '{}') }
    },
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      await new Promise<void>((resolve) => server.close(() => resolve()))
    },
  }
}
