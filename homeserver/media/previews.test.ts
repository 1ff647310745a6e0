import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type RequestListener, type Server } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sharp from 'sharp'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseServerName } from '../../spec/ids.ts'
import { type TestDatabase, testDatabase } from '../database/test-database.ts'
import { FakeClock } from '../platform/fake-clock.ts'
import { seededRandom } from '../platform/random.ts'
import { createMedia, type Media } from './media.ts'
import { pageLimits } from './pages.ts'
import { createPreviews, type Previews, previewLimits } from './previews.ts'

const serverName = parseServerName('here.test')
const clock = new FakeClock()
let database: TestDatabase
let folder: string
let media: Media
let previews: Previews
let web: Server
let base: string
const asked: string[] = []
const pages = new Map<string, RequestListener>()

beforeAll(async () => {
  database = await testDatabase()
  folder = await mkdtemp(join(tmpdir(), 'previews-test-'))
  const needs = { db: database.db, clock, serverName }
  media = createMedia({
    ...{ ...needs, folder, random: seededRandom('previews'), sizeMax: 1_000_000 },
    remoteMedia: { fetch: () => Promise.reject(new Error('none')) },
  })
  previews = createPreviews({
    ...needs,
    media,
    settings: { ...settings, deniedHosts: ['*.bad', '127.0.0.2'] },
  })
  web = createServer((req, res) => {
    asked.push(req.url ?? '')
    const page = pages.get(req.url ?? '')
    if (page) page(req, res)
    else res.writeHead(404).end()
  })
  await new Promise<void>((resolve) => web.listen(0, '127.0.0.1', resolve))
  const address = web.address()
  base = `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}`
  const picture = { create: { width: 30, height: 20, channels: 3 as const, background: 'red' } }
  const png = await sharp(picture).png().toBuffer()
  page('/p.png', 'image/png', png)
  page('/svg', 'image/svg+xml', '<svg/>')
  page('/film', 'text/html', '<title>Film</title><meta property="og:image" content="p.png">')
  pages.set('/moved', (_, res) => res.writeHead(302, { location: '/film' }).end())
  const denied = `${base.replace('127.0.0.1', '127.0.0.2')}/film`
  pages.set('/denied', (_, res) => res.writeHead(302, { location: denied }).end())
  pages.set('/round', (_, res) => res.writeHead(302, { location: '/round' }).end())
  pages.set('/away', (_, res) => res.writeHead(302, { location: 'http://10.1.2.3/' }).end())
}, 60_000)
afterAll(async () => {
  web.closeAllConnections()
  web.close()
  await previews[Symbol.asyncDispose]()
  await database[Symbol.asyncDispose]()
  await rm(folder, { recursive: true, force: true })
})

const settings = { enabled: true, allowedNetworks: ['127.0.0.0/8'], deniedHosts: [] }

function page(path: string, type: string, body: string | Buffer): void {
  pages.set(path, (_, res) => res.writeHead(200, { 'content-type': type }).end(body))
}

const of = async (path: string): Promise<unknown> => JSON.parse(await previews.of(base + path))

describe('a preview', () => {
  it('has the title of the page, and its picture as a file of this server', async () => {
    const seen = await of('/film')
    expect(seen).toEqual({
      'og:title': 'Film',
      'og:image': expect.stringMatching(/^mxc:\/\/here\.test\/./),
      'og:image:type': 'image/png',
      'og:image:width': 30,
      'og:image:height': 20,
      'matrix:image:size': expect.any(Number),
    })
    const mediaId = String(Object(seen)['og:image']).split('/').at(-1) ?? ''
    const content = await media.get(serverName, mediaId, { timeoutMs: 0, remote: false })
    expect(content.contentType).toBe('image/png')
  })

  it('is of what a redirect leads to, and of a picture', async () => {
    expect(await of('/moved')).toMatchObject({ 'og:title': 'Film', 'og:image:width': 30 })
    expect(await of('/p.png')).toMatchObject({ 'og:image:width': 30 })
    expect(await of('/svg')).toEqual({})
  })

  it('is given again for an hour, and fetched once however many ask', async () => {
    page('/once', 'text/html', '<title>1</title>')
    const both = await Promise.all([of('/once#a'), of('/once')])
    page('/once', 'text/html', '<title>2</title>')
    expect([...both, await of('/once')]).toEqual(Array(3).fill({ 'og:title': '1' }))
    expect(asked.filter((path) => path === '/once')).toHaveLength(1)
    await clock.advance(previewLimits.freshMs + 1)
    expect(await of('/once')).toEqual({ 'og:title': '2' })
  })

  it('is of a page however large', async () => {
    page('/large', 'text/html', `<title>T</title>${' '.repeat(pageLimits.pictureBytes + 1)}`)
    expect(await of('/large')).toEqual({ 'og:title': 'T' })
  })

  it.each([
    ['nothing', '/absent', 'M_UNKNOWN', 502],
    ['what leads to a host that is not asked', '/denied', 'M_FORBIDDEN', 403],
    ['redirects without end', '/round', 'M_UNKNOWN', 502],
    ['what leads into a private network', '/away', 'M_FORBIDDEN', 403],
  ])('of %s is refused', async (_, path, errcode, status) => {
    await expect(of(path)).rejects.toMatchObject({ errcode, status })
  })

  it.each([
    ['http://10.1.2.3/', 'M_FORBIDDEN'],
    ['http://[::1]/', 'M_FORBIDDEN'],
    ['http://very.bad/', 'M_FORBIDDEN'],
    ['http://very.bad./', 'M_FORBIDDEN'],
    ['file:///etc/passwd', 'M_INVALID_PARAM'],
    ['http://user:secret@127.0.0.1/', 'M_INVALID_PARAM'],
    ['no address', 'M_INVALID_PARAM'],
    [`http://127.0.0.1/${'x'.repeat(previewLimits.urlChars)}`, 'M_INVALID_PARAM'],
    [`http://127.0.0.1/${'\u4e00'.repeat(1_000)}`, 'M_INVALID_PARAM'],
  ])('of %s is refused', async (url, errcode) => {
    await expect(previews.of(url)).rejects.toMatchObject({ errcode })
  })

  it('is not made where the operator wants none', async () => {
    const needs = { db: database.db, clock, serverName, media }
    await using none = createPreviews({ ...needs, settings: { ...settings, enabled: false } })
    await expect(none.of(base)).rejects.toMatchObject({ errcode: 'M_UNRECOGNIZED', status: 404 })
  })
})
