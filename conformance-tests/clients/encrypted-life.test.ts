/**
 * People who use all of end-to-end encryption, with the cryptography of a client that nobody here wrote: cross-signing,
 * emoji verification, rooms over two servers, a new device that restores old messages, a device that goes.
 */
import { type MatrixClient, Method, MsgType, Preset } from 'matrix-js-sdk'
import {
  type CryptoApi,
  CryptoEvent,
  type ShowSasCallbacks,
  VerificationPhase,
  type VerificationRequest,
  type Verifier,
} from 'matrix-js-sdk/lib/crypto-api/index.js'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { password } from '../harness/client.ts'
import { type Federation, startFederation } from '../harness/pair.ts'
import type { LaunchedServer } from '../harness/server.ts'
import { hasSynapse, launchers, launcherUnderTest } from '../harness/settings.ts'
import { createPerson, type Notebook, type Person, signInAgain, until } from './js-sdk.ts'

const lifeTimeoutMs = 300_000
const synapse = hasSynapse() && launcherUnderTest !== launchers.synapse
if (!synapse && launcherUnderTest !== launchers.synapse) {
  process.stderr.write(
    'NOT RUN: encryption between people here and on Synapse, because there is none on this machine (SYNAPSE_PYTHON)\n',
  )
}

function cryptoOf({ client }: Person): CryptoApi {
  const crypto = client.getCrypto()
  if (!crypto) throw new Error('a client without encryption')
  return crypto
}

/** Cross-signing keys, a recovery key and a key backup, as a client makes them when it is used first. */
async function setUp(person: Person): Promise<void> {
  const crypto = cryptoOf(person)
  await crypto.bootstrapCrossSigning({
    // A first upload needs no password; a question for one would fail here.
    authUploadDeviceSigningKeys: async (send) => void (await send(null)),
  })
  await crypto.bootstrapSecretStorage({
    createSecretStorageKey: () => crypto.createRecoveryKeyFromPassphrase(),
    setupNewKeyBackup: true,
  })
  expect(await crypto.isCrossSigningReady()).toBe(true)
}

/** The next request for a verification that the client hears of, once something was done. */
async function requestAt(
  client: MatrixClient,
  ask: () => Promise<VerificationRequest>,
): Promise<[VerificationRequest, VerificationRequest]> {
  let asked: VerificationRequest | undefined
  const hear = (request: VerificationRequest) => {
    asked = request
  }
  client.on(CryptoEvent.VerificationRequestReceived, hear)
  const asker = await ask()
  await until('a request for a verification', () => asked !== undefined)
  client.off(CryptoEvent.VerificationRequestReceived, hear)
  if (!asked) throw new Error('no request')
  return [asker, asked]
}

async function shownSas(verifier: Verifier): Promise<ShowSasCallbacks> {
  let shown: ShowSasCallbacks | null = null
  await until('emoji', () => {
    shown = verifier.getShowSasCallbacks()
    return shown !== null
  })
  return shown ?? Promise.reject(new Error('no emoji'))
}

/** Two people, or two devices, compare emoji: they see the same, and both say so. */
async function compareEmoji([asker, asked]: readonly [VerificationRequest, VerificationRequest]) {
  await asked.accept()
  await until('a verification is ready', () => asker.phase === VerificationPhase.Ready)
  const first = await asker.startVerification('m.sas.v1')
  const mine = first.verify()
  await until('the other side sees the start', () => asked.verifier !== undefined)
  const second = asked.verifier
  if (!second) throw new Error('no verifier')
  const theirs = second.verify()
  const [here, there] = await Promise.all([shownSas(first), shownSas(second)])
  expect(here.sas.emoji).toHaveLength(7)
  expect(there.sas.emoji).toEqual(here.sas.emoji)
  await Promise.all([here.confirm(), there.confirm()])
  await until('both are done', () => {
    const phases = [asker.phase, asked.phase]
    if (phases.includes(VerificationPhase.Cancelled)) throw new Error('verification cancelled')
    return phases.every((phase) => phase === VerificationPhase.Done)
  })
  await Promise.all([mine, theirs])
}

