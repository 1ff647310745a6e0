import { describe, expect, it } from 'vitest'
import { type Client, register } from '../harness/client.ts'
import { server } from '../harness/fixtures.ts'
import { ask, path, type RequestOptions } from '../harness/http.ts'
import { mediaPathOf, picture, pictureOf, sizeOfPicture, upload } from '../harness/media.ts'

const endpoints = ['/_matrix/client/v1/media/download', '/_matrix/media/v3/download'] as const
const names = ['ascii', 'name with spaces', 'name;with;semicolons', 'Ünï☕ode']

const download = (who: Client, uri: string, options: RequestOptions = {}, where = endpoints[0]) =>
  who.ask('GET', mediaPathOf(where, uri), options)

/** The file name in a Content-Disposition, as a browser reads it. */
function nameIn(disposition: string | null): string | undefined {
  const extended = /filename\*=utf-8''([^;]+)/i.exec(disposition ?? '')?.[1]
  if (extended !== undefined) return decodeURIComponent(extended)
  const [, quoted, plain] = /filename=(?:"([^"]*)"|([^;]+))/.exec(disposition ?? '') ?? []
  return quoted ?? plain
}

describe.each(endpoints)('a file at %s', (where) => {
  it.each(names)('keeps the name that it was uploaded with: %s', async (filename) => {
    const alice = await register(server)
    const uri = await upload(alice, 'hello', { filename, type: 'text/plain' })
    const answer = await alice.ask('GET', mediaPathOf(where, uri))
    expect([answer.status, answer.text]).toEqual([200, 'hello'])
    expect(answer.headers.get('content-type')).toMatch(/^text\/plain/)
    expect(nameIn(answer.headers.get('content-disposition'))).toBe(filename)
  })

  it.each(names)('has the name that a download asks for: %s', async (filename) => {
    const alice = await register(server)
    const uri = await upload(alice, 'hello', { filename: 'other.txt', type: 'text/plain' })
    const answer = await alice.ask('GET', path(mediaPathOf(where, uri), filename))
    expect(nameIn(answer.headers.get('content-disposition'))).toBe(filename)
  })

  it('needs no name', async () => {
    const alice = await register(server)
    const uri = await upload(alice, 'hello', { type: 'text/plain' })
    const answer = await alice.ask('GET', mediaPathOf(where, uri))
    expect([answer.status, answer.text]).toEqual([200, 'hello'])
    expect(nameIn(answer.headers.get('content-disposition'))).toBeUndefined()
  })

  it.each(['text/plain', 'image/png', 'text/plain; charset=utf-8'])(
    'is shown when its type is safe: %s',
    async (type) => {
      const alice = await register(server)
      const uri = await upload(alice, 'hello', { type, filename: 'a' })
      const { headers } = await alice.ask('GET', mediaPathOf(where, uri))
      expect(headers.get('content-disposition')).toMatch(/^inline/)
    },
  )

  it.each(['text/html', 'image/svg+xml', 'application/octet-stream'])(
    'is saved when its type is not safe: %s',
    async (type) => {
      const alice = await register(server)
      const uri = await upload(alice, '<script>', { type, filename: 'a' })
      const { headers } = await alice.ask('GET', mediaPathOf(where, uri))
      expect(headers.get('content-disposition')).toMatch(/^attachment/)
      expect(headers.get('content-security-policy')).toContain('sandbox')
      expect(headers.get('cross-origin-resource-policy')).toBe('cross-origin')
    },
  )
})

describe('a file', () => {
  it('is shown to nobody without a token at the endpoint that wants one', async () => {
    const alice = await register(server)
    const uri = await upload(alice, 'hello')
    const answer = await ask(server.clientUrl, 'GET', mediaPathOf(endpoints[0], uri))
    expect(answer).toMatchObject({ status: 401, body: { errcode: 'M_MISSING_TOKEN' } })
  })

  it('that is not there is not found', async () => {
    const alice = await register(server)
    const answer = await download(alice, `mxc://${server.name}/nothingwasuploaded`)
    expect(answer).toMatchObject({ status: 404, body: { errcode: 'M_NOT_FOUND' } })
  })

  it('is the picture of a message', async () => {
    const alice = await register(server)
    const room = await alice.createRoom()
    const url = await upload(alice, picture, { type: 'image/png', filename: 'a.png' })
    const content = { msgtype: 'm.image', body: 'a.png', url, info: { mimetype: 'image/png' } }
    const sent = await alice.event(room, await alice.sendEvent(room, 'm.room.message', content))
    expect(sent.content).toEqual(content)
    expect((await download(alice, String(sent.content['url']))).text).toContain('PNG')
  })

  it('has a largest size, which the server tells', async () => {
    const alice = await register(server)
    for (const where of ['/_matrix/client/v1/media/config', '/_matrix/media/v3/config']) {
      expect(await alice.call('GET', where)).toEqual({ 'm.upload.size': expect.any(Number) })
    }
  })
})

