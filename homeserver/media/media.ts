/**
 * Files: those of our users, and copies of those of other servers. Owns `media` and the folder of the bytes. A file is
 * whole and durable, or not there; the same bytes are kept once.
 */
import { MatrixError, notFound } from '../../spec/errors.ts'
import type { ServerName, UserId } from '../../spec/ids.ts'
import type { Database } from '../database/database.ts'
import type { Clock } from '../platform/clock.ts'
import type { Random } from '../platform/random.ts'
import type { RemoteMedia } from '../ports.ts'
import { type Blobs, type ByteRange, createBlobs } from './blobs.ts'
import { contentOf } from './content.ts'
import { createCopies } from './copies.ts'
import {
  fillPending,
  findMedia,
  insertMedia,
  insertPending,
  type MediaContent,
  type MediaRow,
} from './queries.ts'
import type { PictureSize, ThumbnailWish } from './thumbnail-size.ts'
import { createThumbnails } from './thumbnails.ts'

export type { MediaContent, ThumbnailWish }

/** Bytes that somebody sends, with what they say of them. */
export interface Upload {
  readonly contentType: string
  readonly fileName: string | undefined
  readonly content: AsyncIterable<Uint8Array>
}

export interface Media {
  /** Largest file, in bytes. */
  readonly sizeMax: number
  /** A file of nobody, which the server itself has fetched. @throws MatrixError M_TOO_LARGE */
  keep(upload: Upload): Promise<{ readonly mediaId: string; readonly content: MediaContent }>
  /** @throws MatrixError M_TOO_LARGE */
  upload(user: UserId, upload: Upload): Promise<string>
  /** An id whose bytes come later. @throws MatrixError M_LIMIT_EXCEEDED with too many that have none yet */
  create(user: UserId): Promise<{ readonly mediaId: string; readonly pendingUntil: number }>
  /** @throws MatrixError M_NOT_FOUND, M_FORBIDDEN, M_CANNOT_OVERWRITE_MEDIA, M_TOO_LARGE */
  fill(user: UserId, mediaId: string, upload: Upload): Promise<void>
  /**
   * A file of ours or, if `remote`, a copy of another server's, fetched when there is none.
   * @throws MatrixError M_NOT_FOUND, M_NOT_YET_UPLOADED after `timeoutMs`, M_CONNECTION_FAILED, M_TOO_LARGE
   */
  get(origin: ServerName, mediaId: string, options: GetOptions): Promise<MediaContent>
  /**
   * A small picture of the file, or the file when it is small already.
   * @throws MatrixError M_UNKNOWN (400) when it is no picture or too large, M_LIMIT_EXCEEDED
   */
  thumbnail(content: MediaContent, wish: ThumbnailWish): Promise<MediaContent>
  /** Width and height of a picture in pixels; undefined for anything else. */
  measure(content: MediaContent): Promise<PictureSize | undefined>
  /** The bytes, as they are read. */
  read(content: MediaContent, range?: ByteRange): AsyncIterable<Uint8Array>
}

export interface GetOptions {
  /** How long to wait for bytes that are still to come. */
  readonly timeoutMs: number
  /** Whether files of other servers are fetched and shown. */
  readonly remote: boolean
  /** Nobody knows who asks: what is fetched for them all is bounded. */
  readonly anonymous?: boolean
  readonly signal?: AbortSignal
}

interface Needs {
  readonly db: Database
  readonly clock: Clock
  readonly random: Random
  readonly serverName: ServerName
  readonly remoteMedia: RemoteMedia
  readonly folder: string
  readonly sizeMax: number
}

export const mediaLimits = {
  idLength: 24,
  /** How long an id waits for its bytes. */
  pendingMs: 86_400_000,
  /** Ids of one user that wait for their bytes. */
  pendingPerUser: 20,
  /** How long a download waits for bytes that are still to come. */
  waitMaxMs: 60_000,
  /** Downloads that wait so, in one process. */
  waitingMax: 1_000,
  /** Pause between looks: the bytes may come to another process. */
  lookMs: 200,
  /** How long an upload may have been silent before what came of it is thrown away. */
  unfinishedMs: 86_400_000,
  sweepMs: 3_600_000,
} as const

