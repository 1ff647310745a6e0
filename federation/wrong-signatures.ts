/** How many requests with a wrong signature are looked at, by where they come from and in whose name. */
import type http from 'node:http'
import type { Clock } from '../homeserver/platform/clock.ts'
import { senderAddress } from '../homeserver/platform/trusted-proxies.ts'
import type { ServerName } from '../spec/ids.ts'
import { createBudget } from './budget.ts'

export interface WrongSignatures {
  /** @throws MatrixError M_LIMIT_EXCEEDED when there were too many */
  require(req: http.IncomingMessage, origin: ServerName): void
  count(req: http.IncomingMessage, origin: ServerName): void
}

/** From one address in one server's name, and from one address altogether. */
export const perName = { burst: 50, perSecond: 1 }
const perAddress = { burst: 1_000, perSecond: 20 }

/**
 * Nobody can use up what a server is allowed but from that server's address: the name in a request is only a claim.
 * Where a proxy does not say from whom a request is, nothing is counted.
 */
export function createWrongSignatures(needs: {
  readonly clock: Clock
  readonly isTrustedProxy: (address: string) => boolean
}): WrongSignatures {
  const byName = createBudget(perName, needs.clock)
  const byAddress = createBudget(perAddress, needs.clock)
  return {
    require(req, origin) {
      const address = senderAddress(req, needs.isTrustedProxy)
      if (address === undefined) return
      byAddress.require(address)
      byName.require(`${address} ${origin}`)
    },
    count(req, origin) {
      const address = senderAddress(req, needs.isTrustedProxy)
      if (address === undefined) return
      byAddress.spend(address)
      byName.spend(`${address} ${origin}`)
    },
  }
}
