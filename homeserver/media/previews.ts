/** Previews of links: what a page says of itself, with its picture kept here. */
import { MatrixError } from '../../spec/errors.ts'
import type { ServerName } from '../../spec/ids.ts'
import type { Database } from '../database/database.ts'
import type { Clock } from '../platform/clock.ts'
import { createGuardedDispatcher, ForbiddenAddressError } from '../platform/guarded-dispatcher.ts'
import type { Media } from './media.ts'
import { createPages, refusedAddress } from './pages.ts'
import { findPreview, insertPreview } from './queries.ts'
import { isWeb } from './web-fetch.ts'

export interface Previews extends AsyncDisposable {
  /**
   * JSON text of the properties of a page, by the names of the Open Graph protocol; not older than an hour.
   * {@link https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediapreview_url}
   * @throws MatrixError M_UNRECOGNIZED when previews are off, M_INVALID_PARAM, M_FORBIDDEN for what may not be reached,
   * M_UNKNOWN (502) when there is no page, M_LIMIT_EXCEEDED
   */
  of(url: string): Promise<string>
}

interface Needs {
  readonly db: Database
  readonly clock: Pick<Clock, 'now'>
  readonly serverName: ServerName
  readonly media: Pick<Media, 'keep' | 'measure'>
  readonly settings: PreviewSettings
}

export interface PreviewSettings {
  readonly enabled: boolean
  /** Private networks that may be reached. */
  readonly allowedNetworks: readonly string[]
  /** Globs of host names that are not asked. */
  readonly deniedHosts: readonly string[]
}

export const previewLimits = {
  urlChars: 2_048,
  /** Pages that are fetched at a time by one process; more are refused. */
  atOnce: 32,
  /** How long an answer is given again. */
  freshMs: 3_600_000,
  /** How long answers stay in the database. */
  keptMs: 30 * 86_400_000,
} as const

export function createPreviews({ db, clock, serverName, media, settings }: Needs): Previews {
  const dispatcher = createGuardedDispatcher({ allowedNetworks: settings.allowedNetworks })
  const pages = createPages({ serverName, media, settings, dispatcher: dispatcher.agent })
  const underWay = new Map<string, Promise<string>>()

  async function make(url: URL): Promise<string> {
    const body = JSON.stringify(await pages.propertiesAt(url))
    const { keptMs } = previewLimits
    await insertPreview(db, { url: url.href, body, now: clock.now(), keptMs })
    return body
  }

  return {
    async of(text) {
      if (!settings.enabled) {
        throw new MatrixError('M_UNRECOGNIZED', 'Link previews are off', { status: 404 })
      }
      const url = parseUrl(text)
      const known = await findPreview(db, url.href, clock.now() - previewLimits.freshMs)
      if (known !== undefined) return known
      const begun = underWay.get(url.href)
      if (begun !== undefined) return await begun
      if (underWay.size >= previewLimits.atOnce) throw tooMany()
      const making = make(url)
        .catch((error: unknown) => {
          throw asMatrixError(error)
        })
        .finally(() => underWay.delete(url.href))
      underWay.set(url.href, making)
      return await making
    },
    [Symbol.asyncDispose]: () => dispatcher[Symbol.asyncDispose](),
  }
}

function parseUrl(text: string): URL {
  const isUrl = text.length <= previewLimits.urlChars && URL.canParse(text)
  const url = isUrl ? new URL(text) : undefined
  if (url === undefined || !isWeb(url)) {
    throw new MatrixError('M_INVALID_PARAM', 'url: not an address that begins with http(s)://')
  }
  url.hash = ''
  // As it is asked and stored, with what has to be escaped.
  if (url.href.length <= previewLimits.urlChars) return url
  throw new MatrixError('M_INVALID_PARAM', 'url: too long')
}

function asMatrixError(error: unknown): MatrixError {
  if (error instanceof MatrixError) return error
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if (cause instanceof ForbiddenAddressError) return refusedAddress()
  }
  return new MatrixError('M_UNKNOWN', 'There is no page to be had there', { status: 502 })
}

function tooMany(): MatrixError {
  const fields = { retry_after_ms: 1_000 }
  return new MatrixError('M_LIMIT_EXCEEDED', 'Too many pages are being fetched', { fields })
}
