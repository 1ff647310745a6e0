/** Files of other servers: asked for as v1.11 of the specification says, and as before where that is unknown. */
import type { Dispatcher } from 'undici'
import {
  type GuardedStream,
  guardedStream,
  ReplyTooLargeError,
} from '../homeserver/platform/guarded-request.ts'
import type { RemoteMedia } from '../homeserver/ports.ts'
import { fileNameIn } from '../spec/content-disposition.ts'
import { MatrixError } from '../spec/errors.ts'
import type { ServerName } from '../spec/ids.ts'
import { readMultipart } from './multipart-reader.ts'
import type { StreamClient } from './request.ts'

interface Needs {
  readonly client: StreamClient
  readonly dispatcher: Dispatcher
}

type Fetched = Awaited<ReturnType<RemoteMedia['fetch']>>

/** For a whole file. */
const fileMs = 600_000
/** Beside the time for which the other server may wait for an upload. */
const answerMs = 20_000
const waitMaxMs = 60_000
/** Bytes of an answer that are not the file's. */
const frameBytesMax = 128 * 1024
const redirectsMax = 5
const charsMax = 255

export function createRemoteMedia({ client, dispatcher }: Needs): RemoteMedia {
  return {
    async fetch(server, mediaId, { timeoutMs, sizeMax }) {
      const waitMs = Math.min(timeoutMs, waitMaxMs)
      const times = { headersMs: waitMs + answerMs, timeoutMs: fileMs }
      const limits = { ...times, replyBytesMax: sizeMax + frameBytesMax }
      const found = await askSigned(server, mediaId, waitMs, limits).catch(async (error) => {
        if (!isOlder(error)) throw error
        return await askOpenly(server, mediaId, waitMs, limits)
      })
      return { ...found, content: told(server, found.content) }
    },
  }

  async function askSigned(
    server: ServerName,
    mediaId: string,
    waitMs: number,
    limits: Limits,
  ): Promise<Fetched> {
    const path = `/_matrix/federation/v1/media/download/${mediaId}?timeout_ms=${waitMs}`
    const reply = await client.stream(server, { path, ...limits })
    try {
      const { headers, body } = await readMultipart(reply.header('content-type') ?? '', reply.body)
      const location = headers.get('location')
      if (location === undefined) return described((name) => headers.get(name), body)
      reply.drop()
      return fetchedOf(await follow(dispatcher, new URL(location), limits))
    } catch (error) {
      reply.drop()
      throw brokenOff(server, error)
    }
  }

  async function askOpenly(
    server: ServerName,
    mediaId: string,
    waitMs: number,
    limits: Limits,
  ): Promise<Fetched> {
    const query = `allow_remote=false&timeout_ms=${waitMs}`
    const path = `/_matrix/media/v3/download/${encodeURIComponent(server)}/${mediaId}?${query}`
    return fetchedOf(await client.stream(server, { path, unsigned: true, ...limits }))
  }
}

interface Limits {
  readonly headersMs: number
  readonly timeoutMs: number
  readonly replyBytesMax: number
}

/** The file at an address that the other server gave, which may lead on. */
async function follow(dispatcher: Dispatcher, from: URL, limits: Limits): Promise<GuardedStream> {
  let url = from
  for (let hops = 0; hops <= redirectsMax; hops++) {
    if (url.protocol !== 'https:') throw new Error('redirected away from https')
    const reply = await guardedStream(dispatcher, { url, ...limits })
    if (reply.status === 200) return reply
    const location = reply.header('location')
    reply.drop()
    if (location === undefined) throw new Error(`the file's address answered ${reply.status}`)
    url = new URL(location, url)
  }
  throw new Error('too many redirects')
}

function fetchedOf({ header, body }: GuardedStream): Fetched {
  return described(header, body)
}

function described(
  header: (name: string) => string | undefined,
  content: AsyncIterable<Uint8Array>,
): Fetched {
  const type = header('content-type') ?? ''
  const isUsual = type !== '' && type.length <= charsMax && /^[\x20-\x7e]*$/.test(type)
  return {
    contentType: isUsual ? type : 'application/octet-stream',
    fileName: fileNameIn(header('content-disposition') ?? ''),
    content,
  }
}

/** The bytes; what goes wrong with them is told as an error of Matrix. */
async function* told(
  server: ServerName,
  content: AsyncIterable<Uint8Array>,
): AsyncIterable<Uint8Array> {
  try {
    yield* content
  } catch (error) {
    throw brokenOff(server, error)
  }
}

function brokenOff(server: ServerName, error: unknown): MatrixError {
  if (error instanceof MatrixError) return error
  if (error instanceof ReplyTooLargeError) {
    return new MatrixError('M_TOO_LARGE', `the file of ${server} is too large`, { status: 502 })
  }
  const why = error instanceof Error ? error.message : 'error'
  return new MatrixError('M_CONNECTION_FAILED', `${server} did not send the file: ${why}`)
}

/** A server that does not know the signed endpoint yet. */
function isOlder(error: unknown): boolean {
  return error instanceof MatrixError && error.errcode === 'M_UNRECOGNIZED' && error.status === 404
}
