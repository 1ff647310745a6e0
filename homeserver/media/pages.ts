/** What is at an address of the web: a page that tells of itself, or a picture. */
import type { Dispatcher } from 'undici'
import { plainType } from '../../spec/content-disposition.ts'
import { MatrixError } from '../../spec/errors.ts'
import { compileGlob } from '../../spec/glob.ts'
import type { ServerName } from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import type { Media } from './media.ts'
import { propertiesOf, textOf } from './page.ts'
import type { PreviewSettings } from './previews.ts'
import { fetchFromWeb, type WebAnswer } from './web-fetch.ts'

interface Needs {
  readonly dispatcher: Dispatcher
  readonly serverName: ServerName
  readonly media: Pick<Media, 'keep' | 'measure'>
  readonly settings: Pick<PreviewSettings, 'deniedHosts'>
}

export const pageLimits = {
  /** Of a page, its beginning; the rest is not read. */
  pageBytes: 512 * 1024,
  pictureBytes: 10 * 1024 * 1024,
  headersMs: 10_000,
  timeoutMs: 20_000,
} as const

export function createPages({ dispatcher, serverName, media, settings }: Needs) {
  const denied = settings.deniedHosts.map((glob) => compileGlob(glob))

  /** A name may be written with a dot at its end. */
  function check({ hostname }: URL): void {
    const name = hostname.replace(/\.$/, '')
    if (denied.some((matches) => matches(name))) throw refusedAddress()
  }

  function get(url: URL, bytesMax: number): Promise<WebAnswer> {
    const { headersMs, timeoutMs } = pageLimits
    return fetchFromWeb(dispatcher, url, { headersMs, timeoutMs, bytesMax }, check)
  }

  /** The picture becomes a file of this server. */
  async function pictureAt(url: URL): Promise<JsonObject> {
    const answer = await get(url, pageLimits.pictureBytes)
    const { contentType, body } = answer
    if (!isPicture(contentType)) {
      answer.drop()
      throw new Error('not a picture')
    }
    const { mediaId, content } = await media.keep({
      contentType,
      fileName: undefined,
      content: body,
    })
    const size = await media.measure(content)
    return {
      'og:image': `mxc://${serverName}/${mediaId}`,
      'og:image:type': plainType(contentType),
      'matrix:image:size': content.sizeBytes,
      ...(size && { 'og:image:width': size.width, 'og:image:height': size.height }),
    }
  }

  async function ofPage(answer: WebAnswer): Promise<JsonObject> {
    const { url, contentType, body } = answer
    const bytes = await beginningOf(body)
    answer.drop()
    const told = new Map(propertiesOf(textOf(bytes, contentType)))
    const picture =
      told.get('og:image') ?? told.get('og:image:url') ?? told.get('og:image:secure_url')
    for (const name of told.keys()) if (name.startsWith('og:image')) told.delete(name)
    const kept =
      picture !== undefined && URL.canParse(picture, url.href)
        ? await pictureAt(new URL(picture, url)).catch(() => ({}))
        : {}
    return { ...Object.fromEntries(told), ...kept }
  }

  return {
    /** @throws Error when nothing came; MatrixError M_FORBIDDEN for a host that is not asked */
    async propertiesAt(url: URL): Promise<JsonObject> {
      const answer = await get(url, pageLimits.pictureBytes)
      const type = plainType(answer.contentType)
      if (type === 'text/html' || type === 'application/xhtml+xml') return await ofPage(answer)
      answer.drop()
      // A picture is asked for again: what was dropped had only begun to come.
      return isPicture(type) ? await pictureAt(answer.url).catch(() => ({})) : {}
    },
  }
}

function isPicture(contentType: string): boolean {
  const type = plainType(contentType)
  return type.startsWith('image/') && type !== 'image/svg+xml'
}

async function beginningOf(body: AsyncIterable<Buffer>): Promise<Buffer> {
  const pieces: Buffer[] = []
  let bytes = 0
  for await (const piece of body) {
    pieces.push(piece)
    bytes += piece.length
    if (bytes >= pageLimits.pageBytes) break
  }
  return Buffer.concat(pieces).subarray(0, pageLimits.pageBytes)
}

/** An address to which this server does not go. */
export function refusedAddress(): MatrixError {
  return new MatrixError('M_FORBIDDEN', 'This server does not go to that address')
}
