/** Copies of other servers' files: fetched once however many ask, kept on disk, fetched again when the disk lost them. */
import { MatrixError } from '../../spec/errors.ts'
import type { ServerName } from '../../spec/ids.ts'
import type { Database } from '../database/database.ts'
import type { Clock } from '../platform/clock.ts'
import type { RemoteMedia } from '../ports.ts'
import type { Blobs } from './blobs.ts'
import { contentOf } from './content.ts'
import { findMedia, insertMedia, type MediaContent } from './queries.ts'

interface Needs {
  readonly db: Database
  readonly clock: Clock
  readonly remoteMedia: RemoteMedia
  readonly blobs: Blobs
  readonly sizeMax: number
}

export const copyLimits = {
  /** Files that are being fetched at a time, by one process. */
  fetches: 32,
  /** Bytes that people without a token may have us fetch at once, and as many more in each second. */
  anonymousBytes: 64 * 1024 * 1024,
  anonymousBytesPerSecond: 1024 * 1024,
} as const

export function createCopies({ db, clock, remoteMedia, blobs, sizeMax }: Needs) {
  const fetches = new Map<string, Promise<MediaContent>>()
  let anonymousLeft: number = copyLimits.anonymousBytes
  let refilledAt = clock.now()

  /** Anybody who knows an address can name a file to the older endpoints, and what it is costs us. */
  function checkAnonymous(): void {
    const { anonymousBytes, anonymousBytesPerSecond } = copyLimits
    const refill = ((clock.now() - refilledAt) / 1000) * anonymousBytesPerSecond
    anonymousLeft = Math.min(anonymousBytes, anonymousLeft + refill)
    refilledAt = clock.now()
    if (anonymousLeft <= 0) throw tooManyFetches()
  }

  async function fetchCopy(origin: ServerName, mediaId: string, timeoutMs: number) {
    const { contentType, fileName, content } = await remoteMedia.fetch(origin, mediaId, {
      timeoutMs,
      sizeMax,
    })
    const copy = { contentType, fileName, ...(await blobs.put(content, sizeMax)) }
    await insertMedia(db, { origin, mediaId }, undefined, copy, clock.now())
    return copy
  }

  return {
    async get(
      origin: ServerName,
      mediaId: string,
      { timeoutMs, anonymous = false }: { timeoutMs: number; anonymous?: boolean },
    ): Promise<MediaContent> {
      const row = await findMedia(db, { origin, mediaId })
      const known = row && contentOf(row)
      if (known !== undefined && (await blobs.stat(known.hash)) === known.sizeBytes) return known
      const key = `${origin}/${mediaId}`
      const underWay = fetches.get(key)
      if (underWay !== undefined) return await underWay
      if (anonymous) checkAnonymous()
      if (fetches.size >= copyLimits.fetches) throw tooManyFetches()
      const fetching = fetchCopy(origin, mediaId, timeoutMs).finally(() => fetches.delete(key))
      fetches.set(key, fetching)
      const copy = await fetching
      if (anonymous) anonymousLeft -= copy.sizeBytes
      return copy
    },
  }
}

function tooManyFetches(): MatrixError {
  const fields = { retry_after_ms: 1_000 }
  return new MatrixError('M_LIMIT_EXCEEDED', 'Too many files are being fetched', { fields })
}