async function read(reader: Person, roomId: string, sender: Person, text: string): Promise<void> {
  await until(`${reader.userId} reads “${text}”`, async () =>
    (await reader.textsFrom(roomId, sender.userId)).includes(text),
  )
  const event = reader.client
    .getRoom(roomId)
    ?.getLiveTimeline()
    .getEvents()
    .find((one) => one.getContent()['body'] === text)
  expect(event?.getWireType()).toBe('m.room.encrypted')
}

const say = (person: Person, roomId: string, body: string) =>
  person.client.sendMessage(roomId, { msgtype: MsgType.Text, body })

async function encryptedRoom(alice: Person, bob: Person): Promise<string> {
  const { room_id: roomId } = await alice.client.createRoom({
    preset: Preset.TrustedPrivateChat,
    is_direct: true,
    invite: [bob.userId],
    initial_state: [
      {
        type: 'm.room.encryption',
        state_key: '',
        content: { algorithm: 'm.megolm.v1.aes-sha2' },
      },
    ],
  })
  await bob.isIn(roomId, 'invite')
  await bob.client.joinRoom(roomId)
  await bob.isIn(roomId, 'join')
  await until(
    `${alice.userId} sees ${bob.userId}`,
    () => alice.client.getRoom(roomId)?.getMember(bob.userId)?.membership === 'join',
  )
  return roomId
}

const devicesOf = async (asker: Person, user: string) => [
  ...((await cryptoOf(asker).getUserDeviceInfo([user])).get(user)?.keys() ?? []),
]

/** A day in the life of alice, at home, and bob, who is away. */
async function live(home: LaunchedServer, away: LaunchedServer): Promise<void> {
  const notebook: Notebook = {}
  await using alice = await createPerson(home, 'alice', { encryption: true, notebook })
  await using bob = await createPerson(away, 'bob', { encryption: true, notebook: {} })
  await Promise.all([setUp(alice), setUp(bob)])

  const roomId = await encryptedRoom(alice, bob)
  await say(alice, roomId, 'for bob only')
  await read(bob, roomId, alice, 'for bob only')
  await say(bob, roomId, 'for alice only')
  await read(alice, roomId, bob, 'for alice only')

  await compareEmoji(
    await requestAt(bob.client, () => cryptoOf(alice).requestVerificationDM(bob.userId, roomId)),
  )
  for (const [one, other] of [
    [alice, bob],
    [bob, alice],
  ] as const) {
    await until(`${one.userId} has verified ${other.userId}`, async () =>
      (await cryptoOf(one).getUserVerificationStatus(other.userId)).isCrossSigningVerified(),
    )
  }

  await using phone = await signInAgain(home, alice.userId, { encryption: true, notebook })
  // Clients do not listen to a device that they have not heard of.
  await until('both devices of alice know each other', async () => {
    const known = await Promise.all([alice, phone].map((one) => devicesOf(one, alice.userId)))
    return known.every((ids) => ids.includes(alice.deviceId) && ids.includes(phone.deviceId))
  })
  await compareEmoji(
    await requestAt(alice.client, () => cryptoOf(phone).requestOwnUserVerification()),
  )
  await until('bob trusts the new device of alice', async () => {
    const status = await cryptoOf(bob).getDeviceVerificationStatus(alice.userId, phone.deviceId)
    return status?.crossSigningVerified === true
  })

  await backedUp(alice)
  await cryptoOf(phone).loadSessionBackupPrivateKeyFromSecretStorage()
  expect((await cryptoOf(phone).restoreKeyBackup()).imported).toBeGreaterThan(0)
  await read(phone, roomId, bob, 'for alice only')
  await read(phone, roomId, alice, 'for bob only')

  await away.stop()
  await say(alice, roomId, 'read it when you are back')
  await away.start()
  await read(bob, roomId, alice, 'read it when you are back')

  expect((await devicesOf(bob, alice.userId)).sort()).toEqual(
    [alice.deviceId, phone.deviceId].sort(),
  )
  const auth = {
    type: 'm.login.password',
    identifier: { type: 'm.id.user', user: alice.userId },
    password,
  }
  phone.client.stopClient()
  await alice.client.deleteDevice(phone.deviceId, auth)
  await until(
    'bob knows that the device has gone',
    async () => !(await devicesOf(bob, alice.userId)).includes(phone.deviceId),
  )
  await say(bob, roomId, 'for the device that stayed')
  await read(alice, roomId, bob, 'for the device that stayed')
}

