/** Bodies of requests: bounded each and together, parsed within limits. */
import { isUtf8 } from 'node:buffer'
import type http from 'node:http'
import { MatrixError } from '../spec/errors.ts'
import { type Json, parseJson } from '../spec/json.ts'

/** A body as it came, and what is in it; both are absent when there was none. */
export interface RequestBody {
  readonly text?: string
  readonly content?: Json
}

export interface Bodies {
  /**
   * Reads a body of at most `bytesMax` and hands it on; it counts as held until the work is done.
   * @throws MatrixError M_TOO_LARGE (413), M_NOT_JSON and M_BAD_JSON (400), M_LIMIT_EXCEEDED when too much is held
   */
  read<T>(
    req: http.IncomingMessage,
    bytesMax: number,
    work: (body: RequestBody) => Promise<T>,
  ): Promise<T>
}

/** Bytes of bodies in memory at a time, whoever sent them. */
const heldMax = 256 * 1024 * 1024
const retryAfterMs = 1_000

export function createBodies(depthMax: number): Bodies {
  let held = 0

  async function readBytes(
    req: http.IncomingMessage,
    bytesMax: number,
    hold: (bytes: number) => void,
  ): Promise<Buffer> {
    const tooLarge = () => new MatrixError('M_TOO_LARGE', `body larger than ${bytesMax} bytes`)
    if (Number(req.headers['content-length'] ?? 0) > bytesMax) throw tooLarge()
    const chunks: Buffer[] = []
    let bytes = 0
    for await (const chunk of req) {
      bytes += chunk.length
      if (bytes > bytesMax) throw tooLarge()
      hold(chunk.length)
      chunks.push(chunk)
    }
    return Buffer.concat(chunks, bytes)
  }

  return {
    async read(req, bytesMax, work) {
      let mine = 0
      const hold = (bytes: number) => {
        mine += bytes
        held += bytes
        if (held > heldMax) throw tooMuch()
      }
      try {
        return await work(parsed(await readBytes(req, bytesMax, hold), depthMax))
      } finally {
        held -= mine
      }
    },
  }
}

function parsed(body: Buffer, depthMax: number): RequestBody {
  if (body.length === 0) return {}
  if (!isUtf8(body)) throw new MatrixError('M_NOT_JSON', 'the body is not UTF-8')
  const text = body.toString('utf8')
  // One event with a number that room versions from 6 on forbid must not spoil the others.
  return { text, content: parseJson(text, { depthMax, integralFloats: 'poison' }) }
}

function tooMuch(): MatrixError {
  const fields = { retry_after_ms: retryAfterMs }
  return new MatrixError('M_LIMIT_EXCEEDED', 'too many bodies at a time', { fields })
}