describe('a thumbnail', () => {
  it.each(['/_matrix/client/v1/media/thumbnail', '/_matrix/media/v3/thumbnail'])(
    'of a picture is a picture: %s',
    async (where) => {
      const alice = await register(server)
      const uri = await upload(alice, picture, { type: 'image/png' })
      const query = { width: 32, height: 32, method: 'scale' }
      const answer = await alice.ask('GET', mediaPathOf(where, uri), { query })
      expect([answer.status, answer.headers.get('content-type')]).toEqual([200, 'image/png'])
      expect(answer.text).toContain('PNG')
    },
  )

  it('is smaller than the picture, and as large as is wanted', async () => {
    const alice = await register(server)
    const uri = await upload(alice, pictureOf(1_000, 500), { type: 'image/png' })
    const where = mediaPathOf('/_matrix/client/v1/media/thumbnail', uri)
    const sizeOf = async (query: string) => {
      const answer = await fetch(`${server.clientUrl}${where}?${query}`, {
        headers: { authorization: `Bearer ${alice.token}` },
      })
      return sizeOfPicture(new Uint8Array(await answer.arrayBuffer()))
    }
    expect(await sizeOf('width=32&height=32&method=crop')).toEqual([32, 32])
    expect(await sizeOf('width=320&height=240&method=scale')).toEqual([320, 160])
  })

  it('of what is no picture is refused', async () => {
    const alice = await register(server)
    const uri = await upload(alice, 'hello', { type: 'text/plain' })
    const query = { width: 32, height: 32, method: 'scale' }
    const where = mediaPathOf('/_matrix/client/v1/media/thumbnail', uri)
    expect(await alice.ask('GET', where, { query })).toMatchObject({
      status: 400,
      body: { errcode: 'M_UNKNOWN' },
    })
  })
})

describe('an id whose file comes later', () => {
  const create = async (who: Client): Promise<string> =>
    String((await who.call('POST', '/_matrix/media/v1/create'))['content_uri'])
  const fill = (who: Client, uri: string, text: string) =>
    who.ask('PUT', mediaPathOf('/_matrix/media/v3/upload', uri), {
      raw: text,
      headers: { 'content-type': 'text/plain' },
    })

  it('is made for a while', async () => {
    const alice = await register(server)
    const answer = await alice.call('POST', '/_matrix/media/v1/create')
    expect(answer).toMatchObject({ content_uri: expect.stringMatching(/^mxc:\/\//) })
    expect(Number(answer['unused_expires_at'])).toBeGreaterThan(Date.now())
  })

  it('has nothing to download before', async () => {
    const alice = await register(server)
    const uri = await create(alice)
    expect(await download(alice, uri, { query: { timeout_ms: 1 } })).toMatchObject({
      status: 504,
      body: { errcode: 'M_NOT_YET_UPLOADED' },
    })
  })

  it('takes the file once, and then it can be downloaded', async () => {
    const alice = await register(server)
    const uri = await create(alice)
    expect((await fill(alice, uri, 'hello')).status).toBe(200)
    for (const where of endpoints) {
      expect((await alice.ask('GET', mediaPathOf(where, uri))).text).toBe('hello')
    }
    expect(await fill(alice, uri, 'again')).toMatchObject({
      status: 409,
      body: { errcode: 'M_CANNOT_OVERWRITE_MEDIA' },
    })
  })

  it('lets a download wait for the file', async () => {
    const alice = await register(server)
    const uri = await create(alice)
    const waiting = download(alice, uri, { query: { timeout_ms: 10_000 } })
    await fill(alice, uri, 'hello')
    expect((await waiting).text).toBe('hello')
  })

  it('takes the file of nobody else', async () => {
    const [alice, bob] = await Promise.all([register(server), register(server)])
    const uri = await create(alice)
    expect(await fill(bob, uri, 'hello')).toMatchObject({
      status: 403,
      body: { errcode: 'M_FORBIDDEN' },
    })
  })
})
