import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import type Router from '@koa/router'
import Koa from 'koa'
import type { Logger } from '../homeserver/platform/log.ts'
import type { Dispatch } from './dispatch.ts'
import { errorAnswer, unrecognized } from './errors.ts'
import { send } from './send.ts'

/**
 * The API first, without koa, which would cost it a quarter more per request; what is not the API goes to koa: the
 * pages, and M_UNRECOGNIZED for the rest.
 */
export function createServer(needs: {
  readonly dispatch: Dispatch
  readonly pages: Router
  readonly log: Logger
}): RequestListener {
  const { dispatch, pages, log } = needs
  const app = new Koa()
  app.on('error', (error) => log.error({ error }, 'page failed'))
  app.use(pages.routes())
  app.use(async (ctx) => {
    ctx.respond = false
    await send(ctx.res, errorAnswer(unrecognized(), log, ''))
  })
  const rest = app.callback()

  async function serve(req: IncomingMessage, res: ServerResponse): Promise<void> {
    if (!(await dispatch(req, res))) await rest(req, res)
  }
  return (req, res) => void serve(req, res)
}
