/** A file as an answer: whole, a range of it, or that it has not changed; and so that no script in it runs. */
import type { ByteRange } from '../homeserver/media/blobs.ts'
import type { Media, MediaContent } from '../homeserver/media/media.ts'
import { contentDisposition } from '../spec/content-disposition.ts'
import { Answer } from './answer.ts'
import type { Origin } from './origin.ts'

/** {@link https://spec.matrix.org/v1.19/client-server-api/#content-repository} names the policy. */
const safeHeaders = {
  'Content-Security-Policy':
    "sandbox; default-src 'none'; script-src 'none'; plugin-types application/pdf; style-src 'unsafe-inline'; object-src 'self';",
  'X-Content-Type-Options': 'nosniff',
  'Cross-Origin-Resource-Policy': 'cross-origin',
  'X-Robots-Tag': 'noindex, nofollow, noarchive, noimageindex',
  // What lies under an id never changes.
  'Cache-Control': 'private, max-age=86400, immutable',
  'Accept-Ranges': 'bytes',
}

/** `fileName` stands in for the name with which the file was uploaded. */
export function fileAnswer(
  media: Pick<Media, 'read'>,
  content: MediaContent,
  from: Pick<Origin, 'header'>,
  fileName: string | undefined,
): Answer {
  const { contentType, sizeBytes, hash } = content
  const etag = `"${hash}"`
  const headers = {
    ...safeHeaders,
    ETag: etag,
    'Content-Disposition': contentDisposition(contentType, fileName ?? content.fileName),
  }
  if (isKnown(from.header('if-none-match'), etag)) return new Answer('', { status: 304, headers })
  const condition = from.header('if-range')
  const isMeant = condition === undefined || condition === etag
  const range = isMeant ? rangeOf(from.header('range'), sizeBytes) : undefined
  if (range === 'outside') {
    const where = { 'Content-Range': `bytes */${sizeBytes}` }
    return new Answer('', { status: 416, type: contentType, headers: { ...headers, ...where } })
  }
  const { start, end } = range ?? { start: 0, end: sizeBytes - 1 }
  return new Answer(media.read(content, { start, end }), {
    status: range === undefined ? 200 : 206,
    type: contentType,
    headers: {
      ...headers,
      'Content-Length': String(end - start + 1),
      ...(range !== undefined && { 'Content-Range': `bytes ${start}-${end}/${sizeBytes}` }),
    },
  })
}

function isKnown(condition: string | undefined, etag: string): boolean {
  const known = condition?.split(',').map((one) => one.trim().replace(/^W\//, '')) ?? []
  return known.includes(etag) || known.includes('*')
}

/**
 * The part that a Range header asks for; undefined for the whole: without one, with one that is malformed, and with
 * several ranges, which may be answered so. {@link https://www.rfc-editor.org/rfc/rfc9110#section-14.2}
 */
export function rangeOf(
  header: string | undefined,
  sizeBytes: number,
): ByteRange | 'outside' | undefined {
  const [, first, last] = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header?.trim() ?? '') ?? []
  if (first === undefined || last === undefined || (first === '' && last === '')) return undefined
  if (first === '') {
    const count = Math.min(Number(last), sizeBytes)
    return count === 0 ? 'outside' : { start: sizeBytes - count, end: sizeBytes - 1 }
  }
  const start = Number(first)
  const end = last === '' ? sizeBytes - 1 : Math.min(Number(last), sizeBytes - 1)
  if (last !== '' && Number(last) < start) return undefined
  return start >= sizeBytes ? 'outside' : { start, end }
}
