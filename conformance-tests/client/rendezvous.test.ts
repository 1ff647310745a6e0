/**
 * Two devices meet while one of them is signed in with a QR code: {@link https://github.com/matrix-org/matrix-spec-proposals/pull/4388},
 * and in the earlier form {@link https://github.com/matrix-org/matrix-spec-proposals/pull/4108}. Synapse offers it only
 * beside an authentication service.
 */
import { describe, expect, it } from 'vitest'
import { server } from '../harness/fixtures.ts'
import { ask, type Body, path } from '../harness/http.ts'
import { underTestIsSynapse } from '../harness/settings.ts'

const places = '/_matrix/client/unstable/io.element.msc4388/rendezvous'
const textPlaces = '/_matrix/client/unstable/org.matrix.msc4108/rendezvous'

const call = (method: string, where: string, body?: Body) =>
  ask(server.clientUrl, method, where, body === undefined ? {} : { body })

describe.skipIf(underTestIsSynapse)('a rendezvous', () => {
  const create = async (data = 'one') => (await call('POST', places, { data })).body

  it('is offered', async () => {
    expect(await call('GET', places)).toMatchObject({
      status: 200,
      body: { create_available: expect.any(Boolean) },
    })
    const { body } = await call('GET', '/_matrix/client/versions')
    expect(body['unstable_features']).toMatchObject({
      'io.element.msc4388': true,
      'org.matrix.msc4108': true,
    })
  })

  it('shows what was left there last, and for how long', async () => {
    const made = await create('hello')
    expect(made).toMatchObject({ id: expect.stringMatching(/^[A-Za-z0-9._~-]+$/) })
    const where = path(places, String(made['id']))
    const read = await call('GET', where)
    expect(read).toMatchObject({
      status: 200,
      body: { data: 'hello', sequence_token: made['sequence_token'] },
    })
    expect(Number(read.body['expires_in_ms'])).toBeGreaterThan(60_000)
    const written = await call('PUT', where, {
      data: 'hi',
      sequence_token: read.body['sequence_token'],
    })
    expect(written.status).toBe(200)
    expect(written.body['sequence_token']).not.toBe(made['sequence_token'])
    expect((await call('GET', where)).body).toMatchObject({ ...written.body, data: 'hi' })
  })

  it('is not written by who has not seen what is there, but for a repetition', async () => {
    const { id, sequence_token } = await create('one')
    const where = path(places, String(id))
    const first = await call('PUT', where, { data: 'two', sequence_token })
    const again = await call('PUT', where, { data: 'two', sequence_token })
    expect(again).toMatchObject({ status: 200, body: first.body })
    const late = await call('PUT', where, { data: 'three', sequence_token })
    expect(late).toMatchObject({
      status: 409,
      body: { errcode: 'IO_ELEMENT_MSC4388_CONCURRENT_WRITE' },
    })
    expect((await call('GET', where)).body['data']).toBe('two')
  })

  it('takes 4,096 bytes and no more', async () => {
    const { id, sequence_token } = await create('x'.repeat(4096))
    const large = 'ü'.repeat(2049)
    expect(await call('POST', places, { data: large })).toMatchObject({
      status: 413,
      body: { errcode: 'M_TOO_LARGE' },
    })
    const body = { data: large, sequence_token }
    expect((await call('PUT', path(places, String(id)), body)).status).toBe(413)
  })

  it('ends when it is deleted', async () => {
    const { id } = await create()
    const where = path(places, String(id))
    expect((await call('DELETE', where)).status).toBe(200)
    for (const method of ['GET', 'DELETE']) {
      const gone = await call(method, where)
      expect(gone).toMatchObject({ status: 404, body: { errcode: 'M_NOT_FOUND' } })
    }
  })

  it('is no page', async () => {
    const { id } = await create('<script>')
    const headers = { 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' }
    const where = path(places, String(id))
    expect((await ask(server.clientUrl, 'GET', where, { headers })).status).toBe(403)
  })
})

describe.skipIf(underTestIsSynapse)('a rendezvous by text and ETags', () => {
  const post = (raw: string, headers: Record<string, string> = { 'content-type': 'text/plain' }) =>
    ask(server.clientUrl, 'POST', textPlaces, { raw, headers })

  async function create(text = 'one') {
    const made = await post(text)
    expect(made.status).toBe(201)
    const url = new URL(String(made.body['url']))
    const request = (method: string, headers: Record<string, string> = {}, raw?: string) =>
      ask(url.origin, method, url.pathname, { headers, ...(raw !== undefined && { raw }) })
    return { made, request, etag: made.headers.get('etag') ?? '' }
  }
  const plain = { 'content-type': 'text/plain' }

  it('shows what was left there last, when it is another than what is known', async () => {
    const { made, request, etag } = await create('hello')
    expect(etag).toMatch(/^".+"$/)
    const read = await request('GET')
    expect([read.status, read.text, read.headers.get('etag')]).toEqual([200, 'hello', etag])
    expect(read.headers.get('content-type')).toMatch(/^text\/plain/)
    for (const answer of [made, read]) {
      expect(answer.headers.get('cache-control')).toBe('no-store')
      expect(answer.headers.get('pragma')).toBe('no-cache')
      expect(Date.parse(answer.headers.get('expires') ?? '')).toBeGreaterThan(0)
      expect(Date.parse(answer.headers.get('last-modified') ?? '')).toBeGreaterThan(0)
      expect(answer.headers.get('access-control-expose-headers')).toContain('ETag')
    }
    expect((await request('GET', { 'if-none-match': etag })).status).toBe(304)
    const written = await request('PUT', { ...plain, 'if-match': etag }, 'hi')
    expect(written.status).toBe(202)
    const next = await request('GET', { 'if-none-match': etag })
    expect([next.status, next.text]).toEqual([200, 'hi'])
    expect(next.headers.get('etag')).toBe(written.headers.get('etag'))
  })

  it('is not written by who has not seen what is there', async () => {
    const { request, etag } = await create()
    const first = await request('PUT', { ...plain, 'if-match': etag }, 'two')
    const late = await request('PUT', { ...plain, 'if-match': etag }, 'three')
    expect(late).toMatchObject({
      status: 412,
      body: { 'org.matrix.msc4108.errcode': 'M_CONCURRENT_WRITE' },
    })
    expect(late.headers.get('etag')).toBe(first.headers.get('etag'))
    expect((await request('GET')).text).toBe('two')
  })

  it('wants text, a condition, and at most 4,096 bytes', async () => {
    const { request, etag } = await create('')
    const json = { 'content-type': 'application/json' }
    expect((await post('{}', json)).body['errcode']).toBe('M_INVALID_PARAM')
    expect((await post('x'.repeat(4097))).status).toBe(413)
    expect((await request('PUT', plain, 'x')).body['errcode']).toBe('M_MISSING_PARAM')
    const large = await request('PUT', { ...plain, 'if-match': etag }, 'x'.repeat(4097))
    expect(large.status).toBe(413)
  })

  it('ends when it is deleted', async () => {
    const { request } = await create()
    expect((await request('DELETE')).status).toBe(204)
    expect(await request('GET')).toMatchObject({ status: 404, body: { errcode: 'M_NOT_FOUND' } })
  })

  it('may be asked by pages of other origins', async () => {
    const { request } = await create()
    const { headers } = await request('OPTIONS')
    expect(headers.get('access-control-allow-headers')).toContain('If-Match')
    expect(headers.get('access-control-allow-headers')).toContain('If-None-Match')
  })
})
