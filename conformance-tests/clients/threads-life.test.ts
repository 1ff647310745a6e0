/** Threads, edits and reactions as people have them who use matrix-js-sdk, on a device that was there and on a new one. */
import { EventType, MsgType, Preset, RelationType } from 'matrix-js-sdk'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Federation, startFederation } from '../harness/pair.ts'
import { launcherUnderTest } from '../harness/settings.ts'
import { createPerson, type Person, signInAgain, until } from './js-sdk.ts'

const text = (body: string) => ({ msgtype: MsgType.Text, body }) as const
const testTimeoutMs = 180_000

/** The threads of a room as a client shows them when its user opens the list. */
async function threadsOf({ client }: Person, roomId: string) {
  const room = client.getRoom(roomId)
  if (room === null) return []
  await room.createThreadsTimelineSets()
  await room.fetchRoomThreads()
  return room.getThreads().map((thread) => ({
    root: thread.id,
    body: thread.rootEvent?.getContent()['body'],
    length: thread.length,
    latest: thread.replyToEvent?.getId(),
    isMine: thread.hasCurrentUserParticipated,
  }))
}

const hasMember = ({ client }: Person, roomId: string, userId: string) =>
  client.getRoom(roomId)?.getMember(userId)?.membership === 'join'

describe('people with threads, on two instances,', () => {
  let federation: Federation | undefined
  beforeAll(async () => {
    const member = { launcher: launcherUnderTest }
    federation = await startFederation([member, member])
  })
  afterAll(() => federation?.[Symbol.asyncDispose]())

  it(
    'see them alike on every device, with edits and reactions',
    async () => {
      const [home, away] = federation?.servers ?? []
      if (!home || !away) throw new Error('two servers')
      await using alice = await createPerson(home, 'alice', { threads: true })
      await using bob = await createPerson(away, 'bob', { threads: true })
      const made = await alice.client.createRoom({ preset: Preset.PublicChat })
      const roomId = made.room_id
      await bob.client.joinRoom(roomId, { viaServers: [home.name] })
      await bob.isIn(roomId, 'join')
      await until('bob at alice', () => hasMember(alice, roomId, bob.userId))

      const { event_id: root } = await alice.client.sendMessage(roomId, text('root'))
      const { event_id: other } = await alice.client.sendMessage(roomId, text('other'))
      await alice.client.sendMessage(roomId, root, text('first in the thread'))
      await until('the talk at bob', () => bob.shows(roomId, 'other'))
      const { event_id: latest } = await bob.client.sendMessage(roomId, root, text('second'))
      await until('the whole thread at alice', async () => {
        const [thread] = await threadsOf(alice, roomId)
        return thread?.length === 2
      })
      await alice.client.sendMessage(roomId, {
        ...text('* better'),
        'm.new_content': text('better'),
        'm.relates_to': { rel_type: RelationType.Replace, event_id: root },
      })
      await bob.client.sendEvent(roomId, EventType.Reaction, {
        'm.relates_to': { rel_type: RelationType.Annotation, event_id: other, key: '👍' },
      })
      // Beyond what an initial sync shows.
      for (let at = 0; at < 40; at++) await alice.client.sendMessage(roomId, text(`${at}`))

      const shown = { root, body: 'better', length: 2, latest }
      await until('the thread at bob', async () => {
        const [thread] = await threadsOf(bob, roomId)
        return thread?.length === 2 && thread.body === 'better'
      })
      expect(await threadsOf(bob, roomId)).toMatchObject([shown])

      await using phone = await signInAgain(away, bob.userId, { threads: true })
      await phone.isIn(roomId, 'join')
      await until('the thread at the new device', async () => {
        const [thread] = await threadsOf(phone, roomId)
        return thread?.length === 2 && thread.body === 'better'
      })
      expect(await threadsOf(phone, roomId)).toEqual([{ ...shown, isMine: true }])

      const { events } = await phone.client.relations(
        roomId,
        other,
        RelationType.Annotation,
        EventType.Reaction,
      )
      expect(events.map((event) => event.getRelation()?.key)).toEqual(['👍'])
      const inThread = await phone.client.relations(roomId, root, RelationType.Thread, null)
      expect(inThread.events.map((event) => event.getContent()['body'])).toEqual([
        'second',
        'first in the thread',
      ])
    },
    testTimeoutMs,
  )
})
