import { createServer, type Server } from 'node:http'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Client, register } from '../harness/client.ts'
import { server } from '../harness/fixtures.ts'
import { ask } from '../harness/http.ts'
import { pictureOf } from '../harness/media.ts'
import { urlUnderTest } from '../harness/settings.ts'

const picture = pictureOf(30, 20)
const page = `<html prefix="og: http://ogp.me/ns#"><head><title>Another title</title>
  <meta property="og:title" content="A film" /><meta property="og:type" content="video.movie" />
  <meta property="og:url" content="http://films.test/1" /><meta property="og:image" content="p.png" />
  </head><body></body></html>`
const endpoints = ['/_matrix/client/v1/media/preview_url', '/_matrix/media/v3/preview_url']

let web: Server
let base: string
beforeAll(async () => {
  web = createServer(({ url }, res) => {
    if (url === '/p.png') res.writeHead(200, { 'content-type': 'image/png' }).end(picture)
    else if (url === '/film') res.writeHead(200, { 'content-type': 'text/html' }).end(page)
    else res.writeHead(404).end()
  })
  await new Promise<void>((resolve) => web.listen(0, '127.0.0.1', resolve))
  const address = web.address()
  base = `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}`
})
afterAll(() => {
  web.closeAllConnections()
  web.close()
})

const preview = (who: Client, where: string, url: string) =>
  who.ask('GET', where, { query: { url } })

// A server that somebody else runs does not reach this page.
describe.skipIf(urlUnderTest !== undefined)('a preview of a page', () => {
  it.each(endpoints)('tells what the page is about, with its picture: %s', async (where) => {
    const alice = await register(server)
    const { status, body } = await preview(alice, where, `${base}/film`)
    expect([status, body]).toEqual([
      200,
      expect.objectContaining({
        'og:title': 'A film',
        'og:type': 'video.movie',
        'og:url': 'http://films.test/1',
        'og:image': expect.stringMatching(/^mxc:\/\//),
        'og:image:width': 30,
        'og:image:height': 20,
        'matrix:image:size': picture.length,
      }),
    ])
  })

  it('is shown to nobody without a token', async () => {
    const query = { url: `${base}/film` }
    const answer = await ask(server.clientUrl, 'GET', endpoints[0] ?? '', { query })
    expect(answer).toMatchObject({ status: 401, body: { errcode: 'M_MISSING_TOKEN' } })
  })

  it('that is not there, or not of the web, is refused', async () => {
    const alice = await register(server)
    const [where = ''] = endpoints
    expect((await preview(alice, where, `${base}/absent`)).status).toBe(502)
    expect((await preview(alice, where, 'file:///etc/passwd')).status).toBeGreaterThanOrEqual(400)
    expect((await preview(alice, where, 'http://10.1.2.3/')).status).toBeGreaterThanOrEqual(400)
  })
})