export function createMedia(needs: Needs): Media {
  const { db, clock, serverName, sizeMax } = needs
  const blobs: Blobs = createBlobs(needs)
  const copies = createCopies({ ...needs, blobs })
  const ours = (mediaId: string) => ({ origin: serverName, mediaId })
  let waiting = 0
  let sweptAt = 0

  /** Uploads that broke off with their process leave something behind. */
  async function sweep(): Promise<void> {
    const { sweepMs, unfinishedMs } = mediaLimits
    if (clock.now() - sweptAt < sweepMs) return
    sweptAt = clock.now()
    await blobs.sweep(clock.now() - unfinishedMs)
  }

  async function contentFrom({ contentType, fileName, content }: Upload): Promise<MediaContent> {
    await sweep()
    return { contentType, fileName, ...(await blobs.put(content, sizeMax)) }
  }

  async function insert(user: UserId | undefined, upload: Upload) {
    const content = await contentFrom(upload)
    const mediaId = needs.random.text(mediaLimits.idLength)
    await insertMedia(db, ours(mediaId), user, content, clock.now())
    return { mediaId, content }
  }

  async function find(mediaId: string): Promise<MediaRow> {
    const row = await findMedia(db, ours(mediaId))
    const isOver = row?.pending_until != null && row.pending_until <= clock.now()
    if (row === undefined || isOver) throw notFound('Media')
    return row
  }

  async function getOurs(mediaId: string, { timeoutMs, signal }: GetOptions) {
    const until = clock.now() + Math.min(timeoutMs, mediaLimits.waitMaxMs)
    for (;;) {
      const content = contentOf(await find(mediaId))
      if (content !== undefined) return content
      if (signal?.aborted || clock.now() >= until || waiting >= mediaLimits.waitingMax)
        throw notYetUploaded()
      waiting++
      try {
        // Who has gone is answered like who has waited long enough.
        await clock.sleep(mediaLimits.lookMs, signal).catch(() => {})
      } finally {
        waiting--
      }
    }
  }

  return {
    sizeMax,
    keep: (upload) => insert(undefined, upload),
    upload: async (user, upload) => (await insert(user, upload)).mediaId,
    async create(user) {
      const { idLength, pendingMs, pendingPerUser } = mediaLimits
      const mediaId = needs.random.text(idLength)
      const now = clock.now()
      const pending = { user, now, until: now + pendingMs, max: pendingPerUser }
      if (!(await insertPending(db, ours(mediaId), pending))) throw tooManyPending()
      return { mediaId, pendingUntil: pending.until }
    },
    async fill(user, mediaId, upload) {
      const row = await find(mediaId)
      if (row.user_id !== user) throw new MatrixError('M_FORBIDDEN', 'This id is not yours')
      if (row.hash !== null) throw cannotOverwrite()
      if (!(await fillPending(db, ours(mediaId), await contentFrom(upload))))
        throw cannotOverwrite()
    },
    async get(origin, mediaId, options) {
      if (origin === serverName) return await getOurs(mediaId, options)
      if (!options.remote) throw notFound('Media')
      return await copies.get(origin, mediaId, options)
    },
    ...createThumbnails({ db, clock, blobs }),
    read: ({ hash, sizeBytes }, range = { start: 0, end: sizeBytes - 1 }) =>
      blobs.getRange(hash, range),
  }
}

function notYetUploaded(): MatrixError {
  return new MatrixError('M_NOT_YET_UPLOADED', 'Media has not been uploaded yet', { status: 504 })
}

function cannotOverwrite(): MatrixError {
  return new MatrixError('M_CANNOT_OVERWRITE_MEDIA', 'Media is there already', { status: 409 })
}

function tooManyPending(): MatrixError {
  const fields = { retry_after_ms: 60_000 }
  return new MatrixError('M_LIMIT_EXCEEDED', 'Too many uploads were not finished', { fields })
}
