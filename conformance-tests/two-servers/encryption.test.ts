import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Client, inSection, inTimeline, login, register, unique } from '../harness/client.ts'
import { createDeviceKeys, oneTimeKey } from '../harness/device-keys.ts'
import { type Body, path } from '../harness/http.ts'
import { type Federation, startFederation } from '../harness/pair.ts'
import type { LaunchedServer } from '../harness/server.ts'
import {
  launcherUnderTest,
  secondLauncher,
  underTestIsSynapse,
  urlUnderTest,
} from '../harness/settings.ts'
import type { SyncAnswer } from '../harness/shapes.ts'

const v3 = '/_matrix/client/v3'
/** Long enough for a server to notice that the other one is away. */
const noticedMs = 2_500

let federation: Federation | undefined

beforeAll(async () => {
  if (urlUnderTest !== undefined) return
  federation = await startFederation([
    { launcher: launcherUnderTest },
    { launcher: secondLauncher },
  ])
})
afterAll(() => federation?.[Symbol.asyncDispose]())

function servers(): readonly [LaunchedServer, LaunchedServer] {
  const [home, away] = federation?.servers ?? []
  if (!home || !away) throw new Error('two servers')
  return [home, away]
}

async function people(): Promise<{ alice: Client; bob: Client }> {
  const [home, away] = servers()
  const [alice, bob] = await Promise.all([register(home, 'alice'), register(away, 'bob')])
  return { alice, bob }
}

/** Alice and bob in a room of alice's, of which both know. */
async function together() {
  const { alice, bob } = await people()
  const room = await alice.createRoom({ preset: 'public_chat' })
  await bob.join(room, [alice.server.name])
  await bob.syncUntil(inSection('join', room))
  await alice.syncUntil(inTimeline(room, ({ state_key }) => state_key === bob.userId))
  return { alice, bob, room }
}

const changes =
  (user: string, where: 'changed' | 'left' = 'changed') =>
  ({ device_lists: lists }: SyncAnswer) =>
    lists[where].includes(user)

async function upload(client: Client, more: Body = {}): Promise<Body> {
  const { deviceKeys } = createDeviceKeys(client)
  await client.call('POST', `${v3}/keys/upload`, { body: { device_keys: deviceKeys, ...more } })
  return deviceKeys
}

async function devicesOf(user: string, asker: Client): Promise<Body> {
  const answer = await asker.call('POST', `${v3}/keys/query`, {
    body: { device_keys: { [user]: [] } },
  })
  return Object(Object(answer['device_keys'])[user])
}

describe.skipIf(urlUnderTest !== undefined)('keys on two servers', () => {
  it('are queried', async () => {
    const { alice, bob } = await people()
    const keys = await upload(alice)
    const devices = await devicesOf(alice.userId, bob)
    expect(devices).toMatchObject({ [alice.deviceId]: keys })
    expect(JSON.stringify(devices)).not.toContain('device_display_name')
  })

  it('are claimed, each once', async () => {
    const { alice, bob } = await people()
    const keys = createDeviceKeys(alice)
    const body = { device_keys: keys.deviceKeys, one_time_keys: oneTimeKey(keys, 'AAAA') }
    await alice.call('POST', `${v3}/keys/upload`, { body })
    const wanted = { [alice.userId]: { [alice.deviceId]: 'signed_curve25519' } }
    const claim = () => bob.call('POST', `${v3}/keys/claim`, { body: { one_time_keys: wanted } })
    expect(await claim()).toMatchObject({
      one_time_keys: { [alice.userId]: { [alice.deviceId]: body.one_time_keys } },
      failures: {},
    })
    expect(JSON.stringify((await claim())['one_time_keys'])).not.toContain('AAAA')
  })
})

describe.skipIf(urlUnderTest !== undefined)('who shares a room with someone elsewhere', () => {
  it('sees who joins, leaves and joins again among changed and left devices', async () => {
    const { alice, bob } = await people()
    await Promise.all([upload(alice), upload(bob)])
    const room = await alice.createRoom({ preset: 'public_chat' })
    const [a0, b0] = await Promise.all([alice.sync(), bob.sync()])
    await bob.join(room, [alice.server.name])
    const a1 = await alice.syncUntil(changes(bob.userId), { since: a0.next_batch })
    const b1 = await bob.syncUntil(changes(alice.userId), { since: b0.next_batch })
    await bob.leave(room)
    const a2 = await alice.syncUntil(changes(bob.userId, 'left'), { since: a1.next_batch })
    await bob.join(room, [alice.server.name])
    await alice.syncUntil(changes(bob.userId), { since: a2.next_batch })
    await bob.syncUntil(changes(alice.userId), { since: b1.next_batch })
  })
})

