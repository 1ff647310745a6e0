import { describe, expect, it } from 'vitest'
import { type Client, login, register } from '../harness/client.ts'
import { itSynapseBreaks } from '../harness/exceptions.ts'
import { server } from '../harness/fixtures.ts'
import { type Body, path } from '../harness/http.ts'

const keysPath = '/_matrix/client/v3/room_keys/keys'
const versionPath = '/_matrix/client/v3/room_keys/version'
const room = '!somewhere:example.org'

const session = (index: number, forwarded: number, verified: boolean, data = 'secret'): Body => ({
  first_message_index: index,
  forwarded_count: forwarded,
  is_verified: verified,
  session_data: { data },
})

async function createVersion(client: Client): Promise<string> {
  const body = { algorithm: 'm.megolm_backup.v1.curve25519-aes-sha2', auth_data: { key: 'x' } }
  return String((await client.call('POST', versionPath, { body }))['version'])
}

async function withBackup() {
  const alice = await register(server)
  const version = await createVersion(alice)
  const where = (parts: readonly string[]) => path(keysPath, ...parts)
  return {
    alice,
    version,
    put: (parts: readonly string[], body: Body) =>
      alice.call('PUT', where(parts), { body, query: { version } }),
    get: (...parts: string[]) => alice.call('GET', where(parts), { query: { version } }),
    delete: (...parts: string[]) => alice.call('DELETE', where(parts), { query: { version } }),
  }
}

describe('a backed-up room key', () => {
  it.each([
    {
      kept: session(10, 5, false),
      worse: [
        [11, 5, false],
        [10, 6, false],
        [11, 6, false],
      ] as const,
    },
    {
      kept: session(10, 5, true),
      worse: [
        [11, 5, false],
        [10, 6, false],
        [11, 6, false],
        [11, 5, true],
        [10, 6, true],
        [11, 0, true],
      ] as const,
    },
  ])('is not replaced by a worse one, verified: $kept.is_verified', async ({ kept, worse }) => {
    const backup = await withBackup()
    const first = await backup.put([room, 'a'], kept)
    for (const [index, forwarded, verified] of worse) {
      const answer = await backup.put([room, 'a'], session(index, forwarded, verified, 'worse'))
      expect(answer).toMatchObject({ count: 1, etag: first['etag'] })
      expect(await backup.get(room, 'a')).toEqual(kept)
    }
  })

  itSynapseBreaks(
    'if the keys have different values for is_verified, then it will keep the key that has is_verified set to true',
  )('that is verified is not replaced by an unverified one that begins earlier', async () => {
    const backup = await withBackup()
    await backup.put([room, 'a'], session(9, 9, true))
    await backup.put([room, 'a'], session(0, 0, false, 'worse'))
    expect(await backup.get(room, 'a')).toEqual(session(9, 9, true))
  })

  it.each([
    ['a verified one', session(0, 0, false), session(9, 9, true)],
    ['one that begins earlier', session(5, 0, true), session(4, 9, true)],
    ['one that was forwarded less', session(5, 5, true), session(5, 4, true)],
  ])('is replaced by %s', async (_, stored, better) => {
    const backup = await withBackup()
    const first = await backup.put([room, 'a'], stored)
    const second = await backup.put([room, 'a'], better)
    expect(second['count']).toBe(1)
    expect(second['etag']).not.toBe(first['etag'])
    expect(await backup.get(room, 'a')).toEqual(better)
  })
})

