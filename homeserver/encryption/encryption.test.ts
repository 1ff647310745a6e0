import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { MatrixError } from '../../spec/errors.ts'
import { parseUserId } from '../../spec/ids.ts'
import {
  crossSigningKey,
  deviceKeys,
  far,
  person,
  roomNamed,
  signedBy,
  signerOf,
  type TestEncryption,
  testEncryption,
} from './test-encryption.ts'

let test: TestEncryption
beforeAll(async () => {
  test = await testEncryption()
})
afterAll(() => test[Symbol.asyncDispose]())

const key = (n: number) => ({ key: `key${n}`, signatures: {} })

describe('uploading keys', () => {
  it('counts what is stored, and nothing twice', async () => {
    const alice = person(test, 'alice')
    const body = {
      device_keys: deviceKeys(alice),
      one_time_keys: { 'signed_curve25519:A': key(1), 'signed_curve25519:B': key(2) },
      fallback_keys: { 'signed_curve25519:F': { key: 'f', fallback: true } },
    }
    expect(await test.encryption.upload(alice, {})).toEqual({ signed_curve25519: 0 })
    expect(await test.encryption.upload(alice, body)).toEqual({ signed_curve25519: 2 })
    const before = test.log.tail.position
    expect(await test.encryption.upload(alice, { ...body, fallback_keys: {} })).toEqual({
      signed_curve25519: 2,
    })
    expect(test.log.tail.position).toBe(before)
    expect(await test.encryption.counts(alice.user, alice.device)).toEqual({ signed_curve25519: 2 })
    expect(await test.encryption.unusedFallback(alice.user, alice.device)).toEqual([
      'signed_curve25519',
    ])
  })

  it('refuses another key under an id that is taken', async () => {
    const user = person(test, 'strict')
    await test.encryption.upload(user, { one_time_keys: { 'signed_curve25519:A': key(1) } })
    await expect(
      test.encryption.upload(user, { one_time_keys: { 'signed_curve25519:A': key(2) } }),
    ).rejects.toMatchObject({ errcode: 'M_INVALID_PARAM', status: 400 })
  })

  it('refuses keys of another user or device, and what is no key', async () => {
    const alice = person(test, 'alice')
    const bob = person(test, 'bob')
    const other = { ...alice, device: person(test, 'alice', 'OTHER').device }
    for (const device_keys of [deviceKeys(bob), deviceKeys(other)]) {
      await expect(test.encryption.upload(alice, { device_keys })).rejects.toMatchObject({
        errcode: 'M_INVALID_PARAM',
      })
    }
    for (const body of [
      { device_keys: 5 },
      { one_time_keys: [] },
      { one_time_keys: { 'a:b': 5 } },
    ]) {
      await expect(test.encryption.upload(alice, body)).rejects.toMatchObject({
        errcode: 'M_BAD_JSON',
      })
    }
    await expect(
      test.encryption.upload(alice, { one_time_keys: { nocolon: 'x' } }),
    ).rejects.toMatchObject({
      errcode: 'M_INVALID_PARAM',
    })
  })
})

