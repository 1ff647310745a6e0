import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { createCaller, type Fetch } from './caller.ts'
import { endpoint } from './endpoint.ts'

const example = endpoint({
  name: 'example',
  method: 'POST',
  auth: 'token',
  rateLimit: 'write',
  paths: ['/a/{id}/b'],
  params: { id: z.string() },
  query: { limit: z.number().exactOptional(), via: z.array(z.string()).exactOptional() },
  body: z.object({ text: z.string() }),
  reply: z.object({ ok: z.boolean() }),
})

/** A server that answers one thing and notes what it was asked. */
function server(status: number, answer: string) {
  const asked: unknown[] = []
  const fetch: Fetch = async (url, init) => {
    asked.push({ url, ...init })
    return { status, text: async () => answer }
  }
  return { asked, call: createCaller('https://example.org', fetch) }
}

const given = {
  params: { id: '!x/y' },
  query: { limit: 3, via: ['a', 'b c'] },
  body: { text: 'ü' },
  token: 't',
}

describe('a caller', () => {
  it('asks as the declaration says', async () => {
    const { asked, call } = server(200, '{"ok":true,"more":1}')
    expect(await call(example, given)).toEqual({ ok: true })
    expect(asked).toEqual([
      {
        url: 'https://example.org/a/!x%2Fy/b?limit=3&via=a&via=b%20c',
        method: 'POST',
        headers: { authorization: 'Bearer t' },
        body: '{"text":"ü"}',
      },
    ])
  })

  it('throws what the server refuses with', async () => {
    const { call } = server(429, '{"errcode":"M_LIMIT_EXCEEDED","error":"slow","retry_after_ms":5}')
    await expect(call(example, given)).rejects.toMatchObject({
      errcode: 'M_LIMIT_EXCEEDED',
      message: 'slow',
      status: 429,
      fields: { retry_after_ms: 5 },
    })
    await expect(server(502, '<html>').call(example, given)).rejects.toMatchObject({
      status: 502,
      errcode: 'M_UNKNOWN',
    })
  })

  it('refuses an answer of another shape', async () => {
    await expect(server(200, '{"ok":"yes"}').call(example, given)).rejects.toThrow()
    await expect(server(200, 'yes').call(example, given)).rejects.toMatchObject({
      errcode: 'M_NOT_JSON',
    })
  })
})
