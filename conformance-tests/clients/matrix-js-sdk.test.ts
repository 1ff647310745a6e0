/**
 * People with a client that nobody here wrote, on servers that federate. The first server is the one under test; the
 * second another instance of it, and Synapse where there is one.
 */
import { EventType, MsgType, Preset } from 'matrix-js-sdk'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Federation, startFederation } from '../harness/pair.ts'
import type { LaunchedServer } from '../harness/server.ts'
import { hasSynapse, launchers, launcherUnderTest } from '../harness/settings.ts'
import { createPerson, type Person, until } from './js-sdk.ts'

const messages = 200
const burstWithSynapse = 20
const conversationTimeoutMs = 420_000

const synapse = hasSynapse() && launcherUnderTest !== launchers.synapse
if (!synapse && launcherUnderTest !== launchers.synapse) {
  process.stderr.write(
    'NOT RUN: conversations with Synapse, because there is none on this machine (SYNAPSE_PYTHON)\n',
  )
}

/**
 * Each tells the other something, again and again, at the same time. After a burst they wait until they have read each
 * other. Without the pauses nothing is lost either: asked by /messages from the newest event on, both servers show all
 * of it in order. But of what waits in a room beyond 100 events Synapse keeps only the tips (prune_staged_events_in_room)
 * and shows the others in no sync, until somebody scrolls back over the gap; and this client, once it has scrolled to the
 * beginning, does not do so again. It may also show two messages of its own user, sent while a sync was cut, in the wrong order.
 */
async function talk(
  people: readonly [Person, Person],
  roomId: string,
  burst: number,
): Promise<void> {
  for (let from = 0; from < messages; from += burst) {
    const to = Math.min(from + burst, messages)
    await Promise.all(
      people.map(async ({ client, userId }) => {
        for (let i = from; i < to; i++) {
          await client.sendMessage(roomId, { msgtype: MsgType.Text, body: `${userId} ${i}` })
        }
      }),
    )
    if (burst === messages) return
    for (const reader of people) {
      for (const { userId } of people) {
        const last = `${userId} ${to - 1}`
        await until(`${last} at ${reader.userId}`, () => reader.shows(roomId, last))
      }
    }
  }
}

async function converse(
  home: LaunchedServer,
  away: LaunchedServer,
  version: string,
  burst = messages,
): Promise<void> {
  await using alice = await createPerson(home, 'alice')
  await using bob = await createPerson(away, 'bob')
  const { room_id: roomId } = await alice.client.createRoom({
    preset: Preset.PrivateChat,
    name: `version ${version}`,
    ...{ room_version: version },
  })
  await alice.client.invite(roomId, bob.userId)
  await bob.isIn(roomId, 'invite')
  await bob.client.joinRoom(roomId)
  await bob.isIn(roomId, 'join')
  expect(bob.client.getRoom(roomId)?.getVersion()).toBe(version)
  await talk([alice, bob], roomId, burst)
  for (const reader of [alice, bob]) {
    for (const { userId } of [alice, bob]) {
      const wanted = Array.from({ length: messages }, (_, i) => `${userId} ${i}`)
      let seen: string[] = []
      await until(`all messages of ${userId} at ${reader.userId}`, async () => {
        seen = await reader.textsFrom(roomId, userId)
        return seen.length >= messages
      })
      expect({ reader: reader.userId, seen }).toEqual({ reader: reader.userId, seen: wanted })
    }
  }
}

describe('people on two instances', () => {
  let federation: Federation | undefined
  beforeAll(async () => {
    const members = [{ launcher: launcherUnderTest }, { launcher: launcherUnderTest }]
    federation = await startFederation(members)
  })
  afterAll(() => federation?.[Symbol.asyncDispose]())

  it.each(['10', '11', '12'])(
    'invite, join and see 200 messages each way in order, in room version %s',
    async (version) => {
      const [first, second] = federation?.servers ?? []
      if (!first || !second) throw new Error('two servers')
      await converse(first, second, version)
    },
    conversationTimeoutMs,
  )

  it(
    'of one instance exchange encrypted messages',
    async () => {
      const [server] = federation?.servers ?? []
      if (!server) throw new Error('no server')
      await using alice = await createPerson(server, 'alice', { encryption: true })
      await using carol = await createPerson(server, 'carol', { encryption: true })
      const { room_id: roomId } = await alice.client.createRoom({
        preset: Preset.PrivateChat,
        invite: [carol.userId],
        initial_state: [
          {
            type: EventType.RoomEncryption,
            state_key: '',
            content: { algorithm: 'm.megolm.v1.aes-sha2' },
          },
        ],
      })
      await carol.isIn(roomId, 'invite')
      await carol.client.joinRoom(roomId)
      await carol.isIn(roomId, 'join')
      await until(
        'alice sees carol',
        () => alice.client.getRoom(roomId)?.getMember(carol.userId)?.membership === 'join',
      )
      for (const [from, to, text] of [
        [alice, carol, 'for carol only'],
        [carol, alice, 'for alice only'],
      ] as const) {
        await from.client.sendMessage(roomId, { msgtype: MsgType.Text, body: text })
        await until(`${to.userId} decrypts`, async () =>
          (await to.textsFrom(roomId, from.userId)).includes(text),
        )
        const event = to.client
          .getRoom(roomId)
          ?.getLiveTimeline()
          .getEvents()
          .find((one) => one.getContent()['body'] === text)
        expect(event?.getWireType()).toBe('m.room.encrypted')
        expect(event?.isDecryptionFailure()).toBe(false)
      }
    },
    conversationTimeoutMs,
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

  describe.each(['10', '11', '12'])('in room version %s', (version) => {
    it(
      'meet in a room of this server',
      async () => {
        const [ours, theirs] = federation?.servers ?? []
        if (!ours || !theirs) throw new Error('two servers')
        await converse(ours, theirs, version, burstWithSynapse)
      },
      conversationTimeoutMs,
    )

    it(
      'meet in a room of Synapse',
      async () => {
        const [ours, theirs] = federation?.servers ?? []
        if (!ours || !theirs) throw new Error('two servers')
        await converse(theirs, ours, version, burstWithSynapse)
      },
      conversationTimeoutMs,
    )
  })
})
