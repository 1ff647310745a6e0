import { beforeEach, describe, expect, it } from 'vitest'
import type { Published, RemoteKey, RemoteKeys } from '../homeserver/keys/remote-keys.ts'
import { FakeClock } from '../homeserver/platform/fake-clock.ts'
import { silentLogger } from '../homeserver/platform/log.ts'
import { type SigningKey, signingKeyFromSeed } from '../spec/crypto/ed25519.ts'
import { signJson } from '../spec/crypto/sign-json.ts'
import { MatrixError } from '../spec/errors.ts'
import { parseServerName, type ServerName } from '../spec/ids.ts'
import type { Json, JsonObject } from '../spec/json.ts'
import { createKeyRing } from './key-ring.ts'

const us = parseServerName('us.example')
const them = parseServerName('them.example')
const notary = parseServerName('notary.example')
const day = 24 * 3_600_000
const key = signingKeyFromSeed('ed25519:new', new Uint8Array(32).fill(1))
const oldKey = signingKeyFromSeed('ed25519:old', new Uint8Array(32).fill(2))
const notaryKey = signingKeyFromSeed('ed25519:n', new Uint8Array(32).fill(3))
const ourKey = signingKeyFromSeed('ed25519:us', new Uint8Array(32).fill(4))

let clock: FakeClock
let calls: string[]
/** What servers answer by `server method path`; a server without answer is down. */
let answers: Map<string, Json>
let ring: ReturnType<typeof createKeyRing>

function memoryStore(): RemoteKeys {
  const known = new Map<ServerName, Map<string, RemoteKey>>()
  const published = new Map<ServerName, Published>()
  return {
    keysOf: async (server) => known.get(server) ?? new Map(),
    store: async (server, keys, answer) => {
      known.set(server, new Map([...(known.get(server) ?? []), ...keys]))
      published.set(server, answer)
    },
    published: async () => published,
  }
}

function keysOf(server: ServerName, signer: SigningKey, more: JsonObject = {}): JsonObject {
  const keys = {
    server_name: server,
    verify_keys: { [signer.keyId]: { key: signer.publicKey } },
    old_verify_keys: {},
    valid_until_ts: clock.now() + day,
    ...more,
  }
  return signJson(keys, server, signer)
}

const get = (server: ServerName) => `${server} GET /_matrix/key/v2/server`

beforeEach(() => {
  clock = new FakeClock()
  calls = []
  answers = new Map()
  ring = createKeyRing({
    ...needs(),
    client: {
      async call(server, { method, path }) {
        const asked = `${server} ${method} ${path}`
        calls.push(asked)
        const answer = answers.get(asked)
        if (answer === undefined) throw new MatrixError('M_CONNECTION_FAILED', 'down')
        return answer
      },
    },
    notaries: [notary],
  })
})

function needs() {
  const current = { publicKey: ourKey.publicKey, validUntil: Infinity }
  const own = new Map([['ed25519:us', current]])
  return { serverName: us, own, store: memoryStore(), clock, log: silentLogger }
}

