/** Files in the content repository, as a client uploads and names them. */
import { crc32, deflateSync } from 'node:zlib'
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

/** A picture (PNG) of one colour. */
export function pictureOf(width: number, height: number): Uint8Array<ArrayBuffer> {
  const header = Buffer.alloc(13)
  header.writeUInt32BE(width, 0)
  header.writeUInt32BE(height, 4)
  // Eight bits for each of red, green and blue.
  header.set([8, 2], 8)
  const line = Buffer.concat([Buffer.from([0]), Buffer.alloc(3 * width, 0x55)])
  const pixels = deflateSync(Buffer.concat(Array.from({ length: height }, () => line)))
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])
  const chunks = [chunk('IHDR', header), chunk('IDAT', pixels), chunk('IEND', Buffer.alloc(0))]
  return Uint8Array.from(Buffer.concat([signature, ...chunks]))
}

function chunk(type: string, data: Buffer): Buffer {
  const named = Buffer.concat([Buffer.from(type), data])
  const length = Buffer.alloc(4)
  length.writeUInt32BE(data.length)
  const sum = Buffer.alloc(4)
  sum.writeUInt32BE(crc32(named))
  return Buffer.concat([length, named, sum])
}

/** Width and height of a PNG. */
export function sizeOfPicture(png: Uint8Array): readonly [number, number] {
  const view = new DataView(png.buffer, png.byteOffset, png.byteLength)
  return [view.getUint32(16), view.getUint32(20)]
}
