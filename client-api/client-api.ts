import { setMaxListeners } from 'node:events'
import type { RequestListener } from 'node:http'
import { proxiesOf } from '../homeserver/platform/trusted-proxies.ts'
import { createAuthenticate } from './authenticate.ts'
import { createDispatch } from './dispatch.ts'
import { given } from './given.ts'
import { createInteractive } from './interactive-auth.ts'
import type { ClientApiNeeds } from './needs.ts'
import { createRateLimiter } from './rate-limit.ts'
import { createRoutes } from './routes/index.ts'
import { createServer } from './server.ts'

/** Room for the ids of a process's requests beside those of the others. */
const requestIdPrefixLength = 6

/** The client-server border, ready to be mounted on a listener. */
export function createClientApi(needs: ClientApiNeeds): { callback(): RequestListener } {
  const { config, clock, log, random, accounts, sessions } = needs
  // Every request that waits listens to it.
  if (needs.stopping !== undefined) setMaxListeners(0, needs.stopping)
  const takeBudget = config.rateLimits ? createRateLimiter({ clock }) : () => {}
  const isTrustedProxy = proxiesOf(config.trustedProxies)
  const interactive = createInteractive({
    sessions: needs.interactiveAuth,
    accounts,
    addresses: needs.addresses,
    takeBudget,
    serverName: config.serverName,
    registrationTokens: config.registrationTokens ?? [],
  })
  const dispatch = createDispatch({
    routes: createRoutes({ ...needs, interactive, takeBudget }),
    authenticate: createAuthenticate({ ...needs, tokenInQuery: true }),
    takeBudget,
    noteSeen: sessions.seen,
    bodyLimits: { sizeBytes: config.bodySizeBytes, jsonDepth: config.jsonDepth },
    log,
    clock,
    requestIdPrefix: `${random.text(requestIdPrefixLength)}-`,
    isTrustedProxy,
    ...given({ stopping: needs.stopping }),
    isLimited: ({ user, appservice }) => {
      const service = appservice === undefined ? undefined : needs.appservices?.byId(appservice)
      return service === undefined || (service.rateLimited && user !== service.sender)
    },
  })
  const pages = async () => {
    const { createPages } = await import('./pages/pages.ts')
    return createPages({ ...needs, isTrustedProxy })
  }
  const listener = createServer({ dispatch, pages, log })
  return { callback: () => listener }
}
