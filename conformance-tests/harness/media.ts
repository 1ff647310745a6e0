/** Files in the content repository, as a client uploads and names them. */
import type { Client } from './client.ts'
import { path } from './http.ts'

/** A picture of one transparent pixel (PNG). */
export const picture = Uint8Array.from(
  Buffer.from(
    'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==',
    'base64',
  ),
)

/** Uploads a file and answers its `mxc://` address. */
export async function upload(
  who: Client,
  raw: string | Uint8Array<ArrayBuffer>,
  { filename, type = 'text/plain' }: { filename?: string; type?: string } = {},
): Promise<string> {
  const query = { filename }
  const headers = { 'content-type': type }
  const answer = await who.call('POST', '/_matrix/media/v3/upload', { raw, query, headers })
  return String(answer['content_uri'])
}

/** Path of a file's endpoint under a prefix such as `/_matrix/client/v1/media/download`. */
export function mediaPathOf(prefix: string, uri: string): string {
  const [server = '', id = ''] = uri.slice('mxc://'.length).split('/')
  return path(prefix, server, id)
}
