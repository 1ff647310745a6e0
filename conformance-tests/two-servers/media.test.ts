import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Client, register } from '../harness/client.ts'
import { mediaPathOf, picture, upload } from '../harness/media.ts'
import { type Federation, startFederation } from '../harness/pair.ts'
import { launcherUnderTest, secondLauncher, urlUnderTest } from '../harness/settings.ts'

let federation: Federation | undefined

beforeAll(async () => {
  if (urlUnderTest !== undefined) return
  federation = await startFederation([
    { launcher: launcherUnderTest },
    { launcher: secondLauncher },
  ])
})
afterAll(() => federation?.[Symbol.asyncDispose]())

async function people(): Promise<{ alice: Client; bob: Client }> {
  const [home, away] = federation?.servers ?? []
  if (!home || !away) throw new Error('two servers')
  const [alice, bob] = await Promise.all([register(home, 'alice'), register(away, 'bob')])
  return { alice, bob }
}

const downloads = ['/_matrix/client/v1/media/download', '/_matrix/media/v3/download']
const thumbnails = ['/_matrix/client/v1/media/thumbnail', '/_matrix/media/v3/thumbnail']

describe.skipIf(urlUnderTest !== undefined)('a file of another server', () => {
  it.each(downloads)('is downloaded with its name: %s', async (where) => {
    const { alice, bob } = await people()
    for (const [from, to] of [
      [alice, bob],
      [bob, alice],
    ] as const) {
      const uri = await upload(from, 'hello', { filename: '☕.txt', type: 'text/plain' })
      const answer = await to.ask('GET', mediaPathOf(where, uri))
      expect([answer.status, answer.text]).toEqual([200, 'hello'])
      expect(answer.headers.get('content-type')).toMatch(/^text\/plain/)
      expect(answer.headers.get('content-disposition')?.toLowerCase()).toMatch(
        /^inline; *filename\*=utf-8''%e2%98%95\.txt$/,
      )
    }
  })

  it.each(downloads)('is downloaded without a name when it has none: %s', async (where) => {
    const { alice, bob } = await people()
    const uri = await upload(alice, 'hello')
    const answer = await bob.ask('GET', mediaPathOf(where, uri))
    expect([answer.status, answer.text]).toEqual([200, 'hello'])
    expect(answer.headers.get('content-disposition')).not.toContain('filename')
  })

  it.each(thumbnails)('is shown small when it is a picture: %s', async (where) => {
    const { alice, bob } = await people()
    const uri = await upload(alice, picture, { type: 'image/png' })
    const query = { width: 32, height: 32, method: 'scale' }
    const answer = await bob.ask('GET', mediaPathOf(where, uri), { query })
    expect([answer.status, answer.headers.get('content-type')]).toEqual([200, 'image/png'])
    expect(answer.text).toContain('PNG')
  })

  it('that is not there is not found', async () => {
    const { alice, bob } = await people()
    const uri = `mxc://${alice.server.name}/nothingwasuploaded`
    const answer = await bob.ask('GET', mediaPathOf(downloads[0] ?? '', uri))
    expect(answer).toMatchObject({ status: 404, body: { errcode: 'M_NOT_FOUND' } })
  })
})
