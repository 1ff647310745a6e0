import { describe, expect, it } from 'vitest'
import { signingKeyFromSeed } from '../spec/crypto/ed25519.ts'
import { parseServerName } from '../spec/ids.ts'
import {
  readCredentials,
  requireKey,
  requireSignature,
  type SignedRequest,
} from './authenticate.ts'
import { authorization } from './request.ts'

const us = parseServerName('us.example')
const them = parseServerName('them.example:8448')
const key = signingKeyFromSeed('ed25519:1', new Uint8Array(32).fill(7))
const keys = {
  senderKey: async (_: string, keyId: string) =>
    keyId === 'ed25519:1' ? key.publicKey : undefined,
}

describe('the X-Matrix header', () => {
  const read = (header: string | undefined) => readCredentials(header, us)

  it('is read quoted, unquoted, in any order and case, with spaces around commas', () => {
    const expected = { origin: them, destination: us, key: 'ed25519:1', sig: 'a/b+c' }
    expect(
      read(
        'X-Matrix origin="them.example:8448",destination="us.example",key="ed25519:1",sig="a/b+c"',
      ),
    ).toEqual(expected)
    expect(
      read(
        'x-matrix  KEY=ed25519:1 , sig="a/b+c",\tDestination=us.example, origin=them.example:8448',
      ),
    ).toEqual(expected)
    expect(read('X-Matrix origin="them\\.example:8448",key="ed25519:1",sig="a\\/b+c"')).toEqual({
      origin: them,
      key: 'ed25519:1',
      sig: 'a/b+c',
    })
  })

  it.each([
    ['is missing', undefined],
    ['has another scheme', 'Bearer abc'],
    ['has no origin', 'X-Matrix key="ed25519:1",sig="abc"'],
    ['has an origin that is no server name', 'X-Matrix origin="a b",key="ed25519:1",sig="abc"'],
    ['is for another server', 'X-Matrix origin=them.example,destination=other,key=k,sig=s'],
    ['says that we sent it', 'X-Matrix origin=us.example,destination=us.example,key=k,sig=s'],
    ['names a parameter twice', 'X-Matrix origin=a.example,origin=b.example,key=k,sig=s'],
    ['ends in the middle of a quoted value', 'X-Matrix origin=a.example,key=k,sig="s'],
  ])('is refused with 401 when it %s', (_, header) => {
    expect(() => read(header)).toThrow(
      expect.objectContaining({ errcode: 'M_UNAUTHORIZED', status: 401 }),
    )
  })
})

describe('the signature of a request', () => {
  function signed(method: string, uri: string, text?: string): [string, SignedRequest] {
    const header = authorization({ serverName: them, key }, us, { method, path: uri }, text)
    const content = text === undefined ? {} : { text, content: JSON.parse(text) }
    return [header, { method, uri, ...content }]
  }
  async function check(header: string, request: SignedRequest) {
    const credentials = readCredentials(header, us)
    return requireSignature(await requireKey(keys, credentials), credentials, request)
  }

  it('is accepted on a request without a body and on one with a body', async () => {
    await expect(check(...signed('GET', '/_matrix/x?a=b%20c'))).resolves.toBe(them)
    await expect(check(...signed('PUT', '/_matrix/x', '{"a":[1,"é"]}'))).resolves.toBe(them)
  })

  it('is accepted when the body came in another form than the canonical one', async () => {
    const [header, request] = signed('PUT', '/_matrix/x', '{"a":1,"b":"é"}')
    const loose = { ...request, text: '{ "b": "\\u00e9", "a": 1 }' }
    await expect(check(header, loose)).resolves.toBe(them)
  })

  it.each([
    ['method', { method: 'POST' }],
    ['path', { uri: '/_matrix/y' }],
    ['body', { text: '{"a":2}', content: { a: 2 } }],
  ])('is refused when the %s was changed', async (_, change) => {
    const [header, request] = signed('PUT', '/_matrix/x', '{"a":1}')
    await expect(check(header, { ...request, ...change })).rejects.toMatchObject({
      errcode: 'M_UNAUTHORIZED',
      status: 401,
    })
  })

  it('is refused when the key cannot be had', async () => {
    const [header, request] = signed('GET', '/_matrix/x')
    await expect(check(header.replace('ed25519:1', 'ed25519:2'), request)).rejects.toMatchObject({
      status: 401,
    })
  })
})
