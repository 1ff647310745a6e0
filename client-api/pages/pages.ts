import Router from '@koa/router'
import type { ClientApiNeeds } from '../needs.ts'

/** The few pages for people. */
export function createPages(_needs: Pick<ClientApiNeeds, 'accounts' | 'config'>): Router {
  return new Router()
}
