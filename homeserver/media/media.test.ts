import { mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { MatrixError } from '../../spec/errors.ts'
import { parseServerName, parseUserId } from '../../spec/ids.ts'
import { type TestDatabase, testDatabase } from '../database/test-database.ts'
import { FakeClock } from '../platform/fake-clock.ts'
import { seededRandom } from '../platform/random.ts'
import type { RemoteMedia } from '../ports.ts'
import { copyLimits } from './copies.ts'
import { createMedia, type Media, mediaLimits } from './media.ts'

const here = parseServerName('here.test')
const there = parseServerName('there.test')
const alice = parseUserId('@alice:here.test')
const bob = parseUserId('@bob:here.test')
const clock = new FakeClock()
const asked: string[] = []
const nobodyWaits = { timeoutMs: 0, remote: true }
let database: TestDatabase
let folder: string
let media: Media

/** There, every file says its own id. */
const remoteMedia: RemoteMedia = {
  async fetch(server, mediaId) {
    asked.push(`${server}/${mediaId}`)
    if (mediaId === 'absent') throw new MatrixError('M_NOT_FOUND', 'absent')
    return { contentType: 'text/plain', fileName: 'theirs.txt', content: bytes(mediaId) }
  },
}

beforeAll(async () => {
  database = await testDatabase()
  folder = await mkdtemp(join(tmpdir(), 'media-test-'))
  const random = seededRandom('media')
  const needs = { db: database.db, clock, random, serverName: here, remoteMedia, folder }
  media = createMedia({ ...needs, sizeMax: 10 })
}, 60_000)
afterAll(async () => {
  await database[Symbol.asyncDispose]()
  await rm(folder, { recursive: true, force: true })
})

/** One byte more than people without a token may have fetched. */
async function* lots(): AsyncIterable<Uint8Array> {
  const piece = Buffer.alloc(1024 * 1024)
  for (let at = 0; at < copyLimits.anonymousBytes; at += piece.length) yield piece
  yield Buffer.from('x')
}

async function* bytes(...texts: string[]): AsyncIterable<Uint8Array> {
  for (const text of texts) yield Buffer.from(text)
}

const file = (...texts: string[]) => ({
  ...{ contentType: 'text/plain', fileName: 'a.txt' },
  content: bytes(...texts),
})

async function textOf(source: AsyncIterable<Uint8Array>): Promise<string> {
  const pieces: Uint8Array[] = []
  for await (const piece of source) pieces.push(piece)
  return Buffer.concat(pieces).toString()
}

async function filesKept(): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  return entries.filter((entry) => entry.isFile()).map(({ name }) => name)
}

it('keeps a file, and the same bytes once', async () => {
  const before = (await filesKept()).length
  const first = await media.upload(alice, file('one', ' two'))
  const second = await media.upload(bob, file('one t', 'wo'))
  expect(first).not.toBe(second)
  const content = await media.get(here, first, nobodyWaits)
  expect(content).toMatchObject({ contentType: 'text/plain', fileName: 'a.txt', sizeBytes: 7 })
  expect(await textOf(media.read(content))).toBe('one two')
  expect(await textOf(media.read(content, { start: 2, end: 4 }))).toBe('e t')
  expect((await filesKept()).length).toBe(before + 1)
})

it('keeps an empty file', async () => {
  const content = await media.get(here, await media.upload(alice, file()), nobodyWaits)
  expect(content.sizeBytes).toBe(0)
  expect(await textOf(media.read(content))).toBe('')
})

it('keeps nothing of a file that is too large, or ends early', async () => {
  const before = await filesKept()
  await expect(media.upload(alice, file('12345', '678901'))).rejects.toMatchObject({
    errcode: 'M_TOO_LARGE',
    status: 413,
  })
  async function* broken(): AsyncIterable<Uint8Array> {
    yield Buffer.from('123')
    throw new Error('gone')
  }
  await expect(media.upload(alice, { ...file(), content: broken() })).rejects.toThrow('gone')
  expect(await filesKept()).toEqual(before)
})

