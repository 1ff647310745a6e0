import type { ServerResponse } from 'node:http'
import { Answer } from './answer.ts'

/**
 * On every answer: browsers may read it, whatever page they are on.
 * {@link https://spec.matrix.org/v1.19/client-server-api/#web-browser-clients}
 */
const corsHeaders = [
  'Access-Control-Allow-Origin',
  '*',
  'Access-Control-Allow-Methods',
  'GET, HEAD, POST, PUT, DELETE, OPTIONS',
  'Access-Control-Allow-Headers',
  'X-Requested-With, Content-Type, Authorization, Date, If-Match, If-None-Match',
  'Access-Control-Expose-Headers',
  'X-Request-Id, Retry-After, ETag, Content-Disposition',
] as const

/** How long a browser may remember the answer to its question, in seconds. */
const preflightAgeS = '86400'

/** Answers a question of a browser; no endpoint's logic is run. */
export function sendPreflight(res: ServerResponse): void {
  res.writeHead(204, [...corsHeaders, 'Access-Control-Max-Age', preflightAgeS])
  res.end()
}

/** Writes an {@link Answer}, or any other value as JSON. Does nothing when the client has gone. */
export async function send(res: ServerResponse, value: unknown): Promise<void> {
  if (res.headersSent || res.destroyed) return
  if (!(value instanceof Answer)) return sendText(res, 200, jsonType, JSON.stringify(value))
  const extra = Object.entries(value.headers).flat()
  if (typeof value.body === 'string')
    return sendText(res, value.status, value.type, value.body, extra)
  res.writeHead(value.status, [...corsHeaders, 'Content-Type', value.type, ...extra])
  // What was not begun to be read need not be closed.
  if (res.req.method === 'HEAD') res.end()
  else await pour(value.body, res)
}

const jsonType = 'application/json'

function sendText(
  res: ServerResponse,
  status: number,
  type: string,
  text: string,
  extra: readonly string[] = [],
): void {
  const length = String(Buffer.byteLength(text))
  // What has not changed has a length that is not said.
  const sized = status === 304 ? [] : ['Content-Length', length]
  res.writeHead(status, [...corsHeaders, 'Content-Type', type, ...sized, ...extra])
  res.end(text)
}

/** Writes as fast as the client reads. A source that fails in the middle cuts the connection: the answer is not whole. */
async function pour(
  source: AsyncIterable<string | Uint8Array>,
  res: ServerResponse,
): Promise<void> {
  try {
    for await (const piece of source) {
      if (res.destroyed) return
      if (!res.write(piece)) await drained(res)
    }
    res.end()
  } catch (error) {
    res.destroy()
    throw error
  }
}

/** Until the client has read on, or has gone. */
function drained(res: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    if (res.closed) return resolve()
    const done = () => {
      res.off('drain', done).off('close', done)
      resolve()
    }
    res.on('drain', done).on('close', done)
  })
}
