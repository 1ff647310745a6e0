import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseServerName, parseUserId } from '../../spec/ids.ts'
import type { Events } from './events.ts'
import { joinOver, openTestServer, type TestServer, testRoom } from './test-events.ts'

const alice = parseUserId('@alice:here.test')
const rita = parseUserId('@rita:there.test')
const away = Array.from({ length: 25 }, (_, n) => parseServerName(`away${n}.test`))
const within = { timeout: 30_000, interval: 100 }

let here: TestServer
let there: TestServer
beforeAll(async () => {
  const peers = new Map<ReturnType<typeof parseServerName>, Events>()
  here = await openTestServer('here.test', peers)
  there = await openTestServer('there.test', peers)
})
afterAll(async () => {
  await here.events.completion[Symbol.asyncDispose]()
  await here[Symbol.asyncDispose]()
  await there[Symbol.asyncDispose]()
})

describe('a room that came without members', () => {
  it('becomes complete by any of its servers, however many others are away', async () => {
    const room = await testRoom(there, rita)
    const [origin = there.name] = away
    await joinOver(here, there, room, alice, { origin, servers: [...away, there.name] })
    expect(await here.events.currentEntry(room, 'm.room.member', rita)).toBeUndefined()
    here.events.completion.start()
    await expect.poll(() => here.events.partial.isPartial(room), within).toBe(false)
    const member = await here.events.currentEntry(room, 'm.room.member', rita)
    expect(member?.pdu.content).toEqual({ membership: 'join' })
  }, 60_000)
})
