import { expect, it } from 'vitest'
import { multipart } from './multipart.ts'
import { readMultipart } from './multipart-reader.ts'

const type = 'multipart/mixed; boundary="B"'

/** The text, cut after every `size` bytes. */
async function* cut(text: string, size: number): AsyncIterable<Buffer> {
  const bytes = Buffer.from(text, 'latin1')
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

async function textOf(body: AsyncIterable<Uint8Array>): Promise<string> {
  const pieces: Uint8Array[] = []
  for await (const piece of body) pieces.push(piece)
  return Buffer.concat(pieces).toString('latin1')
}

it.each([1, 2, 7, 1_000])('reads what is written, in pieces of %i', async (size) => {
  const content = '\x89PNG\r\n--notB\r\n\r\n-'
  const written = multipart('B', {
    kind: 'content',
    contentType: 'image/png',
    contentDisposition: 'inline; filename=a.png',
    body: cut(content, 3),
  })
  const text = await textOf(written.body)
  const { headers, body } = await readMultipart(written.type, cut(text, size))
  expect([...headers]).toEqual([
    ['content-type', 'image/png'],
    ['content-disposition', 'inline; filename=a.png'],
  ])
  expect(await textOf(body)).toBe(content)
})

it('reads parts without headers, and what begins with an empty line', async () => {
  const text = '\r\n--B\r\n\r\n{}\r\n--B\r\n\r\nabc\r\n--B--'
  const { headers, body } = await readMultipart(type, cut(text, 4))
  expect(headers.size).toBe(0)
  expect(await textOf(body)).toBe('abc')
})

it('tells where the content is', async () => {
  const { body: written } = multipart('B', { kind: 'elsewhere', url: 'https://cdn.test/x' })
  const { headers } = await readMultipart(type, cut(await textOf(written), 9))
  expect(headers.get('location')).toBe('https://cdn.test/x')
})

it('refuses what is not multipart', async () => {
  await expect(readMultipart('image/png', cut('x', 1))).rejects.toThrow('not multipart')
  await expect(readMultipart('multipart/mixed', cut('x', 1))).rejects.toThrow('not multipart')
})

it('refuses content that breaks off, and metadata without end', async () => {
  const begun = '--B\r\n\r\n{}\r\n--B\r\n\r\nab'
  const { body } = await readMultipart(type, cut(begun, 5))
  await expect(textOf(body)).rejects.toThrow('ends within a part')
  const endless = `--B\r\n\r\n${'x'.repeat(300_000)}`
  await expect(readMultipart(type, cut(endless, 1_000))).rejects.toThrow('too large')
})
