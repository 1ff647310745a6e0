import { tooLarge } from '../../homeserver/media/blobs.ts'
import type { GetOptions, Media, ThumbnailWish, Upload } from '../../homeserver/media/media.ts'
import * as api from '../../spec/api/client/media.ts'
import { cleanFileName } from '../../spec/content-disposition.ts'
import { MatrixError, notFound } from '../../spec/errors.ts'
import type { ServerName } from '../../spec/ids.ts'
import { Answer } from '../answer.ts'
import { fileAnswer } from '../file-answer.ts'
import type { ClientApiNeeds } from '../needs.ts'
import type { Origin } from '../origin.ts'
import { openRoute, route } from '../router.ts'

interface Place {
  readonly serverName: ServerName
  readonly mediaId: string
  readonly fileName?: string
}

interface Query {
  readonly timeout_ms: number
  /** Of the older endpoints. */
  readonly allow_remote?: boolean
  readonly anonymous?: boolean
}

const contentTypeCharsMax = 255

/** Files that people send each other. {@link https://spec.matrix.org/v1.19/client-server-api/#content-repository} */
export const mediaRoutes = ({
  media,
  previews,
  config,
}: Pick<ClientApiNeeds, 'media' | 'previews' | 'config'>) => {
  const uri = (mediaId: string) => `mxc://${config.serverName}/${mediaId}`

  async function download(place: Place, query: Query, from: Origin) {
    const content = await media.get(place.serverName, place.mediaId, optionsOf(query, from))
    return fileAnswer(media, content, from, cleanFileName(place.fileName))
  }

  async function thumbnail(place: Place, query: Query & ThumbnailWish, from: Origin) {
    const content = await media.get(place.serverName, place.mediaId, optionsOf(query, from))
    return fileAnswer(media, await media.thumbnail(content, query), from, undefined)
  }

  return [
    route(api.uploadMedia, async ({ query, from }, who) => {
      const mediaId = await media.upload(who.user, uploadOf(media, query.filename, from))
      return { content_uri: uri(mediaId) }
    }),
    route(api.createMedia, async (_input, who) => {
      const { mediaId, pendingUntil } = await media.create(who.user)
      return { content_uri: uri(mediaId), unused_expires_at: pendingUntil }
    }),
    route(api.uploadToMedia, async ({ params, query, from }, who) => {
      if (params.serverName !== config.serverName) throw notFound('Media')
      await media.fill(who.user, params.mediaId, uploadOf(media, query.filename, from))
      return {}
    }),
    route(api.getMediaConfig, () => ({ 'm.upload.size': media.sizeMax })),
    route(api.getMedia, ({ params, query, from }) => download(params, query, from)),
    route(api.getMediaNamed, ({ params, query, from }) => download(params, query, from)),
    route(api.getMediaThumbnail, ({ params, query, from }) => thumbnail(params, query, from)),
    route(api.previewUrl, async ({ query }) => new Answer(await previews.of(query.url))),
    openRoute(api.getMediaOpenly, ({ params, query, from }) =>
      download(params, openly(query), from),
    ),
    openRoute(api.getMediaNamedOpenly, ({ params, query, from }) =>
      download(params, openly(query), from),
    ),
    openRoute(api.getMediaThumbnailOpenly, ({ params, query, from }) =>
      thumbnail(params, openly(query), from),
    ),
  ]
}

/** As those ask of whom nothing is known. */
function openly<Q extends object>(query: Q) {
  return { ...query, anonymous: true }
}

function optionsOf(query: Query, from: Origin) {
  const { timeout_ms: timeoutMs, allow_remote: remote = true, anonymous = false } = query
  return { timeoutMs, remote, anonymous, signal: from.signal } satisfies GetOptions
}

/** The request's body as a file; refused unread when it is announced to be too large. */
function uploadOf({ sizeMax }: Media, fileName: string | undefined, from: Origin): Upload {
  const announced = Number(from.header('content-length') ?? 0)
  if (announced > sizeMax) throw tooLarge(sizeMax)
  const contentType = from.header('content-type') || 'application/octet-stream'
  if (contentType.length > contentTypeCharsMax || !/^[\x20-\x7e]*$/.test(contentType)) {
    throw new MatrixError('M_INVALID_PARAM', 'Content-Type: too long, or not ASCII')
  }
  return { contentType, fileName: cleanFileName(fileName), content: whole(from.content) }
}

/** A client that goes away in the middle is no fault of ours. */
async function* whole(content: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  try {
    yield* content
  } catch {
    throw new MatrixError('M_UNKNOWN', 'The upload ended early', { status: 400 })
  }
}
