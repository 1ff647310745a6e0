import { describe, expect, it, vi } from 'vitest'
import type { KeysOfServer } from '../../homeserver/keys/remote-keys.ts'
import { FakeClock } from '../../homeserver/platform/fake-clock.ts'
import { signingKeyFromSeed } from '../../spec/crypto/ed25519.ts'
import { signJson, verifyJson } from '../../spec/crypto/sign-json.ts'
import { parseServerName } from '../../spec/ids.ts'
import { arrayAt, isObject, type JsonObject, objectAt } from '../../spec/json.ts'
import { keyRoutes } from './keys.ts'

const us = parseServerName('us.test')
const them = parseServerName('them.test')
const key = signingKeyFromSeed('ed25519:us', new Uint8Array(32).fill(1))
const theirs = signingKeyFromSeed('ed25519:them', new Uint8Array(32).fill(2))
const clock = new FakeClock()
const hourMs = 3_600_000

function published(validUntil: number): string {
  return JSON.stringify(
    signJson(
      {
        ...{ server_name: them, valid_until_ts: validUntil, verify_keys: {} },
        old_verify_keys: { [theirs.keyId]: { key: theirs.publicKey, expired_ts: 1 } },
      },
      them,
      theirs,
    ),
  )
}

/** The routes of a server that knows the keys of another. */
function notary() {
  const refresh = vi.fn(async () => {})
  const validUntil = clock.now() + hourMs
  const own: KeysOfServer = new Map([
    [key.keyId, { publicKey: key.publicKey, validUntil: Number.MAX_SAFE_INTEGER }],
    ['ed25519:old', { publicKey: 'OLD', validUntil: 5, expiredAt: 5 }],
  ])
  const routes = keyRoutes({
    ...{ serverName: us, key, own, clock },
    store: {
      keysOf: async () => new Map(),
      store: async () => {},
      published: async (servers) =>
        new Map(servers.map((server) => [server, { validUntil, json: published(validUntil) }])),
    },
    keys: { verifyKey: async () => undefined, senderKey: async () => undefined, refresh },
  })
  return {
    refresh,
    validUntil,
    async ask(name: string, params: Record<string, string>, body?: JsonObject) {
      const route = routes.find(({ endpoint }) => endpoint.name === name)
      const text = await route?.serve({ params, query: {}, body }, undefined)
      const answer: unknown = JSON.parse(String(text))
      return isObject(answer) ? answer : {}
    },
  }
}

describe('a notary', () => {
  it('adds its signature to what it knows, and asks nobody while that holds', async () => {
    const { ask, refresh } = notary()
    const criteria = { [theirs.keyId]: { minimum_valid_until_ts: clock.now() + hourMs } }
    const answer = await ask('queryServerKeys', {}, { server_keys: { [them]: criteria } })
    const [found] = arrayAt(answer, 'server_keys') ?? []
    if (!isObject(found)) throw new Error('no keys')
    expect(verifyJson(found, them, theirs.keyId, theirs.publicKey)).toBe(true)
    expect(verifyJson(found, us, key.keyId, key.publicKey)).toBe(true)
    expect(refresh).not.toHaveBeenCalled()
  })

  it('asks a server for keys that are valid for longer', async () => {
    const { ask, refresh, validUntil } = notary()
    const criteria = { [theirs.keyId]: { minimum_valid_until_ts: validUntil + 1 } }
    await ask('queryServerKeys', {}, { server_keys: { [them]: criteria } })
    expect(refresh).toHaveBeenCalledWith(them)
  })

  it('asks a server for a key that it did not have', async () => {
    const { ask, refresh } = notary()
    await ask('getQueriedServerKeys', { serverName: them, keyId: theirs.keyId })
    expect(refresh).not.toHaveBeenCalled()
    await ask('getQueriedServerKeys', { serverName: them, keyId: 'ed25519:other' })
    expect(refresh).toHaveBeenCalledWith(them)
  })
})

it('publishes its keys, and those that it used before as such', async () => {
  const keys = await notary().ask('getServerKeys', {})
  expect(objectAt(keys, 'verify_keys')).toEqual({ [key.keyId]: { key: key.publicKey } })
  expect(keys['old_verify_keys']).toEqual({ 'ed25519:old': { key: 'OLD', expired_ts: 5 } })
  expect(verifyJson(keys, us, key.keyId, key.publicKey)).toBe(true)
})
