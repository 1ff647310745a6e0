/**
 * Whether a browser shows a file or saves it, and under which name: the header Content-Disposition.
 * {@link https://spec.matrix.org/v1.19/client-server-api/#serving-inline-content}
 */

/** What no browser runs as a script when it shows it. */
const inlineTypes: ReadonlySet<string> = new Set([
  ...['text/css', 'text/plain', 'text/csv', 'application/json', 'application/ld+json'],
  ...['image/jpeg', 'image/gif', 'image/png', 'image/apng', 'image/webp', 'image/avif'],
  ...['video/mp4', 'video/webm', 'video/ogg', 'video/quicktime'],
  ...['audio/mp4', 'audio/webm', 'audio/aac', 'audio/mpeg', 'audio/ogg', 'audio/wave'],
  ...['audio/wav', 'audio/x-wav', 'audio/x-pn-wav', 'audio/flac', 'audio/x-flac'],
])

/** Longest file name that is kept, in UTF-16 units. */
const nameCharsMax = 255

/** The media type without its parameters, in lower case. */
export function plainType(contentType: string): string {
  return (contentType.split(';', 1)[0] ?? '').trim().toLowerCase()
}

/** The header's value for a file of this type and name. {@link https://spec.matrix.org/v1.19/client-server-api/#serving-inline-content} */
export function contentDisposition(contentType: string, fileName: string | undefined): string {
  const kind = inlineTypes.has(plainType(contentType)) ? 'inline' : 'attachment'
  if (fileName === undefined || fileName === '') return kind
  if (/^[\x20-\x7e]*$/.test(fileName)) {
    return `${kind}; filename="${fileName.replace(/["\\]/g, '\\$&')}"`
  }
  return `${kind}; filename*=utf-8''${extendedValue(fileName)}`
}

/** A name that can be stored and sent, or undefined for none: no control characters, no halves of characters. */
export function cleanFileName(name: string | undefined): string | undefined {
  const clean = name
    ?.replace(/\p{Cc}|\p{Cs}/gu, '')
    .slice(0, nameCharsMax)
    .replace(/\p{Cs}/gu, '')
  return clean === '' ? undefined : clean
}

/** The name in a header that somebody else wrote, if there is one. {@link https://www.rfc-editor.org/rfc/rfc6266#section-4.1} */
export function fileNameIn(header: string): string | undefined {
  const extended = /;\s*filename\*\s*=\s*utf-8'[^']*'([^;\s]+)/i.exec(header)?.[1]
  if (extended !== undefined) {
    try {
      return cleanFileName(decodeURIComponent(extended))
    } catch {
      // A broken one is none: the plain name may be there too.
    }
  }
  const quoted = /;\s*filename\s*=\s*"((?:\\.|[^"\\])*)"/i.exec(header)?.[1]
  if (quoted !== undefined) return cleanFileName(quoted.replace(/\\(.)/g, '$1'))
  return cleanFileName(/;\s*filename\s*=\s*([^;\s"]+)/i.exec(header)?.[1])
}

/** As RFC 8187 writes what is not ASCII. {@link https://www.rfc-editor.org/rfc/rfc8187#section-3.2} */
function extendedValue(text: string): string {
  return encodeURIComponent(text).replace(
    /['()*]/g,
    (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`,
  )
}
