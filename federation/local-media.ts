/** Files of our users as other servers get them. */
import type { Media, MediaContent } from '../homeserver/media/media.ts'
import { contentDisposition } from '../spec/content-disposition.ts'
import type { ServerName } from '../spec/ids.ts'
import type { MediaAnswer } from './multipart.ts'
import type { LocalMedia } from './routes/media.ts'

export function createLocalMedia({
  media,
  serverName,
}: {
  readonly media: Pick<Media, 'get' | 'read' | 'thumbnail'>
  readonly serverName: ServerName
}): LocalMedia {
  function answerOf(content: MediaContent): MediaAnswer {
    const { contentType, fileName } = content
    return {
      kind: 'content',
      contentType,
      contentDisposition: contentDisposition(contentType, fileName),
      body: media.read(content),
    }
  }

  return {
    content: async (mediaId, { timeoutMs }) =>
      answerOf(await media.get(serverName, mediaId, { timeoutMs, remote: false })),
    async thumbnail(mediaId, wish, { timeoutMs }) {
      const content = await media.get(serverName, mediaId, { timeoutMs, remote: false })
      return answerOf(await media.thumbnail(content, wish))
    },
  }
}