/** Makes the second server unreachable; the function that it answers brings it back. */
async function goAway(how: string): Promise<() => Promise<void>> {
  const [, away] = servers()
  if (how === 'good') return async () => {}
  if (how === 'stopped') {
    await away.stop()
    return () => away.start()
  }
  const group = -away.pid()
  process.kill(group, 'SIGSTOP')
  return async () => void process.kill(group, 'SIGCONT')
}

describe.skipIf(urlUnderTest !== undefined).each(['good', 'interrupted', 'stopped'])(
  'over a connection that is %s',
  (how) => {
    /** Does something here while the other server is away. */
    async function whileAway(act: () => Promise<unknown>, room: string, bob: Client) {
      const back = await goAway(how)
      try {
        await act()
        if (how !== 'good') await sleep(noticedMs)
      } finally {
        await back()
      }
      // Synapse waits ten minutes, or until it hears from the other server.
      if (underTestIsSynapse && how !== 'good') await bob.sendText(room, 'here I am')
    }

    it('a new device is seen by those who share a room', async () => {
      const { alice, bob, room } = await together()
      await upload(alice)
      await expect.poll(async () => Object.keys(await devicesOf(alice.userId, bob))).toHaveLength(1)
      const { next_batch: since } = await bob.sync()
      const [home] = servers()
      let phone = alice
      await whileAway(
        async () => {
          phone = await login(home, alice.userId)
          await upload(phone)
        },
        room,
        bob,
      )
      await bob.syncUntil(changes(alice.userId), { since })
      await expect
        .poll(async () => Object.keys(await devicesOf(alice.userId, bob)).sort(), {
          timeout: 10_000,
        })
        .toEqual([alice.deviceId, phone.deviceId].sort())
    })

    it('messages to devices arrive, in order and once', async () => {
      const { alice, bob, room } = await together()
      const { next_batch: since } = await bob.sync()
      const send = async (n: number) => {
        const where = path(`${v3}/sendToDevice`, 'org.example.test', unique('t'))
        const messages = { [bob.userId]: { [bob.deviceId]: { n } } }
        await alice.call('PUT', where, { body: { messages } })
      }
      await whileAway(
        async () => {
          for (let n = 0; n < 5; n++) await send(n)
        },
        room,
        bob,
      )
      const seen: unknown[] = []
      let next = since
      while (seen.length < 5) {
        const answer = await bob.syncUntil(({ to_device: inbox }) => inbox.events.length > 0, {
          since: next,
        })
        seen.push(...answer.to_device.events.map(({ content }) => content['n']))
        next = answer.next_batch
      }
      expect(seen).toEqual([0, 1, 2, 3, 4])
    })
  },
)

describe.skipIf(urlUnderTest !== undefined)('while the other server is away', () => {
  it('its users’ keys are failures, and what waits for them outlives a restart', async () => {
    const { alice, bob, room } = await together()
    const [home, away] = servers()
    const { next_batch: since } = await bob.sync()
    const nobody = `@nobody:${away.name}`
    await away.stop()
    const wanted = { [nobody]: [], [alice.userId]: [] }
    const answer = await alice.call('POST', `${v3}/keys/query`, { body: { device_keys: wanted } })
    expect(Object.keys(Object(answer['failures']))).toEqual([away.name])
    const claimed = await alice.call('POST', `${v3}/keys/claim`, {
      body: { one_time_keys: { [nobody]: { A: 'signed_curve25519' } } },
    })
    expect(Object.keys(Object(claimed['failures']))).toEqual([away.name])

    const messages = { [bob.userId]: { [bob.deviceId]: { kept: true } } }
    const where = path(`${v3}/sendToDevice`, 'org.example.test', unique('t'))
    await alice.call('PUT', where, { body: { messages } })
    const id = await alice.sendText(room, 'kept, too')
    await home.stop()
    await home.start()
    await away.start()
    if (underTestIsSynapse) await bob.sendText(room, 'here I am')
    let said = false
    let received = false
    await bob.syncUntil(
      (one) => {
        said ||= inTimeline(room, ({ event_id }) => event_id === id)(one)
        received ||= one.to_device.events.some(({ content }) => content['kept'] === true)
        return said && received
      },
      { since },
    )
  }, 60_000)
})
