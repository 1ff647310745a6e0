import { describe, expect, it } from 'vitest'
import { type Client, login, password, register } from '../harness/client.ts'
import { createDeviceKeys, crossSigningKeys } from '../harness/device-keys.ts'
import { joinedRoom, server } from '../harness/fixtures.ts'
import type { Body } from '../harness/http.ts'

const v3 = '/_matrix/client/v3'
const upload = (client: Client, body: Body) =>
  client.ask('POST', `${v3}/keys/device_signing/upload`, { body })

function byPassword(client: Client, session: unknown): Body {
  const identifier = { type: 'm.id.user', user: client.userId }
  return { auth: { type: 'm.login.password', identifier, password, session } }
}

describe('cross-signing keys', () => {
  it('are uploaded a first time, and the same ones again, without authentication', async () => {
    const alice = await register(server)
    const { master, selfSigning } = crossSigningKeys(alice.userId)
    const keys = { master_key: master, self_signing_key: selfSigning }
    for (let i = 0; i < 2; i++) {
      expect(await upload(alice, keys)).toMatchObject({ status: 200, body: {} })
    }
    const answer = await alice.call('POST', `${v3}/keys/query`, {
      body: { device_keys: { [alice.userId]: [] } },
    })
    expect(answer).toMatchObject({
      master_keys: { [alice.userId]: { keys: master['keys'] } },
      self_signing_keys: { [alice.userId]: { keys: selfSigning['keys'] } },
    })
  })

  it('are replaced only after authentication', async () => {
    const alice = await register(server)
    await upload(alice, { master_key: crossSigningKeys(alice.userId).master })
    const other = { master_key: crossSigningKeys(alice.userId).master }
    const refused = await upload(alice, other)
    expect(refused.status).toBe(401)
    expect(refused.body).toMatchObject({ flows: [{ stages: ['m.login.password'] }] })
    const auth = byPassword(alice, refused.body['session'])
    expect((await upload(alice, { ...other, ...auth })).status).toBe(200)
  })

  it('are added to a master key only after authentication, and again with it', async () => {
    const alice = await register(server)
    const { master, selfSigning } = crossSigningKeys(alice.userId)
    await upload(alice, { master_key: master })
    const more = { self_signing_key: selfSigning }
    const refused = await upload(alice, more)
    expect(refused.status).toBe(401)
    expect(refused.body).toHaveProperty('flows')
    const confirmed = { ...more, ...byPassword(alice, refused.body['session']) }
    for (let i = 0; i < 2; i++) expect((await upload(alice, confirmed)).status).toBe(200)
  })

  it('that come again are no news to those who share a room', async () => {
    const { alice, bob } = await joinedRoom()
    const { master } = crossSigningKeys(alice.userId)
    const { next_batch: since } = await bob.sync()
    await upload(alice, { master_key: master })
    const first = await bob.syncUntil(
      ({ device_lists: lists }) => lists.changed.includes(alice.userId),
      { since },
    )
    await upload(alice, { master_key: master })
    const later = await bob.sync({ since: first.next_batch })
    expect(later.device_lists.changed).not.toContain(alice.userId)
  })

  it('have to be the user’s own, and signed by the master key', async () => {
    const [alice, bob] = await Promise.all([register(server), register(server)])
    const foreign = await upload(alice, { master_key: crossSigningKeys(bob.userId).master })
    expect(foreign.status).toBe(400)
    const { master } = crossSigningKeys(alice.userId)
    const { selfSigning } = crossSigningKeys(alice.userId)
    const unsigned = await upload(alice, { master_key: master, self_signing_key: selfSigning })
    expect(unsigned.status).toBe(400)
  })
})

describe('keys of a device that is gone', () => {
  it('are queried no more, nor claimed', async () => {
    const { alice, bob } = await joinedRoom()
    const phone = await login(server, alice.userId)
    for (const one of [alice, phone]) {
      const { deviceKeys } = createDeviceKeys(one)
      await one.call('POST', `${v3}/keys/upload`, { body: { device_keys: deviceKeys } })
    }
    const devices = async () => {
      const body = { device_keys: { [alice.userId]: [] } }
      const answer = await bob.call('POST', `${v3}/keys/query`, { body })
      return Object.keys(Object(Object(answer['device_keys'])[alice.userId])).sort()
    }
    expect(await devices()).toEqual([alice.deviceId, phone.deviceId].sort())
    await phone.call('POST', `${v3}/logout`, { body: {} })
    expect(await devices()).toEqual([alice.deviceId])
  })
})
