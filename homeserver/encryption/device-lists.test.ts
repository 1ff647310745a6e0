import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { MatrixError } from '../../spec/errors.ts'
import { parseDeviceId, parseUserId, type UserId } from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import { createDeviceLists } from './device-lists.ts'
import { refreshLimits } from './list-refresh.ts'
import {
  crossSigningKey,
  deviceKeys,
  far,
  here,
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

/** Writes the log row of a membership event and sets what it brings about. */
async function move(room: string, user: UserId, membership: 'join' | 'leave') {
  const id = roomNamed(room)
  const verdict = await test.log.writer.write({
    entries: [{ kind: 'event', room: id, user, ref: '0', payload: undefined }],
  })
  const position = verdict.kind === 'done' ? (verdict.positions[0] ?? 0) : 0
  test.memberships.set(id, user, membership, position)
}

const alice = parseUserId('@alice:here.test')
const bob = parseUserId('@bob:here.test')
const carol = parseUserId('@carol:here.test')

describe('whose devices to ask for anew', () => {
  it('follows who shares a room, from memory and from the tables alike', async () => {
    await move('one', alice, 'join')
    await move('one', bob, 'join')
    const start = test.log.tail.position
    const expectChanges = async (since: number, changed: UserId[], left: UserId[]) => {
      // A process that starts now knows nothing of the past but what is stored.
      const fresh = createDeviceLists({
        db: test.database.db,
        log: test.log.writer,
        tail: test.log.tail,
        memberships: test.memberships,
        serverName: here,
      })
      for (const lists of [test.deviceLists, fresh]) {
        const got = await lists.changedFor(alice, since, test.log.tail.position)
        expect({ changed: [...got.changed].sort(), left: [...got.left].sort() }).toEqual({
          changed,
          left,
        })
      }
    }
    await expectChanges(start, [], [])

    await move('one', carol, 'join')
    await expectChanges(start, [carol], [])
    const joined = test.log.tail.position

    await move('two', carol, 'join')
    await expectChanges(joined, [], [])
    await move('one', carol, 'leave')
    await expectChanges(joined, [], [carol])

    const apart = test.log.tail.position
    await move('two', alice, 'join')
    await expectChanges(apart, [carol], [])

    const together = test.log.tail.position
    await move('two', alice, 'leave')
    await expectChanges(together, [], [carol])
    await expectChanges(test.log.tail.position, [], [])
  })

  it('answers from the tables what is older than the takeover of a whole room', async () => {
    const since = test.log.tail.position
    const dora = parseUserId('@dora:there.test')
    const room = roomNamed('taken')
    await move('taken', dora, 'join')
    await move('taken', alice, 'join')
    await test.log.writer.write({
      entries: [{ kind: 'state', room, ref: '*', payload: undefined }],
    })
    const got = await test.deviceLists.changedFor(alice, since, test.log.tail.position)
    expect(got.changed).toContain(dora)
    const later = test.log.tail.position
    expect((await test.deviceLists.changedFor(alice, later, later + 1)).changed.size).toBe(0)
  })

  it('names those who upload keys or lose a device, also oneself', async () => {
    const [me, other] = [person(test, 'alice'), person(test, 'bob')]
    const stranger = person(test, 'stranger')
    const start = test.log.tail.position
    await test.encryption.upload(other, { device_keys: deviceKeys(other) })
    await test.encryption.upload(stranger, { device_keys: deviceKeys(stranger) })
    const uploaded = test.log.tail.position
    expect((await test.encryption.changes(alice, start, uploaded)).changed).toEqual(new Set([bob]))
    await test.encryption.upload(me, { device_keys: deviceKeys(me) })
    const own = await test.encryption.changes(alice, uploaded, test.log.tail.position)
    expect(own.changed).toEqual(new Set([alice]))
    const before = test.log.tail.position
    const entries = await test.deviceLists.deleted(bob, [other.device])
    await test.log.writer.write({ entries })
    const gone = await test.encryption.changes(alice, before, test.log.tail.position)
    expect(gone.changed).toEqual(new Set([bob]))
    expect(await test.deviceLists.deleted(bob, [person(test, 'bob', 'KEYLESS').device])).toEqual([])
  })
})

describe('other servers', () => {
  it('are sent each change, in a chain of numbers, and a deletion', async () => {
    const room = roomNamed('federated')
    const dave = parseUserId('@dave:far.test')
    const erin = person(test, 'erin')
    test.memberships.set(room, erin.user, 'join')
    test.memberships.set(room, dave, 'join')
    await test.encryption.upload(erin, { device_keys: deviceKeys(erin, 'one') })
    const edus = async () => {
      const rows = await test.database.db<{ content: string }>`
        select content from outbox where destination = ${far} and edu_type = 'm.device_list_update'`
      return rows.map((row) => Object(JSON.parse(row.content)))
    }
    const [first] = await edus()
    expect(first).toMatchObject({
      user_id: erin.user,
      device_id: 'DEVICE',
      prev_id: [],
      keys: deviceKeys(erin, 'one'),
    })
    expect(await test.encryption.localDevicesOf(erin.user)).toMatchObject({
      stream_id: first.stream_id,
      devices: [{ device_id: 'DEVICE', keys: deviceKeys(erin, 'one') }],
    })
    await test.encryption.upload(erin, { device_keys: deviceKeys(erin, 'two') })
    const second = (await edus()).at(-1)
    expect(second).toMatchObject({ prev_id: [first.stream_id], keys: deviceKeys(erin, 'two') })
    await test.log.writer.write({
      entries: await test.deviceLists.deleted(erin.user, [erin.device]),
    })
    const third = (await edus()).at(-1)
    expect(third).toMatchObject({ prev_id: [second.stream_id], deleted: true })
    expect(third).not.toHaveProperty('keys')
  })
})

describe('the devices of another server’s user', () => {
  const dan = parseUserId('@dan:far.test')
  const device = (id: string, curve = 'c') =>
    deviceKeys({ user: dan, device: parseDeviceId(id) }, curve)
  const update = (device_id: string, stream_id: number, prev_id: number[], more: JsonObject = {}) =>
    test.deviceLists.onRemoteDeviceListUpdate(far, {
      ...{ user_id: dan, device_id, stream_id, prev_id, keys: device(device_id) },
      ...more,
    })
  let questions = 0
  let stored: { stream_id: number; devices: JsonObject[]; master_key?: JsonObject }

  /** What a local user is told, and how often the other server was asked for it. */
  async function known() {
    const before = questions
    const answer = await test.encryption.query(person(test, 'watcher'), { [dan]: [] })
    const devices = Object(Object(answer['device_keys'])[dan])
    return { devices, master: Object(answer['master_keys'])[dan], asked: questions - before }
  }

  beforeAll(async () => {
    await move('with dan', person(test, 'watcher').user, 'join')
    await move('with dan', dan, 'join')
    stored = { stream_id: 5, devices: [{ device_id: 'A', keys: device('A') }] }
    test.remote.userDevices = async (_, user) => {
      questions++
      return { user_id: user, ...stored }
    }
  })

  it('are asked for once, and then follow the updates without a question', async () => {
    expect(await known()).toMatchObject({ devices: { A: device('A') }, asked: 1 })
    const since = test.log.tail.position
    await update('B', 6, [5])
    await update('A', 7, [6], { keys: device('A', 'other') })
    const told = await test.deviceLists.changedFor(
      person(test, 'watcher').user,
      since,
      test.log.tail.position,
    )
    expect(told.changed).toEqual(new Set([dan]))
    expect(await known()).toEqual({
      devices: { A: device('A', 'other'), B: device('B') },
      master: undefined,
      asked: 0,
    })
    await update('A', 8, [7], { deleted: true })
    expect(await known()).toMatchObject({ devices: { B: device('B') }, asked: 0 })
    expect(Object.keys((await known()).devices)).toEqual(['B'])
  })

  it('that come a second time say nothing', async () => {
    const before = test.log.tail.position
    await update('A', 8, [7], { deleted: true })
    expect(test.log.tail.position).toBe(before)
  })

  it('are asked for anew when an update was lost', async () => {
    stored = { stream_id: 11, devices: [{ device_id: 'C', keys: device('C') }] }
    await update('D', 11, [10])
    expect(await known()).toMatchObject({ devices: { C: device('C') }, asked: 1 })
    await update('D', 12, [11])
    const both = { C: device('C'), D: device('D') }
    expect(await known()).toMatchObject({ devices: both, asked: 0 })
  })

  it('are asked for anew when keys are not what they say, or an update stands alone', async () => {
    stored = { stream_id: 20, devices: [] }
    await update('E', 13, [12], { keys: device('F') })
    expect(await known()).toMatchObject({ devices: {}, asked: 1 })
    await update('G', 21, [])
    expect(await known()).toMatchObject({ asked: 1 })
  })

  it('are signed with keys that come by an update, too', async () => {
    const key = (name: string) => crossSigningKey(dan, 'master', name)
    const tell = (content: JsonObject) =>
      test.deviceLists.onRemoteSigningKeyUpdate(far, { user_id: dan, ...content })
    await known()
    await tell({ master_key: key('one') })
    expect(await known()).toMatchObject({ master: key('one'), asked: 0 })
    await tell({ master_key: crossSigningKey(alice, 'master', 'of somebody else') })
    stored = { ...stored, master_key: key('two') }
    expect(await known()).toMatchObject({ master: key('two'), asked: 1 })
  })
})

describe('a device that is renamed', () => {
  it('is told with the signatures that it has', async () => {
    const gina = person(test, 'gina')
    const self = crossSigningKey(gina.user, 'self_signing', 'gina self')
    await test.encryption.uploadSigning(gina, {
      master: crossSigningKey(gina.user, 'master', 'gina'),
      selfSigning: signedBy(self, gina.user, 'gina'),
    })
    await test.encryption.upload(gina, { device_keys: deviceKeys(gina) })
    const signed = signedBy(deviceKeys(gina), gina.user, 'gina self')
    const answer = await test.encryption.uploadSignatures(gina, {
      [gina.user]: { [gina.device]: signed },
    })
    expect(answer).toEqual({ failures: {} })
    test.memberships.set(roomNamed('gina'), gina.user, 'join')
    test.memberships.set(roomNamed('gina'), parseUserId('@x:far.test'), 'join')
    const [, outgoing] = await test.deviceLists.renamed(gina.user, gina.device)
    const content = Object(JSON.parse(String(outgoing?.tables?.['outbox']?.[0]?.['content'])))
    const { publicKey } = signerOf('gina self')
    expect(content.keys.signatures[gina.user]).toHaveProperty([`ed25519:${publicKey}`])
  })

  it('is told without keys when it has none', async () => {
    const hana = person(test, 'hana')
    test.memberships.set(roomNamed('hana'), hana.user, 'join')
    test.memberships.set(roomNamed('hana'), parseUserId('@x:far.test'), 'join')
    const [, outgoing] = await test.deviceLists.renamed(hana.user, hana.device)
    const content = Object(JSON.parse(String(outgoing?.tables?.['outbox']?.[0]?.['content'])))
    expect(content).toEqual({
      ...{ user_id: hana.user, device_id: hana.device },
      ...{ stream_id: expect.any(Number), prev_id: [] },
    })
  })
})

describe('a list of another server’s user, asked for again', () => {
  const viewer = { user: alice, device: parseDeviceId('A'), guest: false, admin: false }
  const isTold = (user: UserId) =>
    test.rows.some((row) => row.kind === 'deviceList' && row.user === user)

  /** A user who shares a room with alice, and what the user's server says of devices. */
  async function follow(name: string) {
    const user = parseUserId(`@${name}:far.test`)
    await move(name, alice, 'join')
    await move(name, user, 'join')
    const says = { devices: ['ONE'], stream: 1, isThere: true, asked: 0 }
    test.remote.userDevices = async (_, asked) => {
      if (asked === user) says.asked++
      if (!says.isThere) throw new MatrixError('M_CONNECTION_FAILED', 'not there')
      const devices = says.devices.map((id) => ({
        device_id: id,
        keys: deviceKeys({ user: asked, device: parseDeviceId(id) }),
      }))
      return { user_id: asked, stream_id: says.stream, devices }
    }
    const devices = async () => {
      const { device_keys: keys } = await test.encryption.query(viewer, { [user]: [] })
      return Object.keys(Object(Object(keys)[user]))
    }
    test.rows.length = 0
    return { user, says, devices }
  }

  it('brings what was lost with the last update, a day later', async () => {
    const { user, says, devices } = await follow('lost')
    expect(await devices()).toEqual(['ONE'])
    const { asked } = says
    says.devices.push('TWO')
    says.stream = 2
    await test.encryption.listRefresh.round()
    expect([await devices(), says.asked]).toEqual([['ONE'], asked])
    await test.clock.advance(86_400_000)
    await test.encryption.listRefresh.round()
    expect(isTold(user)).toBe(true)
    expect(await devices()).toEqual(['ONE', 'TWO'])
    expect(says.asked).toBe(asked + 1)
  })

  it('comes soon after an update that does not follow on what is kept', async () => {
    const { user, says, devices } = await follow('gap')
    await devices()
    const { asked } = says
    says.devices.push('TWO', 'THREE')
    says.stream = 3
    test.encryption.listRefresh.start()
    try {
      const device_id = 'THREE'
      await test.deviceLists.onRemoteDeviceListUpdate(far, {
        ...{ user_id: user, device_id, stream_id: 3, prev_id: [2] },
        keys: deviceKeys({ user, device: parseDeviceId(device_id) }),
      })
      const isAsked = async () => {
        await test.clock.advance(refreshLimits.soonMs)
        return says.asked
      }
      await expect.poll(isAsked, { timeout: 10_000 }).toBe(asked + 1)
      const isKept = async () =>
        await test.database.db`
          select fresh from remote_device_lists where user_id = ${user} and stream_id = 3`
      await expect.poll(isKept, { timeout: 10_000 }).toEqual([{ fresh: true }])
    } finally {
      test.encryption.listRefresh[Symbol.dispose]()
    }
    expect(await devices()).toEqual(['ONE', 'TWO', 'THREE'])
    expect(says.asked).toBe(asked + 1)
  })

  it('is no news when nothing was lost', async () => {
    const { user, says, devices } = await follow('same')
    await devices()
    await test.clock.advance(86_400_000)
    const { asked } = says
    await test.encryption.listRefresh.round()
    expect(says.asked).toBe(asked + 1)
    expect(isTold(user)).toBe(false)
  })

  it('comes when the server is there again, and then those who share a room are told', async () => {
    const { user, says, devices } = await follow('away')
    says.isThere = false
    expect(await devices()).toEqual([])
    for (const waitMs of [30_000, 30_000]) {
      await test.clock.advance(waitMs)
      await test.encryption.listRefresh.round()
    }
    expect(isTold(user)).toBe(false)
    says.isThere = true
    await test.clock.advance(60_000)
    await test.encryption.listRefresh.round()
    expect(isTold(user)).toBe(true)
    const { asked } = says
    expect([await devices(), says.asked]).toEqual([['ONE'], asked])
  })

  it('is forgotten when nobody here shares a room with the user', async () => {
    const { user, says, devices } = await follow('gone')
    await devices()
    await move('gone', user, 'leave')
    await test.clock.advance(86_400_000)
    const { asked } = says
    await test.encryption.listRefresh.round()
    expect(says.asked).toBe(asked)
    const rows = await test.database.db`select 1 from remote_device_lists where user_id = ${user}`
    expect(rows).toEqual([])
  })
})
