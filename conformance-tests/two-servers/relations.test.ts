import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Client, inSection, inTimeline, register } from '../harness/client.ts'
import { type Body, path } from '../harness/http.ts'
import { type Federation, startFederation } from '../harness/pair.ts'
import { launcherUnderTest, secondLauncher, urlUnderTest } from '../harness/settings.ts'

let federation: Federation | undefined

beforeAll(async () => {
  if (urlUnderTest !== undefined) return
  federation = await startFederation([
    { launcher: launcherUnderTest },
    { launcher: secondLauncher },
  ])
})
afterAll(() => federation?.[Symbol.asyncDispose]())

const related = (type: string, event: string, more: Body = {}): Body => ({
  ...{ msgtype: 'm.text', body: 'related', ...more },
  'm.relates_to': { rel_type: type, event_id: event },
})
const edited = (event: string, body: string) =>
  related('m.replace', event, { 'm.new_content': { msgtype: 'm.text', body } })

const seenBy = (user: Client, room: string, event: string) =>
  user.syncUntil(inTimeline(room, ({ event_id }) => event_id === event))

async function bundleFor(user: Client, room: string, event: string): Promise<Body> {
  return Object((await user.event(room, event)).unsigned['m.relations'] ?? {})
}

async function idsFor(user: Client, where: string): Promise<unknown[]> {
  const { chunk } = await user.call('GET', where)
  return Object(chunk).map((event: Body) => event['event_id'])
}

describe.skipIf(urlUnderTest !== undefined)('relations across two servers', () => {
  async function people() {
    const [home, away] = federation?.servers ?? []
    if (!home || !away) throw new Error('two servers')
    const [alice, bob] = await Promise.all([register(home, 'alice'), register(away, 'bob')])
    const room = await alice.createRoom({ preset: 'public_chat' })
    return { alice, bob, room, home }
  }

  it('are the same on both, whoever sent them and after redactions', async () => {
    const { alice, bob, room, home } = await people()
    await bob.join(room, [home.name])
    await alice.syncUntil(inTimeline(room, ({ state_key }) => state_key === bob.userId))
    const root = await alice.sendEvent(room, 'm.room.message', { msgtype: 'm.text', body: 'root' })
    await seenBy(bob, room, root)
    const reply = await bob.sendEvent(room, 'm.room.message', related('m.thread', root))
    await seenBy(alice, room, reply)
    const answer = await alice.sendEvent(room, 'm.room.message', related('m.thread', root))
    const edit = await alice.sendEvent(room, 'm.room.message', edited(root, 'better'))
    await seenBy(bob, room, edit)
    const where = path('/_matrix/client/v1/rooms', room, 'relations', root)
    const threads = path('/_matrix/client/v1/rooms', room, 'threads')
    for (const user of [alice, bob]) {
      expect(await bundleFor(user, room, root)).toMatchObject({
        'm.replace': { event_id: edit },
        'm.thread': {
          ...{ count: 2, current_user_participated: true, latest_event: { event_id: answer } },
        },
      })
      expect(await idsFor(user, where)).toEqual([edit, answer, reply])
      expect(await idsFor(user, threads)).toEqual([root])
    }
    await alice.redact(room, answer)
    await alice.redact(room, edit)
    for (const user of [alice, bob]) {
      await expect.poll(() => idsFor(user, where), { timeout: 15_000 }).toEqual([reply])
      const bundle = await bundleFor(user, room, root)
      expect(bundle).toMatchObject({ 'm.thread': { count: 1, latest_event: { event_id: reply } } })
      expect(bundle).not.toHaveProperty('m.replace')
    }
  })

  it('from before a user joined come with the history', async () => {
    const { alice, bob, room, home } = await people()
    const root = await alice.sendText(room, 'root')
    const reply = await alice.sendEvent(room, 'm.room.message', related('m.thread', root))
    const edit = await alice.sendEvent(room, 'm.room.message', edited(reply, 'better'))
    await bob.join(room, [home.name])
    await bob.syncUntil(inSection('join', room))
    await expect
      .poll(async () => (await bob.messages(room, { limit: 50 })).chunk.map((e) => e.event_id), {
        timeout: 15_000,
      })
      .toContain(root)
    expect(await bundleFor(bob, room, root)).toMatchObject({
      'm.thread': {
        latest_event: {
          event_id: reply,
          unsigned: { 'm.relations': { 'm.replace': { event_id: edit } } },
        },
      },
    })
  })
})
