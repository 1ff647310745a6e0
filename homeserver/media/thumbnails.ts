/** Small pictures of files: made when somebody first asks, kept, and made once however many ask. */
import { plainType } from '../../spec/content-disposition.ts'
import { MatrixError } from '../../spec/errors.ts'
import type { Database } from '../database/database.ts'
import type { Clock } from '../platform/clock.ts'
import { fewAtOnce } from '../platform/few-at-once.ts'
import type { Blobs } from './blobs.ts'
import { findThumbnail, insertThumbnail, type MediaContent } from './queries.ts'
import { measure, shrink } from './shrink.ts'
import { type PictureSize, sizeFor, type ThumbnailWish } from './thumbnail-size.ts'

interface Needs {
  readonly db: Database
  readonly clock: Pick<Clock, 'now'>
  readonly blobs: Blobs
}

export const thumbnailLimits = {
  /** Largest file of which a small picture is made. */
  sourceBytes: 32 * 1024 * 1024,
  /** Largest file that is shown where a small picture is asked for. */
  originalBytes: 4 * 1024 * 1024,
  /** Made at a time by one process; each takes a thread that files and passwords share. */
  atOnce: 2,
  /** Asked for and not made yet; more are refused. */
  waiting: 64,
} as const

/** Pictures without script that every browser shows. */
const shown: ReadonlySet<string> = new Set([
  ...['image/png', 'image/apng', 'image/jpeg', 'image/gif', 'image/webp', 'image/avif'],
])

export function createThumbnails({ db, clock, blobs }: Needs) {
  const underWay = new Map<string, Promise<MediaContent>>()
  const turn = fewAtOnce({ atOnce: thumbnailLimits.atOnce })

  async function make(source: MediaContent, wish: ThumbnailWish): Promise<MediaContent> {
    const shrunk = await shrink(await readAll(source), wish).catch(() => undefined)
    if (shrunk === undefined) throw noPicture()
    if (shrunk.kind === 'small already') {
      if (!isShown(source)) throw noPicture()
      return source
    }
    const { contentType, bytes } = shrunk
    const kept = await blobs.put(once(bytes), bytes.length)
    const thumbnail = { contentType, fileName: undefined, ...kept }
    await insertThumbnail(db, source.hash, wish, thumbnail, clock.now())
    return thumbnail
  }

  async function readAll({ hash, sizeBytes }: MediaContent): Promise<Uint8Array> {
    const pieces: Uint8Array[] = []
    for await (const piece of blobs.getRange(hash, { start: 0, end: sizeBytes - 1 }))
      pieces.push(piece)
    return Buffer.concat(pieces)
  }

  /** Width and height; undefined for what is no picture. */
  async function measureOf(source: MediaContent): Promise<PictureSize | undefined> {
    if (source.sizeBytes > thumbnailLimits.sourceBytes) return undefined
    return await turn(async () => await measure(await readAll(source)).catch(() => undefined))
  }

  /**
   * A small picture of a file, or the file if that is small already.
   * @throws MatrixError M_UNKNOWN (400) when there is none, M_LIMIT_EXCEEDED when too many are being made
   */
  async function thumbnailOf(source: MediaContent, wanted: ThumbnailWish): Promise<MediaContent> {
    if (source.sizeBytes > thumbnailLimits.sourceBytes) throw noPicture()
    const wish = { ...wanted, ...sizeFor(wanted) }
    const known = await findThumbnail(db, source.hash, wish)
    if (known !== undefined && (await blobs.stat(known.hash)) === known.sizeBytes) return known
    const key = [source.hash, wish.width, wish.height, wish.method, wish.animated].join(' ')
    const begun = underWay.get(key)
    if (begun !== undefined) return await begun
    if (underWay.size >= thumbnailLimits.waiting) throw tooMany()
    const making = turn(() => make(source, wish)).finally(() => underWay.delete(key))
    underWay.set(key, making)
    return await making
  }

  return { thumbnail: thumbnailOf, measure: measureOf }
}

function isShown({ contentType, sizeBytes }: MediaContent): boolean {
  return shown.has(plainType(contentType)) && sizeBytes <= thumbnailLimits.originalBytes
}

async function* once(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield bytes
}

function noPicture(): MatrixError {
  const message = 'There is no thumbnail of this file'
  return new MatrixError('M_UNKNOWN', message, { status: 400 })
}

function tooMany(): MatrixError {
  const fields = { retry_after_ms: 1_000 }
  return new MatrixError('M_LIMIT_EXCEEDED', 'Too many thumbnails are being made', { fields })
}