describe('the key ring', () => {
  it('knows our own keys without asking', async () => {
    expect(await ring.verifyKey(us, 'ed25519:us', clock.now())).toBe(ourKey.publicKey)
    expect(await ring.verifyKey(us, 'ed25519:other', clock.now())).toBeUndefined()
    expect(calls).toEqual([])
  })

  it('asks a server once, however many want its key', async () => {
    answers.set(get(them), keysOf(them, key))
    const asked = [1, 2, 3].map(() => ring.verifyKey(them, 'ed25519:new', clock.now()))
    expect(await Promise.all(asked)).toEqual([key.publicKey, key.publicKey, key.publicKey])
    expect(await ring.verifyKey(them, 'ed25519:new', clock.now())).toBe(key.publicKey)
    expect(calls).toEqual([get(them)])
  })

  it('lets an old key verify only what is older than its end', async () => {
    const end = clock.now() - day
    const old_verify_keys = { 'ed25519:old': { key: oldKey.publicKey, expired_ts: end } }
    answers.set(get(them), keysOf(them, key, { old_verify_keys }))
    expect(await ring.verifyKey(them, 'ed25519:old', end)).toBe(oldKey.publicKey)
    expect(await ring.verifyKey(them, 'ed25519:old', end + 1)).toBeUndefined()
  })

  it('asks again when what is to be verified is newer than the key’s validity', async () => {
    answers.set(get(them), keysOf(them, key))
    await ring.verifyKey(them, 'ed25519:new', clock.now())
    await clock.advance(2 * day)
    answers.set(get(them), keysOf(them, key))
    expect(await ring.verifyKey(them, 'ed25519:new', clock.now())).toBe(key.publicKey)
    expect(calls).toHaveLength(2)
  })

  it('believes no validity beyond seven days', async () => {
    answers.set(get(them), keysOf(them, key, { valid_until_ts: clock.now() + 1000 * day }))
    expect(await ring.verifyKey(them, 'ed25519:new', clock.now() + 7 * day)).toBe(key.publicKey)
    expect(await ring.verifyKey(them, 'ed25519:new', clock.now() + 7 * day + 1)).toBeUndefined()
  })

  it('still verifies what was signed in time when the server is gone', async () => {
    answers.set(get(them), keysOf(them, key))
    await ring.verifyKey(them, 'ed25519:new', clock.now())
    const signedAt = clock.now()
    answers.clear()
    await clock.advance(30 * day)
    expect(await ring.verifyKey(them, 'ed25519:new', signedAt)).toBe(key.publicKey)
    expect(await ring.verifyKey(them, 'ed25519:new', clock.now())).toBeUndefined()
  })

  it('leaves a server that is down alone for longer and longer', async () => {
    const ask = () => ring.verifyKey(them, 'ed25519:new', clock.now())
    const direct = () => calls.filter((call) => call === get(them)).length
    await ask()
    await ask()
    expect(direct()).toBe(1)
    await clock.advance(5_000)
    await ask()
    expect(direct()).toBe(2)
    await clock.advance(5_000)
    await ask()
    expect(direct()).toBe(2)
    await clock.advance(5_000)
    await ask()
    expect(direct()).toBe(3)
  })

  it('asks a server that is down at most every ten minutes, in the end', async () => {
    const asked = () => calls.filter((call) => call === get(them)).length
    for (let n = 0; n < 12; n++) {
      await ring.verifyKey(them, 'ed25519:new', clock.now())
      await clock.advance(600_000)
    }
    const before = asked()
    await ring.verifyKey(them, 'ed25519:new', clock.now())
    expect(asked()).toBe(before + 1)
    await clock.advance(599_999)
    await ring.verifyKey(them, 'ed25519:new', clock.now())
    expect(asked()).toBe(before + 1)
  })

  it('asks a server that answers at most every minute for keys that it does not have', async () => {
    answers.set(get(them), keysOf(them, key))
    for (let minute = 0; minute < 60; minute++) {
      for (let n = 0; n < 6; n++) {
        expect(await ring.senderKey(them, `ed25519:made-up-${n}`)).toBeUndefined()
        await clock.advance(10_000)
      }
    }
    expect(calls.length).toBeLessThanOrEqual(65)
    // One that it does have is known all the while.
    expect(await ring.senderKey(them, 'ed25519:new')).toBe(key.publicKey)
  })

  it('asks few servers at a time for who says that it sends a request', async () => {
    let underWay = 0
    let most = 0
    let answer = () => {}
    const answered = new Promise<void>((resolve) => {
      answer = resolve
    })
    const slow = createKeyRing({
      ...needs(),
      client: {
        async call() {
          most = Math.max(most, ++underWay)
          await answered
          underWay--
          throw new MatrixError('M_CONNECTION_FAILED', 'down')
        },
      },
    })
    const asked = Array.from({ length: 1_000 }, (_, n) =>
      slow.senderKey(parseServerName(`s${n}.example`), 'ed25519:x'),
    )
    await clock.advance(0)
    expect(most).toBe(20)
    // An event’s signer does not wait for them, also when it waits among them.
    const other = slow.verifyKey(parseServerName('s99.example'), 'ed25519:x', clock.now())
    await clock.advance(0)
    expect(most).toBe(21)
    answer()
    expect(new Set(await Promise.all([...asked, other]))).toEqual(new Set([undefined]))
    expect(most).toBe(21)
  })

  it.each([
    ['are not signed with themselves', () => signJson(keysOf(them, key), them, oldKey), false],
    ['are signed by nobody', () => ({ ...keysOf(them, key), signatures: {} }), true],
    ['are those of another server', () => keysOf(notary, key), true],
    ['were changed after signing', () => ({ ...keysOf(them, key), valid_until_ts: 5 }), true],
    ['have no validity', () => signJson({ server_name: them, verify_keys: {} }, them, key), true],
  ])('treats keys that %s as they deserve', async (_, answer, isRefused) => {
    answers.set(get(them), answer())
    const found = await ring.verifyKey(them, 'ed25519:new', clock.now())
    expect(found).toBe(isRefused ? undefined : key.publicKey)
  })

  it('asks a notary for the keys of a server that is down, and checks both signatures', async () => {
    answers.set(get(notary), keysOf(notary, notaryKey))
    const asked = `${notary} POST /_matrix/key/v2/query`
    answers.set(asked, { server_keys: [keysOf(them, key)] })
    expect(await ring.verifyKey(them, 'ed25519:new', clock.now())).toBeUndefined()
    await clock.advance(5_000)
    answers.set(asked, { server_keys: [signJson(keysOf(them, key), notary, notaryKey)] })
    expect(await ring.verifyKey(them, 'ed25519:new', clock.now())).toBe(key.publicKey)
  })
})
