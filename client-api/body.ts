import { isAscii, isUtf8 } from 'node:buffer'
import type { IncomingMessage } from 'node:http'
import { MatrixError } from '../spec/errors.ts'
import { type Json, parseJson } from '../spec/json.ts'

export interface BodyLimits {
  readonly sizeBytes: number
  /** Deepest nesting of arrays and objects. */
  readonly jsonDepth: number
}

/**
 * Reads the whole body and parses it, whatever its Content-Type says: clients leave it out.
 * Undefined for an empty body.
 * @throws MatrixError M_TOO_LARGE, M_NOT_JSON, or M_BAD_JSON when it is nested too deeply
 */
export async function readJson(
  req: IncomingMessage,
  limits: BodyLimits,
): Promise<Json | undefined> {
  const bytes = await readBody(req, limits.sizeBytes)
  if (bytes.length === 0) return undefined
  if (isAscii(bytes)) return parseJson(bytes.toString('latin1'), { depthMax: limits.jsonDepth })
  if (!isUtf8(bytes)) throw new MatrixError('M_NOT_JSON', 'Not valid UTF-8')
  return parseJson(bytes.toString('utf8'), { depthMax: limits.jsonDepth })
}

/** A body of JSON is here within this. */
const bodyMs = 120_000

/** Reads the whole body into memory; refuses it at the first byte too many, or before when its length is announced. */
function readBody(req: IncomingMessage, sizeBytesMax: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const announced = Number(req.headers['content-length'] ?? 0)
    if (announced > sizeBytesMax) return reject(tooLarge(sizeBytesMax))
    const chunks: Buffer[] = []
    let size = 0
    const onData = (chunk: Buffer) => {
      size += chunk.length
      if (size <= sizeBytesMax) return void chunks.push(chunk)
      stop()
      req.pause()
      reject(tooLarge(sizeBytesMax))
    }
    const onEnd = () => {
      stop()
      const [first] = chunks
      resolve(chunks.length === 1 && first !== undefined ? first : Buffer.concat(chunks, size))
    }
    const onClose = () => {
      stop()
      reject(new MatrixError('M_NOT_JSON', 'The request ended early'))
    }
    const onLate = () => {
      stop()
      req.pause()
      reject(new MatrixError('M_UNKNOWN', 'The body did not come in time', { status: 408 }))
    }
    const deadline = setTimeout(onLate, bodyMs)
    const stop = () => {
      clearTimeout(deadline)
      req.off('data', onData).off('end', onEnd).off('close', onClose).off('error', onClose)
    }
    req.on('data', onData).on('end', onEnd).on('close', onClose).on('error', onClose)
  })
}

function tooLarge(sizeBytesMax: number): MatrixError {
  return new MatrixError('M_TOO_LARGE', `The body is larger than ${sizeBytesMax} bytes`)
}