describe('room keys', () => {
  it('are stored and read one by one, by room and all together', async () => {
    const backup = await withBackup()
    const [one, two, three] = [session(1, 0, true), session(2, 0, true), session(3, 0, true)]
    expect(await backup.put([room, 's/1'], one)).toMatchObject({ count: 1 })
    expect(await backup.put([room], { sessions: { two } })).toMatchObject({ count: 2 })
    const other = '!elsewhere:example.org'
    const rooms = { [other]: { sessions: { three } } }
    expect(await backup.put([], { rooms })).toMatchObject({ count: 3 })
    expect(await backup.get(room)).toEqual({ sessions: { 's/1': one, two } })
    expect(await backup.get()).toEqual({
      rooms: { ...rooms, [room]: { sessions: { 's/1': one, two } } },
    })
    expect(await backup.alice.call('GET', versionPath)).toMatchObject({ count: 3 })
  })

  it('are deleted one by one, by room and all together', async () => {
    const backup = await withBackup()
    const other = '!elsewhere:example.org'
    const sessions = { a: session(1, 0, true), b: session(1, 0, true) }
    const { etag } = await backup.put([], {
      rooms: { [room]: { sessions }, [other]: { sessions } },
    })
    const first = await backup.delete(room, 'a')
    expect(first).toMatchObject({ count: 3 })
    expect(first['etag']).not.toBe(etag)
    expect(await backup.delete(other)).toMatchObject({ count: 1 })
    expect(await backup.get(other)).toEqual({ sessions: {} })
    expect(await backup.delete()).toMatchObject({ count: 0 })
    expect(await backup.get()).toEqual({ rooms: {} })
  })

  it('are seen by every device of the user, and by nobody else', async () => {
    const backup = await withBackup()
    await backup.put([room, 'a'], session(1, 0, true))
    const phone = await login(server, backup.alice.userId)
    const query = { version: backup.version }
    expect(await phone.call('GET', path(keysPath, room, 'a'), { query })).toEqual(
      session(1, 0, true),
    )
    const mallory = await register(server)
    const refused = await mallory.ask('GET', path(keysPath, room, 'a'), { query })
    expect(refused).toMatchObject({ status: 404, body: { errcode: 'M_NOT_FOUND' } })
  })

  it('that are not there are not found one by one, and are nothing by room', async () => {
    const backup = await withBackup()
    const where = path(keysPath, room, 'none')
    const refused = await backup.alice.ask('GET', where, { query: { version: backup.version } })
    expect(refused).toMatchObject({ status: 404, body: { errcode: 'M_NOT_FOUND' } })
    expect(await backup.get(room)).toEqual({ sessions: {} })
  })

  it('go into the newest backup only', async () => {
    const backup = await withBackup()
    await createVersion(backup.alice)
    const old = await backup.alice.ask('PUT', path(keysPath, room, 'a'), {
      query: { version: backup.version },
      body: session(1, 0, true),
    })
    expect(old).toMatchObject({
      status: 403,
      body: { errcode: 'M_WRONG_ROOM_KEYS_VERSION' },
    })
    const unknown = await backup.alice.ask('PUT', path(keysPath, room, 'a'), {
      query: { version: '999' },
      body: session(1, 0, true),
    })
    expect(unknown.status).not.toBe(200)
  })
})

describe('a version of the backup', () => {
  it('is the newest that is not deleted', async () => {
    const alice = await register(server)
    const none = await alice.ask('GET', versionPath)
    expect(none).toMatchObject({ status: 404, body: { errcode: 'M_NOT_FOUND' } })
    const first = await createVersion(alice)
    const second = await createVersion(alice)
    expect(second).not.toBe(first)
    expect(await alice.call('GET', versionPath)).toMatchObject({ version: second, count: 0 })
    await alice.call('DELETE', path(versionPath, second))
    expect(await alice.call('GET', versionPath)).toMatchObject({ version: first })
    const gone = await alice.ask('GET', path(versionPath, second))
    expect(gone).toMatchObject({ status: 404, body: { errcode: 'M_NOT_FOUND' } })
  })

  it('changes its auth_data, but not its algorithm', async () => {
    const alice = await register(server)
    const version = await createVersion(alice)
    const put = (algorithm: string, more: Body = {}) =>
      alice.ask('PUT', path(versionPath, version), {
        body: { algorithm, auth_data: { key: 'y' }, ...more },
      })
    const algorithm = 'm.megolm_backup.v1.curve25519-aes-sha2'
    expect((await put(algorithm)).status).toBe(200)
    expect(await alice.call('GET', versionPath)).toMatchObject({ auth_data: { key: 'y' } })
    expect(await put('other')).toMatchObject({ status: 400, body: { errcode: 'M_INVALID_PARAM' } })
    expect(await put(algorithm, { version: '77' })).toMatchObject({
      status: 400,
      body: { errcode: 'M_INVALID_PARAM' },
    })
  })
})