it('takes the bytes of an id later, once, from whoever made it', async () => {
  const { mediaId } = await media.create(alice)
  await expect(media.get(here, mediaId, nobodyWaits)).rejects.toMatchObject({
    errcode: 'M_NOT_YET_UPLOADED',
    status: 504,
  })
  await expect(media.fill(bob, mediaId, file('b'))).rejects.toMatchObject({
    errcode: 'M_FORBIDDEN',
  })
  await media.fill(alice, mediaId, file('late'))
  await expect(media.fill(alice, mediaId, file('again'))).rejects.toMatchObject({
    errcode: 'M_CANNOT_OVERWRITE_MEDIA',
    status: 409,
  })
  expect(await textOf(media.read(await media.get(here, mediaId, nobodyWaits)))).toBe('late')
})

it('forgets an id whose bytes never came, and bounds how many wait', async () => {
  const { mediaId } = await media.create(bob)
  for (let n = 1; n < mediaLimits.pendingPerUser; n++) await media.create(bob)
  await expect(media.create(bob)).rejects.toMatchObject({ errcode: 'M_LIMIT_EXCEEDED' })
  await clock.advance(mediaLimits.pendingMs)
  await expect(media.fill(bob, mediaId, file('b'))).rejects.toMatchObject({
    errcode: 'M_NOT_FOUND',
  })
  await media.create(bob)
})

it('fetches a file of another server once, however many ask', async () => {
  const two = [there, there].map((server) => media.get(server, 'theirs', nobodyWaits))
  const [content] = await Promise.all(two)
  await media.get(there, 'theirs', nobodyWaits)
  expect(asked).toEqual(['there.test/theirs'])
  expect(content).toMatchObject({ fileName: 'theirs.txt', sizeBytes: 6 })
})

it('fetches it again when the disk has lost it', async () => {
  const { hash } = await media.get(there, 'lost', nobodyWaits)
  await rm(join(folder, hash.slice(0, 2)), { recursive: true })
  const content = await media.get(there, 'lost', nobodyWaits)
  expect(await textOf(media.read(content))).toBe('lost')
})

it('fetches nothing for who does not want it, and tells what the other server says', async () => {
  const wanted = { timeoutMs: 0, remote: false }
  await expect(media.get(there, 'unasked', wanted)).rejects.toMatchObject({ status: 404 })
  expect(asked).not.toContain('there.test/unasked')
  await expect(media.get(there, 'absent', nobodyWaits)).rejects.toMatchObject({
    errcode: 'M_NOT_FOUND',
  })
})

it('fetches no more for people without a token once they have cost much', async () => {
  const anonymous = { ...nobodyWaits, anonymous: true }
  const small = createMedia({
    ...{ db: database.db, clock, random: seededRandom('anonymous'), serverName: here, folder },
    remoteMedia: {
      async fetch(...of) {
        return { ...(await remoteMedia.fetch(...of)), content: lots() }
      },
    },
    sizeMax: copyLimits.anonymousBytes * 2,
  })
  await small.get(there, 'large1', anonymous)
  await expect(small.get(there, 'large2', anonymous)).rejects.toMatchObject({ status: 429 })
  expect(await small.get(there, 'large1', anonymous)).toBeDefined()
  expect(await small.get(there, 'large2', nobodyWaits)).toBeDefined()
  await clock.advance(60_000)
  expect(await small.get(there, 'large3', anonymous)).toBeDefined()
})

it('throws away what broke off a day ago, and nothing else', async () => {
  const incoming = join(folder, 'incoming')
  await Promise.all(['old', 'new'].map((name) => writeFile(join(incoming, name), name)))
  const seconds = clock.now() / 1000
  await utimes(join(incoming, 'old'), 0, seconds - 2 * 86_400)
  await utimes(join(incoming, 'new'), 0, seconds)
  await clock.advance(mediaLimits.sweepMs)
  await media.upload(alice, file('sweep'))
  expect(await readdir(incoming)).toEqual(['new'])
})
