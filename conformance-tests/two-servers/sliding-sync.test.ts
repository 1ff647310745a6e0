/** Sliding sync of rooms that live on another server. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Client, eventually, register } from '../harness/client.ts'
import { itSynapseBreaks } from '../harness/exceptions.ts'
import { type Federation, startFederation } from '../harness/pair.ts'
import { launcherUnderTest, secondLauncher, urlUnderTest } from '../harness/settings.ts'
import { bodiesOf, connect, keysOf, oneList } from '../harness/sliding.ts'

let federation: Federation | undefined
let alice: Client
let bob: Client
beforeAll(async () => {
  if (urlUnderTest !== undefined) return
  federation = await startFederation([
    { launcher: launcherUnderTest },
    { launcher: secondLauncher },
  ])
  const [home, away] = federation.servers
  if (!home || !away) throw new Error('two servers')
  const [first, second] = await Promise.all([register(home, 'alice'), register(away, 'bob')])
  alice = first
  bob = second
})
afterAll(() => federation?.[Symbol.asyncDispose]())

const list = oneList({
  required_state: [
    ['m.room.member', '$ME'],
    ['m.room.create', ''],
  ],
})

describe.skipIf(urlUnderTest !== undefined)('a room of another server', () => {
  it('is an invite with what was told of it, then whole, and goes on', async () => {
    const room = await bob.createRoom({ preset: 'private_chat', name: 'Far away' })
    const connection = connect(alice)
    await connection.ask(list)
    await bob.invite(room, alice.userId)
    const invited = await connection.until(list, (answer) => room in answer.rooms)
    const names = invited.rooms[room]?.invite_state?.map(({ content }) => content['name'])
    expect(names).toContain('Far away')
    expect(invited.rooms[room]?.required_state).toEqual([])
    await alice.join(room)
    // A server may join before it knows all members.
    const joined = await connection.until(
      list,
      (answer) => (answer.rooms[room]?.timeline ?? []).length > 0,
    )
    expect(joined.rooms[room]).toMatchObject({ initial: true, name: 'Far away' })
    expect(keysOf(joined.rooms[room])).toEqual(['m.room.create|', `m.room.member|${alice.userId}`])
    await bob.sendText(room, 'over there')
    const news = await connection.until(list, (answer) => bodiesOf(answer.rooms[room]).length > 0)
    expect(bodiesOf(news.rooms[room])).toEqual(['over there'])
    expect(news.rooms[room]).toMatchObject({ num_live: 1 })
  })

  itSynapseBreaks(
    'Rooms that the user has been in but left are only included if the room was previously sent to the client',
  )('is gone when its invite is refused, and tells nothing of itself', async () => {
    const room = await bob.createRoom({ preset: 'private_chat', name: 'Far away' })
    const connection = connect(alice)
    await connection.ask(list)
    await bob.invite(room, alice.userId)
    await connection.until(list, (answer) => room in answer.rooms)
    await eventually(
      () => alice.leave(room),
      () => true,
    )
    const left = await connection.until(list, (answer) => room in answer.rooms)
    expect(left.rooms[room]?.invite_state).toBeUndefined()
    expect(keysOf(left.rooms[room])).toEqual([`m.room.member|${alice.userId}`])
    expect(left.rooms[room]?.required_state[0]?.content).toMatchObject({ membership: 'leave' })
    expect(left.rooms[room]?.name).toBeUndefined()
    const fresh = await connect(alice).ask(list)
    expect(Object.keys(fresh.rooms)).not.toContain(room)
  })
})
