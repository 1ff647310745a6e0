import { describe, expect, it } from 'vitest'
import { itSynapseBreaks } from '../harness/exceptions.ts'
import { server } from '../harness/fixtures.ts'
import { isBody } from '../harness/http.ts'
import { createPeer } from '../harness/peer.ts'
import { authorization } from '../harness/peer-http.ts'
import { createSigningKey, verifyObject } from '../harness/signing.ts'

describe('the keys of a server', () => {
  it('are published, valid for a time, and signed by themselves', async () => {
    await using peer = await createPeer()
    const keys = await peer.keysOf(server.name)
    expect(keys).toMatchObject({ server_name: server.name, valid_until_ts: expect.any(Number) })
    expect(Number(keys['valid_until_ts'])).toBeGreaterThan(Date.now())
    const verifyKeys = Object.entries(isBody(keys['verify_keys']) ? keys['verify_keys'] : {})
    expect(verifyKeys.length).toBeGreaterThan(0)
    for (const [id, value] of verifyKeys) {
      expect(id).toMatch(/^ed25519:/)
      expect(verifyObject(keys, server.name, id, String(Object(value)['key']))).toBe(true)
    }
  })

  it('of others are told by the server as a notary, with its own signature', async () => {
    await using peer = await createPeer()
    const own = await peer.keysOf(server.name)
    // A signed request makes the server fetch the keys.
    await peer.ask(server, 'GET', '/_matrix/federation/v1/query/profile?user_id=x')
    const { status, body } = await peer.plain(server.name, {
      method: 'GET',
      uri: `/_matrix/key/v2/query/${peer.name}`,
    })
    expect(status).toBe(200)
    const answers: unknown[] = Array.isArray(body['server_keys']) ? body['server_keys'] : []
    const found = answers.filter(isBody).find((one) => one['server_name'] === peer.name)
    expect(found?.['verify_keys']).toMatchObject({ [peer.key.id]: { key: peer.key.publicKey } })
    const [id = '', value] = Object.entries(Object(own['verify_keys']))[0] ?? []
    expect(verifyObject(found ?? {}, peer.name, peer.key.id, peer.key.publicKey)).toBe(true)
    expect(verifyObject(found ?? {}, server.name, id, String(Object(value)['key']))).toBe(true)
  })
})

describe('a notary', () => {
  const ask = async (peer: Awaited<ReturnType<typeof createPeer>>, keys: object) => {
    const { status, body } = await peer.plain(server.name, {
      ...{ method: 'POST', uri: '/_matrix/key/v2/query', body: { server_keys: keys } },
    })
    expect(status).toBe(200)
    return Array.isArray(body['server_keys']) ? body['server_keys'].filter(isBody) : []
  }

  it('tells the keys of several servers, its own too, and nothing of those that are silent', async () => {
    await using peer = await createPeer()
    await using other = await createPeer()
    const [own = ''] = Object.keys(Object((await peer.keysOf(server.name))['verify_keys']))
    const until = Date.now() + 3_600_000
    const wanted = (id: string) => ({ [id]: { minimum_valid_until_ts: until } })
    const answers = await ask(peer, {
      ...{ [peer.name]: wanted(peer.key.id), [other.name]: wanted(other.key.id) },
      ...{ [server.name]: wanted(own), 'localhost:1': wanted('ed25519:1') },
    })
    expect(answers.map((one) => String(one['server_name'])).sort()).toEqual(
      [peer.name, other.name, server.name].sort(),
    )
    for (const { name, key } of [peer, other]) {
      const found = answers.find((one) => one['server_name'] === name) ?? {}
      expect(verifyObject(found, name, key.id, key.publicKey)).toBe(true)
      expect(Object.keys(Object(found['signatures']))).toContain(server.name)
    }
    expect(await ask(peer, {})).toEqual([])
  })

  itSynapseBreaks(
    'If no key IDs are given to be queried, the notary server should query for all keys.',
  )('asks for all keys of a server when none is named', async () => {
    await using peer = await createPeer()
    expect(await ask(peer, { [peer.name]: {} })).toMatchObject([{ server_name: peer.name }])
  })

  it('still tells the keys of a server that is gone', async () => {
    const gone = await createPeer()
    await using peer = await createPeer()
    const keys = (until: number) =>
      ask(peer, { [gone.name]: { [gone.key.id]: { minimum_valid_until_ts: until } } })
    expect(await keys(Date.now())).toHaveLength(1)
    await gone[Symbol.asyncDispose]()
    const later = Date.now() + 365 * 86_400_000
    expect(await keys(later)).toMatchObject([{ server_name: gone.name }])
  })
})

describe('a request between servers', () => {
  const uri = '/_matrix/federation/v1/query/profile?user_id=x'

  it('is refused without a signature', async () => {
    await using peer = await createPeer()
    const { status, body } = await peer.plain(server.name, { method: 'GET', uri })
    expect(status).toBe(401)
    expect(body['errcode']).toMatch(/^M_(UNAUTHORIZED|FORBIDDEN)$/)
  })

  it('is refused with the signature of another request or another key', async () => {
    await using peer = await createPeer()
    const request = { method: 'GET', uri }
    const headers = [
      authorization({ ...request, uri: `${uri}&a=b` }, peer.name, server.name, peer.key),
      authorization(request, peer.name, server.name, createSigningKey(peer.key.id)),
      authorization(request, peer.name, server.name, createSigningKey()),
    ]
    for (const header of headers) {
      const { status } = await peer.plain(server.name, {
        ...request,
        headers: { authorization: header },
      })
      expect(status).toBe(401)
    }
  })

  it('is refused when it was meant for another server', async () => {
    await using peer = await createPeer()
    const request = { method: 'GET', uri }
    const header = authorization(request, peer.name, 'elsewhere.example', peer.key)
    const { status } = await peer.plain(server.name, {
      ...request,
      headers: { authorization: header },
    })
    expect(status).toBe(401)
  })

  it('to nowhere is unrecognized', async () => {
    await using peer = await createPeer()
    for (const path of [
      '/_matrix/federation/v1/nothing',
      '/_matrix/federation/unknown',
      '/_matrix/key/unknown',
    ]) {
      expect(await peer.ask(server, 'GET', path)).toMatchObject({
        status: 404,
        body: { errcode: 'M_UNRECOGNIZED' },
      })
    }
  })

  it('tells the server’s name and version to anybody', async () => {
    await using peer = await createPeer()
    const { body } = await peer.plain(server.name, {
      method: 'GET',
      uri: '/_matrix/federation/v1/version',
    })
    expect(body).toMatchObject({
      server: { name: expect.any(String), version: expect.any(String) },
    })
  })
})
