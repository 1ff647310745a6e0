import { Agent } from 'undici'
import { expect, it } from 'vitest'
import { ReplyTooLargeError } from '../homeserver/platform/guarded-request.ts'
import { MatrixError } from '../spec/errors.ts'
import { parseServerName } from '../spec/ids.ts'
import { createRemoteMedia } from './remote-media.ts'
import type { StreamClient } from './request.ts'

const there = parseServerName('there.test')
const options = { timeoutMs: 5_000, sizeMax: 1_000 }

/** A server that answers each path as told, and the paths that it was asked. */
function server(answer: (path: string) => { headers: Record<string, string>; text: string }) {
  const asked: string[] = []
  const client: StreamClient = {
    async stream(_server, { path, unsigned }) {
      asked.push(`${unsigned ? 'open' : 'signed'} ${path}`)
      const { headers, text } = answer(path)
      async function* body() {
        yield Buffer.from(text)
        if (text === 'endless') throw new ReplyTooLargeError('too large')
      }
      return { status: 200, header: (name) => headers[name], body: body(), drop: () => {} }
    },
  }
  return { asked, media: createRemoteMedia({ client, dispatcher: new Agent() }) }
}

async function textOf(body: AsyncIterable<Uint8Array>): Promise<string> {
  const pieces: Uint8Array[] = []
  for await (const piece of body) pieces.push(piece)
  return Buffer.concat(pieces).toString()
}

it('asks by a signed request and reads the two parts', async () => {
  const part = 'Content-Type: image/png\r\nContent-Disposition: inline; filename="a.png"'
  const text = `--x\r\n\r\n{}\r\n--x\r\n${part}\r\n\r\nbytes\r\n--x--`
  const { asked, media } = server(() => ({
    headers: { 'content-type': 'multipart/mixed; boundary=x' },
    text,
  }))
  const found = await media.fetch(there, 'abc', options)
  expect(found).toMatchObject({ contentType: 'image/png', fileName: 'a.png' })
  expect(await textOf(found.content)).toBe('bytes')
  expect(asked).toEqual(['signed /_matrix/federation/v1/media/download/abc?timeout_ms=5000'])
})

it('asks as before v1.11 where the signed request is unknown, and only there', async () => {
  const { asked, media } = server((path) => {
    if (path.startsWith('/_matrix/federation')) {
      throw new MatrixError(path.includes('gone') ? 'M_NOT_FOUND' : 'M_UNRECOGNIZED', '', {
        status: 404,
      })
    }
    return { headers: { 'content-type': 'text/plain' }, text: 'old' }
  })
  const found = await media.fetch(there, 'abc', options)
  expect(await textOf(found.content)).toBe('old')
  expect(asked[1]).toBe(
    'open /_matrix/media/v3/download/there.test/abc?allow_remote=false&timeout_ms=5000',
  )
  await expect(media.fetch(there, 'gone', options)).rejects.toMatchObject({
    errcode: 'M_NOT_FOUND',
  })
})

it('tells what is wrong with an answer', async () => {
  const json = server(() => ({ headers: { 'content-type': 'application/json' }, text: '{}' }))
  await expect(json.media.fetch(there, 'abc', options)).rejects.toMatchObject({
    errcode: 'M_CONNECTION_FAILED',
    status: 502,
  })
  const large = server((path) => {
    if (path.startsWith('/_matrix/federation')) throw new MatrixError('M_UNRECOGNIZED', '')
    return { headers: {}, text: 'endless' }
  })
  const found = await large.media.fetch(there, 'abc', options)
  expect(found.contentType).toBe('application/octet-stream')
  await expect(textOf(found.content)).rejects.toMatchObject({ errcode: 'M_TOO_LARGE', status: 502 })
})
