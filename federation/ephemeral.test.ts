import { expect, it } from 'vitest'
import { FakeClock } from '../homeserver/platform/fake-clock.ts'
import { silentLogger } from '../homeserver/platform/log.ts'
import type { PresenceChange } from '../homeserver/presence/presence.ts'
import { testMemberships } from '../homeserver/rooms/test-memberships.ts'
import { parseRoomId, parseServerName, parseUserId, serverOfUser } from '../spec/ids.ts'
import { tellEphemeral } from './ephemeral.ts'

const here = parseServerName('here.test')
const alice = parseUserId('@alice:here.test')
const small = parseRoomId('!small:here.test')
const large = parseRoomId('!large:here.test')

it('tells of presence the servers of small rooms, and those of large ones nothing', async () => {
  const memberships = testMemberships(here)
  for (const user of [alice, parseUserId('@bob:near.test')]) memberships.set(small, user, 'join')
  const many = ['@a:far.test', '@b:far.test', '@c:far.test'].map(parseUserId)
  for (const user of [alice, ...many]) memberships.set(large, user, 'join')
  const listeners: ((change: PresenceChange) => void)[] = []
  const told: string[][] = []
  const nothing = { [Symbol.dispose]: () => {} }
  using _ = tellEphemeral({
    ...{ serverName: here, memberships, clock: new FakeClock(), log: silentLogger },
    ...{ tellsPresence: true, presenceMembersMax: 3 },
    sender: { sendToRoom: () => {}, sendTo: (servers) => void told.push([...servers].sort()) },
    typing: { onTyping: () => nothing },
    presence: {
      onChange: (listener) => {
        listeners.push(listener)
        return nothing
      },
      peek: () => undefined,
    },
    events: {
      serversIn: async (room) =>
        new Set([...(await memberships.ofRoom(room)).keys()].map(serverOfUser)),
    },
    tail: { subscribe: () => nothing },
  })
  const state = { presence: 'online', lastActiveTs: 1, currentlyActive: true } as const
  for (const listener of listeners) listener({ user: alice, what: 'state', ...state })
  await expect.poll(() => told).toEqual([['here.test', 'near.test']])
  for (const listener of listeners) listener({ user: many[0] ?? alice, what: 'state', ...state })
  await new Promise((resolve) => setImmediate(resolve))
  expect(told).toHaveLength(1)
})
