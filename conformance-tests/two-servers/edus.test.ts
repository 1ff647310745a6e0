import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Client, inSection, inTimeline, register } from '../harness/client.ts'
import { type Body, isBody, path } from '../harness/http.ts'
import { type Federation, startFederation } from '../harness/pair.ts'
import { launcherUnderTest, secondLauncher, urlUnderTest } from '../harness/settings.ts'
import type { SyncAnswer } from '../harness/shapes.ts'

const v3 = '/_matrix/client/v3'
let federation: Federation | undefined

beforeAll(async () => {
  if (urlUnderTest !== undefined) return
  federation = await startFederation([
    { launcher: launcherUnderTest },
    { launcher: secondLauncher },
  ])
})
afterAll(() => federation?.[Symbol.asyncDispose]())

async function people(): Promise<{ alice: Client; bob: Client }> {
  const [home, away] = federation?.servers ?? []
  if (!home || !away) throw new Error('two servers')
  const [alice, bob] = await Promise.all([register(home, 'alice'), register(away, 'bob')])
  return { alice, bob }
}

/** Alice and bob in a room of alice's, of which both know. */
async function together() {
  const { alice, bob } = await people()
  const room = await alice.createRoom({ preset: 'public_chat' })
  await bob.join(room, [alice.server.name])
  const { next_batch: since } = await bob.syncUntil(inSection('join', room))
  await alice.syncUntil(inTimeline(room, ({ state_key }) => state_key === bob.userId))
  return { alice, bob, room, since }
}

/** Events of a kind in the room's `ephemeral`. */
const ephemeral = (answer: SyncAnswer, room: string, type: string): Body[] => {
  const { events } = Object(answer.rooms.join[room]?.ephemeral ?? { events: [] })
  return (Array.isArray(events) ? events : []).filter((one) => isBody(one) && one['type'] === type)
}

/** What the answer says that a user has read at an event, if anything. */
const receiptOf = (answer: SyncAnswer, room: string, event: string, user: string): unknown =>
  ephemeral(answer, room, 'm.receipt')
    .map(({ content }) => Object(Object(Object(content)[event])['m.read'])[user])
    .find((receipt) => receipt !== undefined)

const presenceOf = (answer: SyncAnswer, user: string): Body | undefined =>
  answer.presence.events.findLast(({ sender }) => sender === user)?.content

const setPresence = (client: Client, presence: string, status_msg?: string) =>
  client.call('PUT', path(`${v3}/presence`, client.userId, 'status'), {
    body: { presence, ...(status_msg !== undefined && { status_msg }) },
  })

describe.skipIf(urlUnderTest !== undefined)('receipts on two servers', () => {
  const read = (client: Client, room: string, event: string, thread_id?: string) =>
    client.call('POST', client.room(room, 'receipt', 'm.read', event), {
      body: thread_id === undefined ? {} : { thread_id },
    })

  it('keep their thread', async () => {
    const { alice, bob, room, since } = await together()
    const root = await alice.sendText(room, 'root')
    const relation = { 'm.relates_to': { rel_type: 'm.thread', event_id: root } }
    const reply = await alice.sendEvent(room, 'm.room.message', {
      msgtype: 'm.text',
      body: 'reply',
      ...relation,
    })
    await read(alice, room, reply, root)
    const answer = await bob.syncUntil(
      (one) => receiptOf(one, room, reply, alice.userId) !== undefined,
      { since },
    )
    expect(receiptOf(answer, room, reply, alice.userId)).toMatchObject({ thread_id: root })
  })

  it('of the whole room stand before those of a thread at the same event', async () => {
    const { alice, bob, room, since } = await together()
    const event = await bob.sendText(room, 'read me')
    await alice.syncUntil(inTimeline(room, ({ event_id }) => event_id === event))
    await read(alice, room, event)
    await read(alice, room, event, 'main')
    const seen = async (client: Client, from?: string) => {
      const answer = await client.sync(from === undefined ? {} : { since: from })
      return receiptOf(answer, room, event, alice.userId)
    }
    const ofTheRoom = { ts: expect.any(Number) }
    for (const from of [since, undefined])
      await expect.poll(() => seen(bob, from)).toEqual(ofTheRoom)
    expect(await seen(alice)).toEqual(ofTheRoom)
  })
})

describe.skipIf(urlUnderTest !== undefined)('typing on two servers', () => {
  it('begins and ends', async () => {
    const { alice, bob, room, since } = await together()
    const type = (typing: boolean) =>
      alice.call('PUT', alice.room(room, 'typing', alice.userId), {
        body: { typing, ...(typing && { timeout: 20_000 }) },
      })
    const typists = (answer: SyncAnswer): unknown =>
      Object(ephemeral(answer, room, 'm.typing').at(-1)?.['content'])['user_ids']
    await type(true)
    const first = await bob.syncUntil((one) => typists(one) !== undefined, { since })
    expect(typists(first)).toEqual([alice.userId])
    await type(false)
    const second = await bob.syncUntil((one) => typists(one) !== undefined, {
      since: first.next_batch,
    })
    expect(typists(second)).toEqual([])
  })
})

describe.skipIf(urlUnderTest !== undefined)('presence on two servers', () => {
  it('is what the user says, with the status', async () => {
    const { alice, bob, since } = await together()
    let next = since
    for (const [presence, status] of [
      ['online', 'working'],
      ['unavailable', 'at lunch'],
      ['online', 'back'],
    ] as const) {
      await setPresence(alice, presence, status)
      const answer = await bob.syncUntil(
        (one) => presenceOf(one, alice.userId)?.['status_msg'] === status,
        { since: next },
      )
      expect(presenceOf(answer, alice.userId)).toMatchObject({ presence })
      next = answer.next_batch
    }
  })

  it('is known to those who come into a room, and of them', async () => {
    const { alice, bob } = await people()
    await setPresence(alice, 'online', 'here first')
    await setPresence(bob, 'online', 'just came')
    const room = await alice.createRoom({ preset: 'public_chat' })
    const { next_batch: since } = await alice.sync({ presence: 'online' })
    await bob.sync({ presence: 'online' })
    await bob.join(room, [alice.server.name])
    await alice.syncUntil((one) => presenceOf(one, bob.userId)?.['status_msg'] === 'just came', {
      since,
      presence: 'online',
    })
    await bob.syncUntil((one) => presenceOf(one, alice.userId)?.['status_msg'] === 'here first', {
      presence: 'online',
    })
  })
})
