/** Bytes on disk under their hash: whole and durable, or not there. The same bytes lie there once. */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { type FileHandle, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { MatrixError } from '../../spec/errors.ts'
import type { Random } from '../platform/random.ts'

/** Bytes from `start` up to and including `end`. */
export interface ByteRange {
  readonly start: number
  readonly end: number
}

/** Where bytes lie. */
export interface Blobs {
  /**
   * Keeps what comes, once all of it is durable.
   * @throws MatrixError M_TOO_LARGE beyond `sizeMax` bytes; what the source throws. Nothing is kept then.
   */
  put(source: AsyncIterable<Uint8Array>, sizeMax: number): Promise<Kept>
  /** The bytes as they are read; the file is opened when the first are asked for. */
  getRange(hash: string, range: ByteRange): AsyncIterable<Uint8Array>
  /** Their number; undefined when they are not there. */
  stat(hash: string): Promise<number | undefined>
  /** Throws away what began to come before `before` (ms since the epoch) and never came to its end. */
  sweep(before: number): Promise<void>
  /** Forgets them; also when they are not there. */
  delete(hash: string): Promise<void>
}

interface Kept {
  readonly hash: string
  readonly sizeBytes: number
}

/** Read at a time: larger pieces cost memory for each slow reader and gain nothing. */
const pieceBytes = 256 * 1024
/** Written at a time: requests bring it in pieces of at most 64 KiB. */
const writeBytes = 1024 * 1024
const temporaryNameLength = 24

export function createBlobs({
  folder,
  random,
}: {
  readonly folder: string
  readonly random: Pick<Random, 'text'>
}): Blobs {
  const incoming = join(folder, 'incoming')
  const folderOf = (hash: string) => join(folder, hash.slice(0, 2), hash.slice(2, 4))
  const pathOf = (hash: string) => join(folderOf(hash), hash)

  /** Makes the new name durable, too. */
  async function moveTo(hash: string, from: string): Promise<void> {
    await mkdir(folderOf(hash), { recursive: true, mode: 0o700 })
    await rename(from, pathOf(hash))
    for (const one of [folderOf(hash), join(folder, hash.slice(0, 2)), folder])
      await syncFolder(one)
  }

  return {
    async put(source, sizeMax) {
      await mkdir(incoming, { recursive: true, mode: 0o700 })
      const temporary = join(incoming, random.text(temporaryNameLength))
      try {
        const blob = await writeDown(temporary, source, sizeMax)
        await moveTo(blob.hash, temporary)
        return blob
      } catch (error) {
        await rm(temporary, { force: true })
        throw error
      }
    },
    async *getRange(hash, { start, end }) {
      if (end < start) return
      yield* createReadStream(pathOf(hash), { start, end, highWaterMark: pieceBytes })
    },
    async stat(hash) {
      try {
        return (await stat(pathOf(hash))).size
      } catch (error) {
        if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
        throw error
      }
    },
    async sweep(before) {
      for (const name of await readdir(incoming).catch(() => [])) {
        const path = join(incoming, name)
        const found = await stat(path).catch(() => undefined)
        if (found !== undefined && found.mtimeMs < before) await rm(path, { force: true })
      }
    },
    delete: (hash) => rm(pathOf(hash), { force: true }),
  }
}

async function writeDown(
  path: string,
  source: AsyncIterable<Uint8Array>,
  sizeMax: number,
): Promise<Kept> {
  const hash = createHash('sha256')
  let sizeBytes = 0
  let gathered: Uint8Array[] = []
  let gatheredBytes = 0
  await using file = closing(await open(path, 'wx', 0o600))
  for await (const piece of source) {
    sizeBytes += piece.length
    if (sizeBytes > sizeMax) throw tooLarge(sizeMax)
    hash.update(piece)
    gathered.push(piece)
    gatheredBytes += piece.length
    if (gatheredBytes < writeBytes) continue
    await writeAll(file.handle, gathered, gatheredBytes)
    gathered = []
    gatheredBytes = 0
  }
  await writeAll(file.handle, gathered, gatheredBytes)
  await file.handle.datasync()
  return { hash: hash.digest('hex'), sizeBytes }
}

async function writeAll(handle: FileHandle, pieces: Uint8Array[], bytes: number): Promise<void> {
  if (bytes === 0) return
  const { bytesWritten } = await handle.writev(pieces)
  if (bytesWritten !== bytes) throw new Error('a file was not written whole: is the disk full?')
}

function closing(handle: FileHandle) {
  return { handle, [Symbol.asyncDispose]: () => handle.close() }
}

async function syncFolder(path: string): Promise<void> {
  await using folder = closing(await open(path, 'r'))
  await folder.handle.sync()
}

/** More bytes than one file may have. */
export function tooLarge(sizeMax: number): MatrixError {
  return new MatrixError('M_TOO_LARGE', `A file may have ${sizeMax} bytes`)
}
