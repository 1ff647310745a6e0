import { describe, expect, it } from 'vitest'
import { fileAnswer, rangeOf } from './file-answer.ts'

describe('a range of ten bytes', () => {
  it.each([
    ['bytes=0-3', { start: 0, end: 3 }],
    ['bytes=3-', { start: 3, end: 9 }],
    ['bytes=3-99', { start: 3, end: 9 }],
    ['bytes=-4', { start: 6, end: 9 }],
    ['bytes=-99', { start: 0, end: 9 }],
  ])('%s is a part', (header, part) => expect(rangeOf(header, 10)).toEqual(part))

  it.each(['bytes=10-', 'bytes=10-11', 'bytes=-0'])('%s lies outside', (header) =>
    expect(rangeOf(header, 10)).toBe('outside'),
  )

  it.each([undefined, '', 'bytes=', 'bytes=-', 'bytes=4-3', 'bytes=0-1,3-4', 'lines=0-1', 'x'])(
    '%s is the whole',
    (header) => expect(rangeOf(header, 10)).toBeUndefined(),
  )
})

describe('the answer with a file', () => {
  const content = { contentType: 'text/html', fileName: 'a.html', sizeBytes: 10, hash: 'abc' }
  const media = {
    read: async function* () {
      yield Buffer.from('0123456789')
    },
  }
  const answerTo = (headers: Record<string, string>) =>
    fileAnswer(media, content, { header: (name) => headers[name] }, undefined)

  it('is the whole, saved and not shown', () => {
    const answer = answerTo({})
    expect([answer.status, answer.type]).toEqual([200, 'text/html'])
    expect(answer.headers).toMatchObject({
      ...{ 'Content-Length': '10', ETag: '"abc"', 'X-Content-Type-Options': 'nosniff' },
      ...{ 'Content-Disposition': 'attachment; filename="a.html"' },
    })
  })

  it('is a part when what is known is still so', () => {
    const range = 'bytes=2-4'
    const part = answerTo({ range, 'if-range': '"abc"' })
    expect(part.status).toBe(206)
    expect(part.headers).toMatchObject({
      ...{ 'Content-Length': '3', 'Content-Range': 'bytes 2-4/10' },
    })
    expect(answerTo({ range, 'if-range': '"older"' }).status).toBe(200)
    expect(answerTo({ range: 'bytes=10-' })).toMatchObject({
      status: 416,
      headers: { 'Content-Range': 'bytes */10' },
    })
  })

  it('is short for who has it', () => {
    expect(answerTo({ 'if-none-match': 'W/"abc"' })).toMatchObject({ status: 304, body: '' })
    expect(answerTo({ 'if-none-match': '"other"' }).status).toBe(200)
  })
})
