import Router from '@koa/router'
import type { ClientApiNeeds } from '../needs.ts'
import { originOf } from '../origin.ts'
import { mountAddress } from './address.ts'
import { mountFirstAdmin } from './first-admin.ts'

/** The few pages for people. */
export function createPages(
  needs: Pick<ClientApiNeeds, 'accounts' | 'addresses' | 'config'> & {
    readonly isTrustedProxy: (address: string) => boolean
  },
): Router {
  const { accounts, config, isTrustedProxy } = needs
  const router = new Router()
  mountFirstAdmin(router, {
    accounts,
    serverName: config.serverName,
    baseUrlOf: ({ req, res }) => config.publicBaseUrl || originOf(req, res, isTrustedProxy).baseUrl,
  })
  mountAddress(router, needs)
  return router
}
