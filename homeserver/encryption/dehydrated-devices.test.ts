import { afterAll, beforeAll, expect, it } from 'vitest'
import { parseDeviceId } from '../../spec/ids.ts'
import { systemClock } from '../platform/clock.ts'
import { createDehydratedDevices, type DehydratedDevices } from './dehydrated-devices.ts'
import { deviceKeys, person, type TestEncryption, testEncryption } from './test-encryption.ts'

let test: TestEncryption
let dehydrated: DehydratedDevices
beforeAll(async () => {
  test = await testEncryption()
  dehydrated = createDehydratedDevices({
    ...{ db: test.database.db, log: test.log.writer, clock: systemClock },
    ...{ encryption: test.encryption, toDevice: test.toDevice },
    sessions: {
      deleteDevices: async () => {},
      deviceNames: async (users) =>
        new Map(users.map((user) => [user, test.devices.get(user) ?? new Map()])),
    },
  })
})
afterAll(() => test[Symbol.asyncDispose]())

const deviceData = { algorithm: 'm.dehydration.v2' }

it('is kept with its keys', async () => {
  const { user } = person(test, 'alice')
  const deviceId = parseDeviceId('AWAY')
  const keys = { device_keys: deviceKeys({ user, device: deviceId }) }
  await dehydrated.put(user, { deviceId, deviceData, keys })
  expect(await dehydrated.get(user)).toEqual({ deviceId, deviceData })
  const found = await test.encryption.query(person(test, 'alice'), { [user]: [] })
  expect(found).toMatchObject({ device_keys: { [user]: { AWAY: keys.device_keys } } })
  expect(await dehydrated.messages(user, deviceId, { after: 0, limit: 10 })).toEqual({
    messages: [],
  })
})

it('never takes the place of a device that somebody is signed in on', async () => {
  const { user, device } = person(test, 'bob')
  const keys = { device_keys: deviceKeys({ user, device }) }
  await expect(dehydrated.put(user, { deviceId: device, deviceData, keys })).rejects.toMatchObject({
    errcode: 'M_INVALID_PARAM',
  })
  await expect(dehydrated.get(user)).rejects.toMatchObject({ errcode: 'M_NOT_FOUND' })
})

it('has data that says its algorithm, and keys that name the device', async () => {
  const { user } = person(test, 'carol')
  const deviceId = parseDeviceId('AWAY')
  const keys = { device_keys: deviceKeys({ user, device: parseDeviceId('OTHER') }) }
  const put = (data: object) => dehydrated.put(user, { deviceId, deviceData: { ...data }, keys })
  await expect(put({})).rejects.toMatchObject({ errcode: 'M_BAD_JSON' })
  await expect(put(deviceData)).rejects.toMatchObject({ errcode: 'M_INVALID_PARAM' })
  await expect(dehydrated.messages(user, deviceId, { after: 0, limit: 10 })).rejects.toMatchObject({
    errcode: 'M_FORBIDDEN',
  })
})
