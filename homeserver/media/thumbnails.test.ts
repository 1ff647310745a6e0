import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sharp from 'sharp'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type TestDatabase, testDatabase } from '../database/test-database.ts'
import { FakeClock } from '../platform/fake-clock.ts'
import { seededRandom } from '../platform/random.ts'
import { createBlobs } from './blobs.ts'
import type { MediaContent } from './queries.ts'
import { sizeFor } from './thumbnail-size.ts'
import { createThumbnails, thumbnailLimits } from './thumbnails.ts'

let database: TestDatabase
let folder: string
let blobs: ReturnType<typeof createBlobs>
let thumbnailOf: ReturnType<typeof createThumbnails>['thumbnail']
const puts: string[] = []

beforeAll(async () => {
  database = await testDatabase()
  folder = await mkdtemp(join(tmpdir(), 'thumbnails-test-'))
  const all = createBlobs({ folder, random: seededRandom('thumbnails') })
  blobs = {
    ...all,
    async put(source, sizeMax) {
      const kept = await all.put(source, sizeMax)
      puts.push(kept.hash)
      return kept
    },
  }
  thumbnailOf = createThumbnails({ db: database.db, clock: new FakeClock(), blobs }).thumbnail
}, 60_000)
afterAll(async () => {
  await database[Symbol.asyncDispose]()
  await rm(folder, { recursive: true, force: true })
})

const background = { r: 200, g: 30, b: 30, alpha: 0.5 }
const plain = (width: number, height: number) =>
  sharp({ create: { width, height, channels: 4, background } })

async function keep(bytes: Uint8Array, contentType: string): Promise<MediaContent> {
  async function* source() {
    yield bytes
  }
  return { contentType, fileName: undefined, ...(await blobs.put(source(), bytes.length)) }
}

async function bytesOf({ hash, sizeBytes }: MediaContent): Promise<Buffer> {
  const pieces: Uint8Array[] = []
  for await (const piece of blobs.getRange(hash, { start: 0, end: sizeBytes - 1 }))
    pieces.push(piece)
  return Buffer.concat(pieces)
}

const still = { animated: false } as const
const scale = { ...still, method: 'scale' } as const
const crop = { ...still, method: 'crop' } as const

describe('a thumbnail', () => {
  it('has the smallest size that is made and not smaller than what is wanted', () => {
    expect(sizeFor({ ...scale, width: 200, height: 100 })).toEqual({ width: 320, height: 240 })
    expect(sizeFor({ ...scale, width: 100, height: 300 })).toEqual({ width: 640, height: 480 })
    expect(sizeFor({ ...scale, width: 9_000, height: 1 })).toEqual({ width: 1600, height: 1200 })
    expect(sizeFor({ ...crop, width: 96, height: 64 })).toEqual({ width: 96, height: 96 })
  })

  it.each([
    { method: 'scale', format: 'png', type: 'image/png', size: [320, 160] },
    { method: 'scale', format: 'jpeg', type: 'image/jpeg', size: [320, 160] },
    { method: 'scale', format: 'webp', type: 'image/webp', size: [320, 160] },
    { method: 'crop', format: 'png', type: 'image/png', size: [256, 256] },
    { method: 'crop', format: 'avif', type: 'image/jpeg', size: [256, 256] },
  ] as const)('by $method of $format is of its kind and size', async (example) => {
    const { method, format, type, size } = example
    const source = await keep(await plain(800, 400).toFormat(format).toBuffer(), `image/${format}`)
    const made = await thumbnailOf(source, { method, width: 250, height: 160, animated: false })
    const seen = await sharp(await bytesOf(made)).metadata()
    expect([made.contentType, seen.width, seen.height]).toEqual([type, ...size])
  })

  it('is upright, and tells nothing of the camera', async () => {
    const exif = { IFD0: { Make: 'camera' } }
    const lying = await plain(400, 200).jpeg().withExif(exif).withMetadata({ orientation: 6 })
    const source = await keep(await lying.toBuffer(), 'image/jpeg')
    const made = await thumbnailOf(source, { ...scale, width: 96, height: 96 })
    const seen = await sharp(await bytesOf(made)).metadata()
    expect([seen.width, seen.height, seen.exif]).toEqual([48, 96, undefined])
  })

  it('is the picture itself when that is small, and never larger', async () => {
    const source = await keep(await plain(20, 10).png().toBuffer(), 'image/png')
    expect(await thumbnailOf(source, { ...scale, width: 96, height: 96 })).toEqual(source)
    const flat = await keep(await plain(400, 10).png().toBuffer(), 'image/png')
    const made = await thumbnailOf(flat, { ...crop, width: 96, height: 96 })
    const seen = await sharp(await bytesOf(made)).metadata()
    expect([seen.width, seen.height]).toEqual([96, 10])
  })

  it('moves only when that is wanted', async () => {
    const frames = await Promise.all(
      [1, 2, 3].map((at) =>
        plain(100 + at, 100)
          .png()
          .toBuffer(),
      ),
    )
    const moving = await sharp(frames, { join: { animated: true } })
      .gif()
      .toBuffer()
    const source = await keep(moving, 'image/gif')
    const pagesOf = async (animated: boolean) => {
      const made = await thumbnailOf(source, { ...scale, width: 32, height: 32, animated })
      return [made.contentType, (await sharp(await bytesOf(made)).metadata()).pages ?? 1]
    }
    expect(await pagesOf(false)).toEqual(['image/png', 1])
    expect(await pagesOf(true)).toEqual(['image/webp', 3])
  })

  it('is made once, and again when the disk has lost it', async () => {
    const source = await keep(await plain(500, 500).png().toBuffer(), 'image/png')
    const wish = { ...scale, width: 96, height: 96 }
    puts.length = 0
    const [first] = await Promise.all([thumbnailOf(source, wish), thumbnailOf(source, wish)])
    await thumbnailOf(source, { ...wish, width: 95 })
    expect(puts).toEqual([first.hash])
    await blobs.delete(first.hash)
    expect(await thumbnailOf(source, wish)).toEqual(first)
    expect(puts).toEqual([first.hash, first.hash])
  })

  it.each([
    ['a text', Buffer.from('hello'), 'image/png'],
    ['a picture with script', Buffer.from('<svg width="900" height="9"/>'), 'image/svg+xml'],
    ['nothing', Buffer.alloc(0), 'image/png'],
  ])('is not made of %s', async (_, bytes, type) => {
    const source = await keep(bytes, type)
    const refused = thumbnailOf(source, { ...scale, width: 32, height: 32 })
    await expect(refused).rejects.toMatchObject({ errcode: 'M_UNKNOWN', status: 400 })
  })

  it('is not made of very many pixels, nor of very many bytes', async () => {
    const wide = await sharp({ create: { width: 16_000, height: 9_000, channels: 3, background } })
      .png()
      .toBuffer()
    const wish = { ...scale, width: 32, height: 32 }
    const source = await keep(wide, 'image/png')
    await expect(thumbnailOf(source, wish)).rejects.toMatchObject({ status: 400 })
    const large = { ...source, sizeBytes: thumbnailLimits.sourceBytes + 1 }
    await expect(thumbnailOf(large, wish)).rejects.toMatchObject({ status: 400 })
  })
})
