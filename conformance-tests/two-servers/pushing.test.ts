/** Notifications of what happens on another server. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { inSection, register } from '../harness/client.ts'
import { type Federation, startFederation } from '../harness/pair.ts'
import { addPusher, openPushGateway, type PushGateway } from '../harness/push-gateway.ts'
import { launcherUnderTest, secondLauncher, urlUnderTest } from '../harness/settings.ts'

let federation: Federation | undefined
let gateway: PushGateway

beforeAll(async () => {
  gateway = await openPushGateway()
  if (urlUnderTest !== undefined) return
  federation = await startFederation([
    { launcher: launcherUnderTest },
    { launcher: secondLauncher },
  ])
})
afterAll(async () => {
  await federation?.[Symbol.asyncDispose]()
  await gateway[Symbol.asyncDispose]()
})

it.skipIf(urlUnderTest !== undefined)(
  'a user is notified of the invite and of the messages of somebody on another server',
  async () => {
    const [home, away] = federation?.servers ?? []
    if (!home || !away) throw new Error('two servers')
    const [alice, bob] = [await register(home, 'alice'), await register(away, 'bob')]
    const key = await addPusher(alice, gateway)
    const room = await bob.createRoom({ name: 'Far away', preset: 'private_chat' })
    await bob.invite(room, alice.userId)
    const invite = await gateway.until(key, ({ room_id: id }) => id === room)
    expect(invite).toMatchObject({
      type: 'm.room.member',
      sender: bob.userId,
      user_is_target: true,
      room_name: 'Far away',
      counts: { unread: 1 },
    })
    await alice.join(room)
    await bob.syncUntil((answer) => inSection('join', room)(answer))
    const event = await bob.sendText(room, 'hello')
    const told = await gateway.until(key, ({ event_id: id }) => id === event)
    expect(told).toMatchObject({
      room_name: 'Far away',
      content: { body: 'hello' },
      counts: { unread: 1 },
    })
  },
)
