/** Media as one server gives it to another: a part with metadata and a part with the content, or with where it is. {@link https://spec.matrix.org/v1.19/server-server-api/#content-repository} */
import { Streamed } from './router.ts'

/** Content, or the place from which it can be had. */
export type MediaAnswer =
  | {
      readonly kind: 'content'
      readonly contentType: string
      /** Value of the header of that name. */
      readonly contentDisposition?: string
      readonly body: AsyncIterable<Uint8Array>
    }
  | { readonly kind: 'elsewhere'; readonly url: string }

const lineEnd = '\r\n'

/** An answer of exactly two parts. `boundary` must occur in no content: long, and drawn anew each time. */
export function multipart(boundary: string, media: MediaAnswer): Streamed {
  return new Streamed(`multipart/mixed; boundary=${boundary}`, parts(boundary, media))
}

async function* parts(boundary: string, media: MediaAnswer): AsyncIterable<Uint8Array> {
  yield Buffer.from(partHead(boundary, { 'Content-Type': 'application/json' }) + `{}${lineEnd}`)
  switch (media.kind) {
    case 'content':
      yield Buffer.from(partHead(boundary, contentHeaders(media)))
      yield* media.body
      break
    case 'elsewhere':
      yield Buffer.from(partHead(boundary, { Location: media.url }))
      break
    default:
      media satisfies never
  }
  yield Buffer.from(`${lineEnd}--${boundary}--${lineEnd}`)
}

function contentHeaders(media: MediaAnswer & { readonly kind: 'content' }) {
  const { contentType, contentDisposition } = media
  return {
    'Content-Type': contentType,
    ...(contentDisposition !== undefined && { 'Content-Disposition': contentDisposition }),
  }
}

/** The delimiter and headers of a part. */
function partHead(boundary: string, headers: Readonly<Record<string, string>>): string {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${oneLine(value)}`)
  return [`--${boundary}`, ...lines, '', ''].join(lineEnd)
}

/** A value with a line break in it would be a header of its own. */
function oneLine(value: string): string {
  return value.replace(/[\r\n\0]+/g, ' ')
}
