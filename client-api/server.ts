import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import type Router from '@koa/router'
import type { Logger } from '../homeserver/platform/log.ts'
import type { Dispatch } from './dispatch.ts'
import { errorAnswer, unrecognized } from './errors.ts'
import { send } from './send.ts'

/**
 * The API first, without koa, which would cost it a quarter more per request; what is not the API goes to koa: the
 * pages, and M_UNRECOGNIZED for the rest. Koa and the pages are loaded when somebody first asks for such a thing:
 * they would be a sixth of the time of a start.
 */
export function createServer(needs: {
  readonly dispatch: Dispatch
  readonly pages: () => Promise<Router>
  readonly log: Logger
}): RequestListener {
  const { dispatch, pages, log } = needs
  let rest: Promise<RequestListener> | undefined

  async function serve(req: IncomingMessage, res: ServerResponse): Promise<void> {
    if (await dispatch(req, res)) return
    rest ??= withKoa(pages, log)
    const listener = await rest
    await listener(req, res)
  }
  return (req, res) => void serve(req, res)
}

async function withKoa(pages: () => Promise<Router>, log: Logger): Promise<RequestListener> {
  const [{ default: Koa }, router] = await Promise.all([import('koa'), pages()])
  const app = new Koa()
  app.on('error', (error) => log.error({ error }, 'page failed'))
  app.use(router.routes())
  app.use(async (ctx) => {
    ctx.respond = false
    await send(ctx.res, errorAnswer(unrecognized(), log, ''))
  })
  return app.callback()
}
