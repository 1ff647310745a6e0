/** What a thumbnail shall be like. {@link https://spec.matrix.org/v1.19/client-server-api/#thumbnails} */
export interface ThumbnailWish {
  readonly width: number
  readonly height: number
  readonly method: 'crop' | 'scale'
  /** Whether one that moves is wanted; one that stands still is always right. */
  readonly animated: boolean
}

/** In pixels. */
export interface PictureSize {
  readonly width: number
  readonly height: number
}

/** The sizes that are made, the specification's five among them: a file has so many thumbnails at most. */
const sizes: Readonly<Record<ThumbnailWish['method'], readonly PictureSize[]>> = {
  crop: [32, 96, 256, 512, 800].map((side) => ({ width: side, height: side })),
  scale: [
    { width: 32, height: 32 },
    { width: 96, height: 96 },
    { width: 320, height: 240 },
    { width: 640, height: 480 },
    { width: 800, height: 600 },
    { width: 1600, height: 1200 },
  ],
}

/** The smallest size that is made and not smaller than what is wanted; for more than the largest, that one. */
export function sizeFor({ width, height, method }: ThumbnailWish): PictureSize {
  const fitting = sizes[method].find((size) => size.width >= width && size.height >= height)
  return fitting ?? sizes[method].at(-1) ?? { width, height }
}
