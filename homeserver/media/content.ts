import type { MediaContent, MediaRow } from './queries.ts'

/** What a row says of its bytes; undefined while there are none. */
export function contentOf(row: MediaRow): MediaContent | undefined {
  const { content_type: contentType, file_name: fileName, size_bytes: sizeBytes, hash } = row
  if (contentType === null || sizeBytes === null || hash === null) return undefined
  return { contentType, fileName: fileName ?? undefined, sizeBytes, hash }
}
