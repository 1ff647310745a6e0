/** Push notifications while processes come and go. Synapse's launcher has one process only. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Client, clientOf, eventually, register } from '../harness/client.ts'
import { type TwoStarts, twoStarts } from '../harness/instance.ts'
import { addPusher, openPushGateway, type PushGateway } from '../harness/push-gateway.ts'
import { launchers, launcherUnderTest } from '../harness/settings.ts'

const oneProcessOnly = launcherUnderTest === launchers.synapse
const usersCount = 6
const testTimeoutMs = 120_000

describe.skipIf(oneProcessOnly)('notifications', { timeout: testTimeoutMs }, () => {
  let instance: TwoStarts
  let gateway: PushGateway
  let alice: Client
  let room: string
  let keys: string[]

  beforeAll(async () => {
    gateway = await openPushGateway()
    instance = await twoStarts({ withRedis: false })
    const [, second] = instance.doors
    alice = await register(second, 'alice')
    room = await alice.createRoom({ preset: 'public_chat' })
    keys = []
    for (let n = 0; n < usersCount; n++) {
      const user = await register(second, 'user')
      await user.join(room)
      keys.push(await addPusher(user, gateway))
    }
  }, testTimeoutMs)
  afterAll(async () => {
    await instance[Symbol.asyncDispose]()
    await gateway[Symbol.asyncDispose]()
  })

  const told = (event: string) =>
    Promise.all(keys.map((key) => gateway.until(key, ({ event_id: id }) => id === event)))
  const countOf = (key: string, event: string) =>
    gateway.taken(key).filter(({ event_id: id }) => id === event).length

  it('come from one process for each user, whoever was asked', async () => {
    const viaFirst = clientOf(instance.doors[0], alice.session)
    const first = await viaFirst.sendText(room, 'one')
    const second = await alice.sendText(room, 'two')
    await told(first)
    await told(second)
    for (const key of keys) {
      expect([countOf(key, first), countOf(key, second)]).toEqual([1, 1])
    }
  })

  it('that nobody took are sent by the process that is left', async () => {
    for (const key of keys) gateway.refuse(key, 503)
    const event = await alice.sendText(room, 'while the gateway is down')
    for (const key of keys) {
      await eventually(
        async () => gateway.refused(key),
        (count) => count > 0,
      )
    }
    await instance.killOne()
    for (const key of keys) gateway.refuse(key, undefined)
    await told(event)
  })

  it('go on when the process is back', async () => {
    const event = await alice.sendText(room, 'with one process')
    await told(event)
    await instance.restore()
    const later = await alice.sendText(room, 'with both again')
    await told(later)
  })
})
