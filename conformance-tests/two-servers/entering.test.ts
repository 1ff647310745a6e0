import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { eventually, inSection, inTimeline, register } from '../harness/client.ts'
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

describe.skipIf(urlUnderTest !== undefined)('who comes into a room of another server', () => {
  // What is said then may arrive before the room does.
  it.each([1, 2, 3])('hears what is said at once (%i)', async () => {
    const [home, away] = federation?.servers ?? []
    if (!home || !away) throw new Error('two servers')
    const [alice, bob] = await Promise.all([register(home, 'alice'), register(away, 'bob')])
    const room = await alice.createRoom({ preset: 'private_chat', invite: [bob.userId] })
    const { next_batch: since } = await bob.syncUntil(inSection('invite', room))
    const joining = bob.join(room, [home.name])
    await eventually(
      () => alice.ask('GET', alice.room(room, 'joined_members')),
      ({ text }) => text.includes(bob.userId),
    )
    const id = await alice.sendText(room, 'welcome')
    await joining
    const answer = await bob.syncUntil(
      inTimeline(room, ({ event_id }) => event_id === id),
      { since },
    )
    expect(answer.rooms.join[room]).toBeDefined()
  })
})
