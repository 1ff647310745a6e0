import type { RequestListener } from 'node:http'
import type Router from '@koa/router'
import Koa from 'koa'
import type { Logger } from '../homeserver/platform/log.ts'
import type { Dispatch } from './dispatch.ts'
import { errorAnswer, unrecognized } from './errors.ts'
import { send } from './send.ts'

/**
 * The application: the API first, then the pages, then M_UNRECOGNIZED. The API writes its answers itself, since koa's
 * own way of answering costs half as much again per request.
 */
export function createServer(needs: {
  readonly dispatch: Dispatch
  readonly pages: Router
  readonly log: Logger
}): RequestListener {
  const app = new Koa()
  app.on('error', (error) => needs.log.error({ error }, 'page failed'))
  app.use(async (ctx, next) => {
    if (await needs.dispatch(ctx.req, ctx.res)) ctx.respond = false
    else await next()
  })
  app.use(needs.pages.routes())
  app.use(async (ctx) => {
    ctx.respond = false
    await send(ctx.res, errorAnswer(unrecognized(), needs.log, ''))
  })
  const listener = app.callback()
  return (req, res) => void listener(req, res)
}
