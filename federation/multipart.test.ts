import { expect, it } from 'vitest'
import { type MediaAnswer, multipart } from './multipart.ts'

async function written(media: MediaAnswer): Promise<{ type: string; text: string }> {
  const answer = multipart('BOUNDARY', media)
  const pieces: Uint8Array[] = []
  for await (const piece of answer.body) pieces.push(piece)
  return { type: answer.type, text: Buffer.concat(pieces).toString('latin1') }
}

async function* pieces(...texts: string[]): AsyncIterable<Uint8Array> {
  for (const text of texts) yield Buffer.from(text, 'latin1')
}

it('writes metadata and content as two parts', async () => {
  const { type, text } = await written({
    kind: 'content',
    contentType: 'image/png',
    contentDisposition: 'inline; filename=a.png',
    body: pieces('\x89PNG\r\n', '--not the boundary\r\n'),
  })
  expect(type).toBe('multipart/mixed; boundary=BOUNDARY')
  expect(text).toBe(
    '--BOUNDARY\r\nContent-Type: application/json\r\n\r\n{}\r\n' +
      '--BOUNDARY\r\nContent-Type: image/png\r\nContent-Disposition: inline; filename=a.png\r\n\r\n' +
      '\x89PNG\r\n--not the boundary\r\n' +
      '\r\n--BOUNDARY--\r\n',
  )
})

it('writes where the content is', async () => {
  const { text } = await written({ kind: 'elsewhere', url: 'https://cdn.example/x' })
  expect(text).toBe(
    '--BOUNDARY\r\nContent-Type: application/json\r\n\r\n{}\r\n' +
      '--BOUNDARY\r\nLocation: https://cdn.example/x\r\n\r\n\r\n--BOUNDARY--\r\n',
  )
})

it('lets no value make a header of its own', async () => {
  const { text } = await written({
    kind: 'content',
    contentType: 'text/plain\r\nX-Evil: yes',
    body: pieces(),
  })
  expect(text).not.toContain('\r\nX-Evil')
})

it('fails when the content fails, without the closing delimiter', async () => {
  async function* broken(): AsyncIterable<Uint8Array> {
    yield Buffer.from('some')
    throw new Error('the store is gone')
  }
  const media = { kind: 'content', contentType: 'text/plain', body: broken() } as const
  await expect(written(media)).rejects.toThrow('the store is gone')
})
