/** Makes small pictures of large ones. The library is loaded by the first one that is wanted. */
import type { Sharp } from 'sharp'
import type { PictureSize, ThumbnailWish } from './thumbnail-size.ts'

/** A small picture, or that the picture is no larger than what is wanted. */
export type Shrunk =
  | { readonly kind: 'made'; readonly contentType: string; readonly bytes: Uint8Array }
  | { readonly kind: 'small already' }

/** Pixels of a picture, all of its frames together; a small file can have very many. */
const pixelsMax = 64_000_000
const secondsMax = 20
const jpegQuality = 80
/** What may be read: no format that can hold script, or name other files. */
const readers = ['Jpeg', 'Png', 'Webp', 'Nsgif', 'Heif', 'Tiff'].map(
  (name) => `VipsForeignLoad${name}`,
)

let library: ReturnType<typeof loadLibrary> | undefined

async function loadLibrary() {
  const { default: sharp } = await import('sharp')
  // One thread for each picture, and no memory for pictures that are done.
  sharp.concurrency(1)
  sharp.cache(false)
  sharp.block({ operation: ['VipsForeignLoad'] })
  sharp.unblock({ operation: readers })
  return sharp
}

/** As it is shown, upright. @throws Error when the bytes are no picture, or one that is too large */
export async function measure(bytes: Uint8Array): Promise<PictureSize> {
  library ??= loadLibrary()
  const sharp = await library
  const { autoOrient } = await sharp(bytes, { limitInputPixels: pixelsMax }).metadata()
  return { width: autoOrient.width, height: autoOrient.height }
}

/**
 * Shrinks (`scale`) or fills (`crop`) to a size; never enlarges. Upright as its metadata say, and without them.
 * @throws Error when the bytes are no picture, or one that is too large
 */
export async function shrink(bytes: Uint8Array, wish: ThumbnailWish): Promise<Shrunk> {
  library ??= loadLibrary()
  const sharp = await library
  const { width, height, method, animated } = wish
  const read = (pages: number) =>
    sharp(bytes, { pages, limitInputPixels: pixelsMax, failOn: 'error' })
  const picture = await read(1).metadata()
  const moves = (picture.pages ?? 1) > 1
  const upright = picture.autoOrient
  if (upright.width <= width && upright.height <= height && (animated || !moves)) {
    return { kind: 'small already' }
  }
  const keepsMoving = animated && moves
  const resized = read(keepsMoving ? -1 : 1)
    .timeout({ seconds: secondsMax })
    .autoOrient()
    .resize({
      width,
      height,
      fit: method === 'crop' ? 'cover' : 'inside',
      withoutEnlargement: true,
    })
  const { encode, contentType } = formatFor(picture.format, keepsMoving)
  return { kind: 'made', contentType, bytes: await encode(resized).toBuffer() }
}

/** Photographs stay photographs; what may be transparent stays so. */
function formatFor(
  format: string | undefined,
  moves: boolean,
): { readonly contentType: string; readonly encode: (picture: Sharp) => Sharp } {
  if (moves || format === 'webp') {
    return { contentType: 'image/webp', encode: (picture) => picture.webp() }
  }
  if (format === 'png' || format === 'gif') {
    return { contentType: 'image/png', encode: (picture) => picture.png() }
  }
  return {
    contentType: 'image/jpeg',
    encode: (picture) => picture.jpeg({ quality: jpegQuality, progressive: true }),
  }
}
