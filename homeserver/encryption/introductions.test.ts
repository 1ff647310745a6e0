import { expect, it } from 'vitest'
import { parseEventId, parseServerName, parseUserId } from '../../spec/ids.ts'
import { silentLogger } from '../platform/log.ts'
import type { LogRow } from '../stream/log.ts'
import { createIntroductions } from './introductions.ts'
import { deviceKeys, here, person, roomNamed, testEncryption } from './test-encryption.ts'

it('tells servers that a user had nothing to do with before of the user’s devices', async () => {
  await using test = await testEncryption()
  const alice = person(test, 'alice')
  person(test, 'alice', 'WITHOUT_KEYS')
  await test.encryption.upload(alice, { device_keys: deviceKeys(alice) })
  let onRows: (rows: readonly LogRow[]) => void = () => {}
  using _ = createIntroductions({
    log: test.log.writer,
    tail: {
      subscribe(_name, callback) {
        onRows = callback
        return { [Symbol.dispose]: () => {} }
      },
    },
    memberships: test.memberships,
    serverName: here,
    owns: () => true,
    localDevicesOf: test.encryption.localDevicesOf,
    deviceNames: async (users) =>
      new Map(users.map((user) => [user, test.devices.get(user) ?? new Map<string, undefined>()])),
    logger: silentLogger,
  })
  const [first, second] = [roomNamed('first'), roomNamed('second')]
  const join = (room: typeof first, position: number, user = alice.user): LogRow => ({
    position,
    kind: 'event',
    room,
    user,
    ref: '1',
    payload: {
      changesState: true,
      event: {
        pdu: {
          eventId: parseEventId('$join'),
          type: 'm.room.member',
          stateKey: user,
          roomId: room,
          content: { membership: 'join' },
        },
      },
    },
  })
  const told = async () => {
    const rows = await test.database.db<{ destination: string; content: string }>`
      select destination, content from outbox order by destination, id`
    return rows.map(({ destination, content }) => {
      const { device_id, prev_id, keys } = Object(JSON.parse(content))
      return [destination, device_id, prev_id, keys !== undefined]
    })
  }
  test.memberships.set(first, parseUserId('@bob:one.test'), 'join')
  test.memberships.set(first, alice.user, 'join', 100)
  onRows([join(first, 100)])
  const one = [
    ['one.test', 'DEVICE', [], true],
    ['one.test', 'WITHOUT_KEYS', [], false],
  ]
  await expect.poll(told).toEqual(one)

  test.memberships.set(second, parseUserId('@carol:one.test'), 'join')
  test.memberships.set(second, parseUserId('@dave:two.test'), 'join')
  test.memberships.set(second, alice.user, 'join', 200)
  // A change of a profile is no arrival.
  onRows([join(first, 150), join(second, 200)])
  const server = parseServerName('two.test')
  await expect
    .poll(told)
    .toEqual([...one, [server, 'DEVICE', [], true], [server, 'WITHOUT_KEYS', [], false]])

  const [carol, erin] = ['@carol2:one.test', '@erin:three.test'].map(parseUserId)
  if (!carol || !erin) throw new Error('two users')
  test.memberships.set(second, carol, 'join', 300)
  test.memberships.set(second, erin, 'join', 400)
  onRows([join(second, 300, carol), join(second, 400, erin)])
  const three = ['three.test', 'DEVICE', [], true]
  await expect.poll(async () => (await told()).map(String)).toContain(String(three))
  expect((await told()).filter(([to]) => to === 'one.test')).toHaveLength(2)
})