describe('querying keys', () => {
  it('answers what was uploaded, with the name of the device', async () => {
    const carol = person(test, 'carol')
    test.devices.get(carol.user)?.set(carol.device, 'Phone')
    await test.encryption.upload(carol, { device_keys: deviceKeys(carol) })
    const answer = await test.encryption.query(person(test, 'alice'), { [carol.user]: [] })
    expect(answer).toMatchObject({
      device_keys: {
        [carol.user]: {
          DEVICE: { ...deviceKeys(carol), unsigned: { device_display_name: 'Phone' } },
        },
      },
      failures: {},
    })
    const none = await test.encryption.query(carol, {
      [carol.user]: ['UNKNOWN'],
      '@nobody:here.test': [],
    })
    expect(none['device_keys']).toEqual({ [carol.user]: {}, '@nobody:here.test': {} })
    expect(await test.encryption.localQuery({ [carol.user]: [] })).toMatchObject({
      device_keys: { [carol.user]: { DEVICE: { unsigned: {} } } },
    })
  })

  it('asks other servers, and names those that do not answer', async () => {
    const alice = person(test, 'alice')
    test.remote.queryKeys = async (server, keys) => {
      if (server === 'silent.test') throw new MatrixError('M_CONNECTION_FAILED', 'silent')
      expect(keys).toEqual({ '@dave:far.test': [] })
      return {
        device_keys: {
          '@dave:far.test': {
            D: { user_id: '@dave:far.test', device_id: 'D', keys: {} },
            LIE: { user_id: '@other:far.test', device_id: 'LIE', keys: {} },
          },
          '@alice:here.test': { FORGED: { user_id: '@alice:here.test', device_id: 'FORGED' } },
        },
        master_keys: {
          '@dave:far.test': crossSigningKey(parseUserId('@dave:far.test'), 'master', 'dave'),
        },
      }
    }
    const answer = await test.encryption.query(alice, {
      '@dave:far.test': [],
      '@eve:silent.test': [],
    })
    expect(answer['device_keys']).toEqual({
      '@dave:far.test': { D: { user_id: '@dave:far.test', device_id: 'D', keys: {} } },
    })
    expect(answer['master_keys']).toHaveProperty(['@dave:far.test'])
    expect(answer['failures']).toEqual({ 'silent.test': { status: 502, message: 'silent' } })
  })

  it('keeps the keys of those with whom a room is shared, until their server says that they changed', async () => {
    const frank = parseUserId('@frank:far.test')
    const alice = person(test, 'alice')
    const room = roomNamed('shared')
    test.memberships.set(room, alice.user, 'join')
    test.memberships.set(room, frank, 'join')
    let asked = 0
    test.remote.queryKeys = async () => {
      asked += 1
      return {
        device_keys: { [frank]: { [`D${asked}`]: { user_id: frank, device_id: `D${asked}` } } },
      }
    }
    await test.encryption.query(alice, { [frank]: [] })
    const again = await test.encryption.query(alice, { [frank]: [] })
    expect(asked).toBe(1)
    expect(again['device_keys']).toHaveProperty([frank, 'D1'])
    const before = test.log.tail.position
    await test.deviceLists.onRemoteDeviceListUpdate(far, {
      user_id: frank,
      device_id: 'D2',
      stream_id: 7,
    })
    expect(
      (await test.encryption.changes(alice.user, before, test.log.tail.position)).changed,
    ).toEqual(new Set([frank]))
    const fresh = await test.encryption.query(alice, { [frank]: [] })
    expect(asked).toBe(2)
    expect(Object.keys(Object(Object(fresh['device_keys'])[frank]))).toEqual(['D2'])
    // Out and in again: nobody told us what happened in between.
    test.memberships.set(room, frank, 'join', test.log.tail.position + 1)
    await test.encryption.upload(alice, { one_time_keys: { 'signed_curve25519:any': 'x' } })
    await test.encryption.query(alice, { [frank]: [] })
    expect(asked).toBe(3)
  })

  it('does not keep an answer that was overtaken by a change', async () => {
    const grace = parseUserId('@grace:far.test')
    const alice = person(test, 'alice')
    test.memberships.set(roomNamed('shared'), grace, 'join')
    let asked = 0
    test.remote.queryKeys = async () => {
      asked += 1
      if (asked === 1) await test.deviceLists.onRemoteSigningKeyUpdate(far, { user_id: grace })
      return {}
    }
    await test.encryption.query(alice, { [grace]: [] })
    await test.encryption.query(alice, { [grace]: [] })
    await test.encryption.query(alice, { [grace]: [] })
    expect(asked).toBe(2)
  })

  it('passes over updates about users of another server, or whom nobody here knows', async () => {
    const before = test.log.tail.position
    await test.deviceLists.onRemoteDeviceListUpdate(far, { user_id: '@alice:here.test' })
    await test.deviceLists.onRemoteDeviceListUpdate(far, { user_id: '@stranger:far.test' })
    await test.deviceLists.onRemoteDeviceListUpdate(far, { user_id: 5 })
    expect(test.log.tail.position).toBe(before)
  })
})

