import { canonicalJson } from '../../spec/canonical-json.ts'
import { type SigningKey, signingKeyFromSeed } from '../../spec/crypto/ed25519.ts'
import { MatrixError } from '../../spec/errors.ts'
import {
  type DeviceId,
  parseDeviceId,
  parseRoomId,
  parseServerName,
  parseUserId,
  type RoomId,
  type ServerName,
  type UserId,
} from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import { type TestDatabase, testDatabase } from '../database/test-database.ts'
import { FakeClock } from '../platform/fake-clock.ts'
import { silentLogger } from '../platform/log.ts'
import { systemRandom } from '../platform/random.ts'
import type { Requester } from '../rooms/rooms.ts'
import { type TestMemberships, testMemberships } from '../rooms/test-memberships.ts'
import type { LogRow } from '../stream/log.ts'
import { type TestStream, testStream } from '../stream/test-stream.ts'
import { createDeviceLists, type DeviceLists } from './device-lists.ts'
import { createEncryption, type Encryption } from './encryption.ts'
import { createToDevice, type ToDevice } from './to-device.ts'

export const here = parseServerName('here.test')
export const far = parseServerName('far.test')

/** The encryption slice over a test's database; other servers answer what the test puts into `remote`. */
export interface TestEncryption extends AsyncDisposable {
  readonly database: TestDatabase
  readonly log: TestStream
  readonly memberships: TestMemberships
  readonly deviceLists: DeviceLists
  readonly encryption: Encryption
  readonly toDevice: ToDevice
  readonly remote: {
    queryKeys: (server: ServerName, keys: JsonObject) => Promise<JsonObject>
    claimKeys: (server: ServerName, keys: JsonObject) => Promise<JsonObject>
    userDevices: (server: ServerName, user: UserId) => Promise<JsonObject>
  }
  /** Devices by user, as the accounts slice would tell. */
  readonly devices: Map<UserId, Map<DeviceId, string | undefined>>
  readonly rows: LogRow[]
  readonly clock: FakeClock
}

export async function testEncryption(): Promise<TestEncryption> {
  const database = await testDatabase()
  const { db } = database
  const log = testStream(db)
  const memberships = testMemberships(here)
  const devices: TestEncryption['devices'] = new Map()
  const rows: LogRow[] = []
  const remote: TestEncryption['remote'] = {
    queryKeys: async () => ({}),
    claimKeys: async () => ({}),
    userDevices: async () => {
      throw new MatrixError('M_UNRECOGNIZED', 'not known here', { status: 404 })
    },
  }
  const clock = new FakeClock()
  const common = {
    db,
    clock,
    logger: silentLogger,
    log: log.writer,
    tail: log.tail,
    memberships,
    serverName: here,
    random: systemRandom,
    deviceNames: async (users: readonly UserId[]) =>
      new Map(
        users.map((user) => [user, devices.get(user) ?? new Map<DeviceId, string | undefined>()]),
      ),
  }
  const deviceLists = createDeviceLists(common)
  const encryption = createEncryption({
    ...common,
    deviceLists,
    remote: {
      queryKeys: (server, keys) => remote.queryKeys(server, keys),
      claimKeys: (server, keys) => remote.claimKeys(server, keys),
      userDevices: (server, user) => remote.userDevices(server, user),
    },
  })
  const toDevice = createToDevice(common)
  log.tail.subscribe('test', (more) => rows.push(...more))
  await log.start()
  return {
    database,
    log,
    memberships,
    deviceLists,
    encryption,
    toDevice,
    remote,
    devices,
    rows,
    clock,
    async [Symbol.asyncDispose]() {
      await toDevice.drained()
      await log[Symbol.asyncDispose]()
      await database[Symbol.asyncDispose]()
    },
  }
}

/** A user of this server with a device. */
export function person(
  test: TestEncryption,
  name: string,
  device = 'DEVICE',
): Requester & { device: DeviceId } {
  const user = parseUserId(`@${name}:here.test`)
  const own = test.devices.get(user) ?? new Map<DeviceId, string | undefined>()
  test.devices.set(user, own.set(parseDeviceId(device), undefined))
  return { user, device: parseDeviceId(device), guest: false, admin: false }
}

export function roomNamed(name: string): RoomId {
  return parseRoomId(`!${name}:here.test`)
}

export function deviceKeys(
  { user, device }: { user: UserId; device: DeviceId },
  curve = 'c',
): JsonObject {
  return {
    user_id: user,
    device_id: device,
    algorithms: ['m.olm.v1.curve25519-aes-sha2'],
    keys: {
      [`curve25519:${device}`]: curve,
      [`ed25519:${device}`]: signerOf(`${user}${device}`).publicKey,
    },
    signatures: { [user]: { [`ed25519:${device}`]: 'self' } },
  }
}

/** The same key for the same name. */
export function signerOf(name: string): SigningKey {
  return signingKeyFromSeed('ed25519:test', Buffer.alloc(32, name))
}

export function crossSigningKey(user: UserId, usage: string, name: string): JsonObject {
  const { publicKey } = signerOf(name)
  return { user_id: user, usage: [usage], keys: { [`ed25519:${publicKey}`]: publicKey } }
}

/** The object with the user's signature by the key of `name`. */
export function signedBy(
  object: JsonObject,
  user: UserId,
  name: string,
  keyName?: string,
): JsonObject {
  const key = signerOf(name)
  const { signatures: _old, unsigned: _unsigned, ...bare } = object
  const signature = key.sign(canonicalJson(bare))
  return { ...bare, signatures: { [user]: { [keyName ?? `ed25519:${key.publicKey}`]: signature } } }
}
