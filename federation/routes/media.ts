/** Media of our users, for other servers. {@link https://spec.matrix.org/v1.19/server-server-api/#content-repository} */
import { downloadMedia, downloadThumbnail } from '../../spec/api/federation/media.ts'
import { notFound } from '../../spec/errors.ts'
import { type MediaAnswer, multipart } from '../multipart.ts'
import { type Route, route } from '../router.ts'

/** What a thumbnail shall be like. */
export interface ThumbnailQuery {
  readonly width: number
  readonly height: number
  readonly method: 'crop' | 'scale'
  readonly animated: boolean
}

/** Where media lies; undefined for what is not there. */
export interface LocalMedia {
  content(mediaId: string, options: { timeoutMs: number }): Promise<MediaAnswer | undefined>
  thumbnail(
    mediaId: string,
    query: ThumbnailQuery,
    options: { timeoutMs: number },
  ): Promise<MediaAnswer | undefined>
}

interface Needs {
  readonly media: LocalMedia
  /** Draws the boundary of an answer. */
  readonly boundary: () => string
}

/** A caller waits for what is being uploaded no longer than this. */
const timeoutMaxMs = 60_000

export function mediaRoutes({ media, boundary }: Needs): Route[] {
  function answer(found: MediaAnswer | undefined) {
    if (found === undefined) throw notFound('Media')
    return multipart(boundary(), found)
  }

  return [
    route(downloadMedia, async ({ params, query }) => {
      const timeoutMs = Math.min(query.timeout_ms, timeoutMaxMs)
      return answer(await media.content(params.mediaId, { timeoutMs }))
    }),
    route(downloadThumbnail, async ({ params, query }) => {
      const { timeout_ms, ...wanted } = query
      const timeoutMs = Math.min(timeout_ms, timeoutMaxMs)
      return answer(await media.thumbnail(params.mediaId, wanted, { timeoutMs }))
    }),
  ]
}

/** A server that stores no media. */
export const noMedia: LocalMedia = {
  content: async () => undefined,
  thumbnail: async () => undefined,
}