describe('claiming keys', () => {
  it('gives each key to one of many who ask at once, oldest first, then the fallback key', async () => {
    const bob = person(test, 'bob', 'CLAIMED')
    const wanted = { [bob.user]: { CLAIMED: 'signed_curve25519' } }
    await test.encryption.upload(bob, { one_time_keys: { 'signed_curve25519:Z': key(0) } })
    const more = Object.fromEntries(
      Array.from({ length: 19 }, (_, n) => [`signed_curve25519:${n}`, key(n)]),
    )
    await test.encryption.upload(bob, {
      one_time_keys: more,
      fallback_keys: { 'signed_curve25519:FALL': { key: 'f', fallback: true } },
    })
    const first = await test.encryption.claim(bob, wanted)
    expect(first).toEqual({
      one_time_keys: { [bob.user]: { CLAIMED: { 'signed_curve25519:Z': key(0) } } },
      failures: {},
    })
    const answers = await Promise.all(
      Array.from({ length: 19 }, () => test.encryption.localClaim(wanted)),
    )
    const ids = answers.map((answer) => JSON.stringify(answer['one_time_keys']))
    expect(new Set(ids).size).toBe(19)
    expect(ids.join()).not.toContain('FALL')
    expect(await test.encryption.counts(bob.user, bob.device)).toEqual({ signed_curve25519: 0 })
    expect(await test.encryption.unusedFallback(bob.user, bob.device)).toEqual([
      'signed_curve25519',
    ])
    for (const _ of [1, 2]) {
      expect(JSON.stringify(await test.encryption.claim(bob, wanted))).toContain('FALL')
      expect(await test.encryption.unusedFallback(bob.user, bob.device)).toEqual([])
    }
    await test.encryption.upload(bob, { fallback_keys: { 'signed_curve25519:NEW': { key: 'g' } } })
    expect(await test.encryption.unusedFallback(bob.user, bob.device)).toEqual([
      'signed_curve25519',
    ])
  })

  it('answers nothing for what is unknown, and asks other servers for theirs', async () => {
    const alice = person(test, 'alice')
    test.remote.claimKeys = async (server, keys) => {
      if (server !== far) throw new Error('unreachable')
      return { one_time_keys: { ...keys, '@alice:here.test': { FORGED: {} } } }
    }
    const answer = await test.encryption.claim(alice, {
      '@nobody:here.test': { X: 'signed_curve25519' },
      '@dave:far.test': { D: 'signed_curve25519' },
      '@eve:silent.test': { E: 'signed_curve25519' },
    })
    expect(answer['one_time_keys']).toEqual({ '@dave:far.test': { D: 'signed_curve25519' } })
    expect(answer['failures']).toEqual({ 'silent.test': { status: 503, message: 'not reachable' } })
  })
})

