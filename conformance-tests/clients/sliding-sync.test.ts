/** Rooms as somebody sees them whose client is matrix-js-sdk with sliding sync. */
import * as sdk from 'matrix-js-sdk'
import { SlidingSync } from 'matrix-js-sdk/lib/sliding-sync.js'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Client, register } from '../harness/client.ts'
import { type Federation, startFederation } from '../harness/pair.ts'
import { launcherUnderTest } from '../harness/settings.ts'
import { until } from './js-sdk.ts'

const requestTimeoutMs = 2_000

/** A client that asks for all rooms with a few events, and more of a room that is open. */
async function slidingClient({ server, userId, deviceId, token }: Client) {
  const client = sdk.createClient({
    ...{ baseUrl: server.clientUrl, userId, deviceId, accessToken: token },
  })
  const required: string[][] = [
    ['m.room.create', ''],
    ['m.room.name', ''],
    ['m.room.member', '$ME'],
    ['m.room.member', '$LAZY'],
  ]
  const rules = { timeline_limit: 2, required_state: required }
  const lists = new Map([['all', { ...rules, ranges: [[0, 49]] }]])
  const open = { timeline_limit: 20, required_state: [...required, ['*', '*']] }
  const sliding = new SlidingSync(server.clientUrl, lists, open, client, requestTimeoutMs)
  await client.startClient({ slidingSync: sliding })
  return {
    client,
    sliding,
    textsIn: (room: string) =>
      (client.getRoom(room)?.getLiveTimeline().getEvents() ?? []).flatMap((event) =>
        event.getType() === 'm.room.message' ? [event.getContent()['body']] : [],
      ),
    [Symbol.dispose]: () => client.stopClient(),
  }
}

describe('matrix-js-sdk with sliding sync', () => {
  let federation: Federation | undefined
  beforeAll(async () => {
    federation = await startFederation([{ launcher: launcherUnderTest }])
  })
  afterAll(() => federation?.[Symbol.asyncDispose]())

  it('shows rooms, what is said in them, invites and leaving', async () => {
    const [server] = federation?.servers ?? []
    if (!server) throw new Error('a server')
    const [alice, bob] = await Promise.all([register(server, 'alice'), register(server, 'bob')])
    const room = await alice.createRoom({ name: 'Kitchen', invite: [bob.userId] })
    await bob.join(room)
    for (let n = 0; n < 6; n++) await bob.sendText(room, `${n}`)
    using sliding = await slidingClient(alice)
    const { client, textsIn } = sliding
    await until('the room', () => client.getRoom(room)?.name === 'Kitchen')
    await until('the newest messages', () => textsIn(room).at(-1) === '5')
    await bob.sendText(room, 'live')
    await until('a message', () => textsIn(room).includes('live'))

    // The room is opened: what was said before is there, once. The library puts it at the end, whichever the server.
    sliding.sliding.modifyRoomSubscriptions(new Set([room]))
    await until('the older messages', () => textsIn(room).length >= 7)
    expect(textsIn(room).toSorted()).toEqual(['0', '1', '2', '3', '4', '5', 'live'])

    const other = await bob.createRoom({ name: 'Hall', invite: [alice.userId] })
    const membership = () => client.getRoom(other)?.getMyMembership()
    await until('an invite', () => membership() === 'invite')
    expect(client.getRoom(other)?.name).toBe('Hall')
    await client.joinRoom(other)
    await until('the room it is for', () => membership() === 'join')
    await bob.sendText(other, 'welcome')
    await until('its message', () => textsIn(other).includes('welcome'))
    await bob.kick(other, alice.userId)
    await until('having been kicked', () => membership() === 'leave')
  }, 120_000)
})
