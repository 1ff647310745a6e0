/** Answers that a server should not give: endless, broken, misleading, of another kind. Who asked gets an error and goes on. */
import type { ServerResponse } from 'node:http'
import { brotliCompressSync, gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { inSection, register } from '../harness/client.ts'
import { itSynapseBreaks } from '../harness/exceptions.ts'
import { server } from '../harness/fixtures.ts'
import { createPeer, type Writer } from '../harness/peer.ts'
import { underTestIsSynapse } from '../harness/settings.ts'

const json = { 'content-type': 'application/json' }
const mebibyte = 1_048_576
/** More than anybody reads of such an answer. */
const enough = 220 * mebibyte

const plain =
  (status: number, body: string, headers = {}): Writer =>
  (response) => {
    response.writeHead(status, { ...json, ...headers })
    response.end(body)
  }

/** Goes on for as long as the other side reads. */
function endless(response: ServerResponse): void {
  response.writeHead(200, json)
  const chunk = ' '.repeat(mebibyte)
  let bytes = 0
  const more = () => {
    while (bytes < enough && !response.destroyed) {
      bytes += chunk.length
      if (!response.write(chunk)) return void response.once('drain', more)
    }
    response.end()
  }
  more()
}

const bomb = (pack: (data: Buffer) => Buffer, encoding: string): Writer => {
  const body = pack(Buffer.alloc(60 * mebibyte, ' '))
  return (response) => {
    response.writeHead(200, { ...json, 'content-encoding': encoding })
    response.end(body)
  }
}

const answers: readonly (readonly [string, () => Writer])[] = [
  ['never ends', () => endless],
  ['grows by inflation', () => bomb((data) => gzipSync(data, { level: 1 }), 'gzip')],
  ['grows by another inflation', () => bomb((data) => brotliCompressSync(data, quick), 'br')],
  ['is packed twice', () => bomb((data) => gzipSync(gzipSync(data, { level: 1 })), 'gzip, gzip')],
  [
    'is packed in a way that nobody knows',
    () => plain(200, '{}', { 'content-encoding': 'x-what' }),
  ],
  ['is not what it says it is packed in', () => plain(200, '{}', { 'content-encoding': 'gzip' })],
  ['is no JSON', () => plain(200, 'hello')],
  ['is a web page', () => plain(200, '<html></html>', { 'content-type': 'text/html' })],
  ['is empty', () => plain(200, '')],
  ['is a list', () => plain(200, '[]')],
  ['is nested deep', () => plain(200, `{"event":${'['.repeat(50_000)}${']'.repeat(50_000)}}`)],
  ['is not UTF-8', () => (response) => void response.writeHead(200, json).end(Buffer.from([0xff]))],
  ['has an error of no kind', () => plain(418, 'teapot')],
  ['has an error without a code', () => plain(400, '{"error":5}')],
  ['has an error with a code that is none', () => plain(403, '{"errcode":{"a":1}}')],
  [
    'stops in the middle',
    () => (response) => {
      response.writeHead(200, { ...json, 'content-length': '1000' })
      response.write('{"event":')
      setTimeout(() => response.destroy(), 50)
    },
  ],
]
const quick = { params: { 1: 1 } }

/** A client joins a room whose server answers in this way, and then a room where it does what it should. */
async function expectError(writer: Writer): Promise<void> {
  await using peer = await createPeer()
  const alice = await register(server, 'alice')
  const bad = peer.createRoom('11')
  const good = peer.createRoom('11')
  const id = bad.roomId.replaceAll(/[^A-Za-z0-9!:]/g, '.')
  peer.on('GET', new RegExp(`/make_join/${id}/`), () => writer)
  const { status, body } = await alice.ask(
    'POST',
    `/_matrix/client/v3/join/${encodeURIComponent(bad.roomId)}`,
    { body: {}, query: { via: peer.name, server_name: peer.name } },
  )
  expect(status).toBeGreaterThanOrEqual(400)
  expect(body['errcode']).toEqual(expect.any(String))
  expect(peer.received.filter(({ path }) => path.includes('secret'))).toEqual([])
  // The same server may be asked again, and is believed when it answers well.
  await alice.join(good.roomId, [peer.name])
  await alice.syncUntil(inSection('join', good.roomId))
}

const redirected = itSynapseBreaks(
  'POST /join/{roomIdOrAlias} answers 200, 403 or 429. (It hands the other server’s redirect to its client.)',
)

describe('an answer that', () => {
  it.each(answers)('%s is an error to the client, and nothing more', (_, make) =>
    expectError(make()),
  )

  // Synapse then leaves the other server alone also when somebody waits for it, which nothing forbids.
  it.skipIf(underTestIsSynapse)('is cut off is an error to the client, and nothing more', () =>
    expectError((response) => void response.destroy()),
  )

  redirected('is a redirect is an error to the client, and is not followed', () =>
    expectError(plain(302, '{}', { location: '/_matrix/secret' })),
  )
})