describe('cross-signing', () => {
  it('takes signed keys, shows them, and asks for authentication for other ones only', async () => {
    const alice = person(test, 'alice')
    const { user } = alice
    const master = crossSigningKey(user, 'master', 'alice master')
    const selfSigning = signedBy(
      crossSigningKey(user, 'self_signing', 'alice self'),
      user,
      'alice master',
    )
    const userSigning = signedBy(
      crossSigningKey(user, 'user_signing', 'alice user'),
      user,
      'alice master',
    )
    const keys = { master, selfSigning, userSigning }
    await expect(test.encryption.uploadSigning(alice, { selfSigning })).rejects.toMatchObject({
      errcode: 'M_MISSING_PARAM',
    })
    expect(await test.encryption.signingNeedsAuth(user, keys)).toBe(false)
    await test.encryption.uploadSigning(alice, keys)
    expect(await test.encryption.signingNeedsAuth(user, keys)).toBe(false)
    const other = { master: crossSigningKey(user, 'master', 'other') }
    expect(await test.encryption.signingNeedsAuth(user, other)).toBe(true)
    const own = await test.encryption.query(alice, { [user]: [] })
    expect(own).toMatchObject({
      master_keys: { [user]: master },
      self_signing_keys: { [user]: selfSigning },
      user_signing_keys: { [user]: userSigning },
    })
    const seen = await test.encryption.query(person(test, 'bob'), { [user]: [] })
    expect(seen).not.toHaveProperty('user_signing_keys')
    expect(await test.encryption.localDevicesOf(user)).toMatchObject({
      user_id: user,
      master_key: master,
      self_signing_key: selfSigning,
    })
  })

  it('refuses keys that the master key did not sign, of others, or named like a device', async () => {
    const bob = person(test, 'bob')
    const master = crossSigningKey(bob.user, 'master', 'bob master')
    const unsigned = crossSigningKey(bob.user, 'self_signing', 'bob self')
    await expect(
      test.encryption.uploadSigning(bob, { master, selfSigning: unsigned }),
    ).rejects.toMatchObject({
      errcode: 'M_INVALID_SIGNATURE',
    })
    const wrong = signedBy(
      unsigned,
      bob.user,
      'somebody else',
      `ed25519:${signerOf('bob master').publicKey}`,
    )
    await expect(
      test.encryption.uploadSigning(bob, { master, selfSigning: wrong }),
    ).rejects.toMatchObject({
      errcode: 'M_INVALID_SIGNATURE',
    })
    const foreign = crossSigningKey(parseUserId('@alice:here.test'), 'master', 'x')
    await expect(test.encryption.uploadSigning(bob, { master: foreign })).rejects.toMatchObject({
      errcode: 'M_INVALID_PARAM',
    })
    const device = person(test, 'bob', signerOf('bob device key').publicKey)
    await test.encryption.upload(device, { device_keys: deviceKeys(device) })
    await expect(
      test.encryption.uploadSigning(bob, {
        master: crossSigningKey(bob.user, 'master', 'bob device key'),
      }),
    ).rejects.toMatchObject({ errcode: 'M_FORBIDDEN' })
  })

  it('adds signatures on own devices, the own master key and the master keys of others', async () => {
    const [ann, ben] = [person(test, 'ann'), person(test, 'ben')]
    for (const { user, device, ...who } of [ann, ben]) {
      const master = crossSigningKey(user, 'master', `${user} master`)
      const sign = (usage: string) =>
        signedBy(crossSigningKey(user, usage, `${user} ${usage}`), user, `${user} master`)
      const keys = { master, selfSigning: sign('self_signing'), userSigning: sign('user_signing') }
      await test.encryption.upload(
        { ...who, user, device },
        { device_keys: deviceKeys({ user, device }) },
      )
      await test.encryption.uploadSigning({ ...who, user, device }, keys)
    }
    const annMaster = crossSigningKey(ann.user, 'master', `${ann.user} master`)
    const benMaster = crossSigningKey(ben.user, 'master', `${ben.user} master`)
    const [annId, benId] = [
      signerOf(`${ann.user} master`).publicKey,
      signerOf(`${ben.user} master`).publicKey,
    ]
    const onDevice = signedBy(deviceKeys(ann), ann.user, `${ann.user} self_signing`)
    const onMaster = signedBy(annMaster, ann.user, `${ann.user}DEVICE`, 'ed25519:DEVICE')
    const onBen = signedBy(benMaster, ann.user, `${ann.user} user_signing`)
    const before = test.log.tail.position
    const answer = await test.encryption.uploadSignatures(ann, {
      [ann.user]: { DEVICE: onDevice, [annId]: onMaster, UNKNOWN: onDevice },
      [ben.user]: { [benId]: onBen },
    })
    expect(answer).toEqual({
      failures: { [ann.user]: { UNKNOWN: expect.objectContaining({ errcode: 'M_NOT_FOUND' }) } },
    })
    const seen = JSON.stringify(
      await test.encryption.query(ann, { [ann.user]: [], [ben.user]: [] }),
    )
    for (const signed of [onDevice, onMaster, onBen]) {
      const [signature] = Object.values(Object(Object(signed['signatures'])[ann.user]))
      expect(seen).toContain(String(signature))
    }
    const [private_] = Object.values(Object(Object(onBen['signatures'])[ann.user]))
    expect(JSON.stringify(await test.encryption.query(ben, { [ben.user]: [] }))).not.toContain(
      String(private_),
    )
    const { changed } = await test.encryption.changes(ann.user, before, test.log.tail.position)
    expect(changed).toEqual(new Set([ann.user, ben.user]))
    const forged = signedBy(deviceKeys(ann, 'another'), ann.user, `${ann.user} self_signing`)
    const bad = await test.encryption.uploadSignatures(ann, { [ann.user]: { DEVICE: forged } })
    expect(bad).toMatchObject({
      failures: { [ann.user]: { DEVICE: { errcode: 'M_INVALID_PARAM' } } },
    })
  })
})

it('gives out each key once when many ask at a time, and the fallback key to the others', async () => {
  const bob = person(test, 'bob', 'WANTED')
  const names = Array.from({ length: 10 }, (_, n) => `signed_curve25519:${n}`)
  await test.encryption.upload(bob, {
    one_time_keys: Object.fromEntries(names.map((name, n) => [name, key(n)])),
    fallback_keys: { 'signed_curve25519:F': { key: 'f', fallback: true } },
  })
  const wanted = { [bob.user]: { WANTED: 'signed_curve25519' } }
  const answers = await Promise.all(
    Array.from({ length: 15 }, () => test.encryption.localClaim(wanted)),
  )
  const given = answers.map(({ one_time_keys: users }) =>
    Object.keys(Object(Object(users)[bob.user]).WANTED).join(),
  )
  expect(given.sort()).toEqual([...names, ...Array(5).fill('signed_curve25519:F')].sort())
  expect(await test.encryption.counts(bob.user, bob.device)).toEqual({ signed_curve25519: 0 })
  expect(await test.encryption.unusedFallback(bob.user, bob.device)).toEqual([])
})