/** Alice signs out everywhere; what bob says then is taken by a device that nobody is signed in on. */
async function dehydrate(home: LaunchedServer, away: LaunchedServer): Promise<void> {
  const notebook: Notebook = {}
  await using alice = await createPerson(home, 'alice', { encryption: true, notebook })
  await using bob = await createPerson(away, 'bob', { encryption: true, notebook: {} })
  await Promise.all([setUp(alice), setUp(bob)])
  const roomId = await encryptedRoom(alice, bob)
  await cryptoOf(alice).startDehydration()
  await until('bob knows the dehydrated device', async () => {
    const known = await devicesOf(bob, alice.userId)
    return known.length === 2
  })
  await alice.client.logout(true)
  await until('bob knows that alice has gone', async () => {
    const known = await devicesOf(bob, alice.userId)
    return known.length === 1 && !known.includes(alice.deviceId)
  })
  await say(bob, roomId, 'while you were away')

  await using phone = await signInAgain(home, alice.userId, { encryption: true, notebook })
  await until('the new device knows the public keys', () =>
    cryptoOf(phone).userHasCrossSigningKeys(alice.userId, true),
  )
  await cryptoOf(phone).bootstrapCrossSigning({})
  await until('the message is in the room', () => {
    const events = phone.client.getRoom(roomId)?.getLiveTimeline().getEvents() ?? []
    return events.some((event) => event.getSender() === bob.userId && event.isEncrypted())
  })
  await cryptoOf(phone).startDehydration()
  await read(phone, roomId, bob, 'while you were away')
}

/** Waits until the server has a key of alice's and one of bob's; the client remembers older counts. */
async function backedUp({ client }: Person): Promise<void> {
  await until('room keys are backed up', async () => {
    const backup = await client.http.authedRequest(Method.Get, '/room_keys/version')
    return Number(Object(backup).count) >= 2
  })
}

describe('people on two instances', () => {
  let federation: Federation | undefined
  beforeAll(async () => {
    const member = { launcher: launcherUnderTest }
    federation = await startFederation([member, member])
  })
  afterAll(() => federation?.[Symbol.asyncDispose]())

  it(
    'verify each other, lose and find devices, and read everything that was said',
    async () => {
      const [home, away] = federation?.servers ?? []
      if (!home || !away) throw new Error('two servers')
      await live(home, away)
    },
    lifeTimeoutMs,
  )

  it(
    'read what was said while they had no device at all',
    async () => {
      const [home, away] = federation?.servers ?? []
      if (!home || !away) throw new Error('two servers')
      await dehydrate(home, away)
    },
    lifeTimeoutMs,
  )
})

describe.skipIf(!synapse)('people on this server and on Synapse', () => {
  let federation: Federation | undefined
  beforeAll(async () => {
    federation = await startFederation([
      { launcher: launcherUnderTest },
      { launcher: launchers.synapse },
    ])
  })
  afterAll(() => federation?.[Symbol.asyncDispose]())

  it.each(['here', 'at Synapse'])(
    'verify each other and read everything, when the one with many devices is %s',
    async (where) => {
      const [ours, theirs] = federation?.servers ?? []
      if (!ours || !theirs) throw new Error('two servers')
      await (where === 'here' ? live(ours, theirs) : live(theirs, ours))
    },
    lifeTimeoutMs,
  )
})
