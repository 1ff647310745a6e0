import { createHash } from 'node:crypto'
import { MockAgent } from 'undici'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { signingKeyFromSeed } from '../spec/crypto/ed25519.ts'
import { parseServerName, parseUserId } from '../spec/ids.ts'
import { createIdentity } from './identity.ts'

const origin = 'https://id.test'
const api = '/_matrix/identity/v2'
const server = { name: 'id.test', accessToken: 'secret' }
const bob = { medium: 'email', address: 'bob@example.org' }

const key = signingKeyFromSeed('ed25519:1', new Uint8Array(32))
let agent: MockAgent
beforeEach(() => {
  agent = new MockAgent()
  agent.disableNetConnect()
})
afterEach(() => agent.close())

const identity = () =>
  createIdentity({ dispatcher: agent, serverName: parseServerName('here.test'), key })
const answer = (method: string, path: string, body: object, status = 200) =>
  agent
    .get(origin)
    .intercept({ method, path, headers: { authorization: 'Bearer secret' } })
    .reply(status, JSON.stringify(body))

describe('an identity server', () => {
  it('is asked for an address by its hash alone', async () => {
    const hash = createHash('sha256').update('bob@example.org email salt').digest('base64url')
    answer('GET', `${api}/hash_details`, { lookup_pepper: 'salt', algorithms: ['none', 'sha256'] })
    const asked: unknown[] = []
    agent
      .get(origin)
      .intercept({ method: 'POST', path: `${api}/lookup` })
      .reply(200, ({ body }) => {
        asked.push(JSON.parse(String(body)))
        return JSON.stringify({ mappings: { [hash]: '@bob:there.test' } })
      })
    expect(await identity().lookUp(server, bob)).toBe('@bob:there.test')
    expect(asked).toEqual([{ algorithm: 'sha256', pepper: 'salt', addresses: [hash] }])
  })

  it('may know nobody of the address, or name somebody who is none', async () => {
    for (const mappings of [{}, { 'bob@example.org email': 'bob' }]) {
      answer('GET', `${api}/hash_details`, { lookup_pepper: 'salt', algorithms: ['none'] })
      answer('POST', `${api}/lookup`, { mappings })
      expect(await identity().lookUp(server, bob)).toBeUndefined()
    }
  })

  it('keeps an invite and answers its token and keys', async () => {
    const key = { public_key: 'abc', key_validity_url: `${origin}/valid` }
    const stored = { token: 'tok_1', display_name: 'b...@e...', public_keys: [key] }
    answer('POST', `${api}/store-invite`, stored, 200)
    expect(await identity().storeInvite(server, bob)).toEqual({
      ...{ token: 'tok_1', displayName: 'b...@e...' },
      keys: [{ publicKey: 'abc', validityUrl: `${origin}/valid` }],
    })
  })

  it.each([
    ['with a token that is none', 200, { token: 'a/b', display_name: '', public_keys: [] }],
    ['with something else', 200, { hello: 'world' }],
    ['with a failure', 500, {}],
  ])('that answers %s counts as one that does not', async (_, status, body) => {
    answer('POST', `${api}/store-invite`, body, status)
    await expect(identity().storeInvite(server, bob)).rejects.toMatchObject({
      ...{ errcode: 'M_CONNECTION_FAILED', status: 502 },
    })
  })

  it('that does not take the token says so to the client', async () => {
    answer('GET', `${api}/hash_details`, { errcode: 'M_UNAUTHORIZED' }, 401)
    await expect(identity().lookUp(server, bob)).rejects.toMatchObject({ errcode: 'M_FORBIDDEN' })
  })

  it('says whether a key still holds; silence and plain http say no', async () => {
    const asked = (key: string, body: object, status = 200) =>
      agent
        .get(origin)
        .intercept({ path: '/valid', query: { public_key: key } })
        .reply(status, JSON.stringify(body))
    asked('a+b', { valid: true })
    asked('gone', { valid: false })
    const { isKeyValid } = identity()
    expect(await isKeyValid(`${origin}/valid`, 'a+b')).toBe(true)
    expect(await isKeyValid(`${origin}/valid`, 'gone')).toBe(false)
    expect(await isKeyValid(`${origin}/valid`, 'unknown')).toBe(false)
    expect(await isKeyValid('http://id.test/valid', 'a+b')).toBe(false)
    expect(await isKeyValid('no url', 'a+b')).toBe(false)
  })

  it('binds an address that was proved there, and forgets it for who signs', async () => {
    const alice = parseUserId('@alice:here.test')
    const seen: unknown[] = []
    answer('POST', `${api}/3pid/bind`, { ...bob, mxid: alice, signatures: {} })
    const session = { sid: '1', clientSecret: 'c' }
    expect(await identity().bind(server, alice, session)).toEqual(bob)
    agent
      .get(origin)
      .intercept({ method: 'POST', path: `${api}/3pid/unbind` })
      .reply(200, ({ body, headers }) => {
        seen.push(JSON.parse(String(body)), JSON.stringify(headers))
        return '{}'
      })
    const of = { user: alice, ...bob }
    expect(await identity().unbind(parseServerName('id.test'), of)).toBe(true)
    const signed = 'X-Matrix origin=\\"here.test\\",destination=\\"id.test\\",key=\\"ed25519:1\\"'
    expect(seen).toEqual([{ mxid: alice, threepid: bob }, expect.stringContaining(signed)])
    agent
      .get(origin)
      .intercept({ method: 'POST', path: `${api}/3pid/unbind` })
      .reply(403, '{}')
    expect(await identity().unbind(parseServerName('id.test'), of)).toBe(false)
  })
})
