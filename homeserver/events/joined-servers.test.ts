import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type StateKey, stateKeyOf } from '../../spec/events/event.ts'
import {
  parseEventId,
  parseRoomId,
  parseServerName,
  parseUserId,
  type ServerName,
} from '../../spec/ids.ts'
import { joinedServers, noteMember, type ServersView } from './joined-servers.ts'
import type { StoredEvent } from './stored-event.ts'

const servers = ['a.example', 'b.example', 'b.example:8448', '8448'].map((name) =>
  parseServerName(name),
)
const usersPerServer = 3

interface Change {
  readonly server: ServerName
  readonly user: number
  /** Undefined: the membership is gone. */
  readonly membership: 'join' | 'leave' | 'ban' | undefined
  /** Is the event in memory when the change is noted. */
  readonly isPeeked: boolean
  /** Is somebody asking afterwards. */
  readonly isAsked: boolean
}

const change: fc.Arbitrary<Change> = fc.record({
  server: fc.constantFrom(...servers),
  user: fc.nat({ max: usersPerServer - 1 }),
  membership: fc.constantFrom('join', 'join', 'leave', 'ban', undefined),
  isPeeked: fc.boolean(),
  isAsked: fc.boolean(),
})

function eventOf(nr: number, user: string, membership: string): StoredEvent {
  const sender = parseUserId(user)
  const pdu = {
    eventId: parseEventId(`$${nr}`),
    roomId: parseRoomId('!room:a.example'),
    sender,
    type: 'm.room.member',
    stateKey: user,
    content: { membership },
    depth: 1,
    originServerTs: 1,
    prevEvents: [],
    authEvents: [],
    json: {},
  }
  return { nr, pdu, text: '', softFailed: false }
}

describe('the servers in a room', () => {
  it('are those of joined users, whatever changed and whoever asked', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(change, { maxLength: 60 }), async (changes) => {
        const events = new Map<number, StoredEvent>()
        const entries = new Map<StateKey, number>()
        const view: ServersView & { memberChanges: number } = { entries, memberChanges: 0 }
        const store = {
          peekNumber: (nr: number) => (peeked ? events.get(nr) : undefined),
          byNumber: async (nrs: readonly number[]) =>
            new Map(nrs.flatMap((nr) => events.get(nr) ?? []).map((event) => [event.nr, event])),
        }
        let peeked = true
        for (const [nr, { server, user, membership, isPeeked, isAsked }] of changes.entries()) {
          const id = `@user${user}:${server}`
          const key = stateKeyOf('m.room.member', id)
          peeked = isPeeked
          if (membership === undefined) entries.delete(key)
          else {
            events.set(nr, eventOf(nr, id, membership))
            entries.set(key, nr)
          }
          view.memberChanges++
          if (view.knownServers !== undefined)
            noteMember(store, view.knownServers, key, membership && nr)
          if (!isAsked) continue
          const expected = new Set<string>()
          for (const [held, at] of entries) {
            const [, holder = ''] = held.split('\u0000')
            if (events.get(at)?.pdu.content['membership'] === 'join')
              expected.add(holder.slice(holder.indexOf(':') + 1))
          }
          expect(await joinedServers(store, view)).toEqual(expected)
        }
      }),
    )
  })

  it('are not looked at again when somebody else leaves', async () => {
    const entries = new Map<StateKey, number>()
    const events = new Map<number, StoredEvent>()
    for (let nr = 0; nr < 3; nr++) {
      events.set(nr, eventOf(nr, `@user${nr}:a.example`, 'join'))
      entries.set(stateKeyOf('m.room.member', `@user${nr}:a.example`), nr)
    }
    let asked = 0
    const store = {
      peekNumber: (nr: number) => events.get(nr),
      async byNumber(nrs: readonly number[]) {
        asked++
        return new Map(nrs.flatMap((nr) => events.get(nr) ?? []).map((event) => [event.nr, event]))
      },
    }
    const view: ServersView = { entries, memberChanges: 0 }
    const first = await joinedServers(store, view)
    expect([...first]).toEqual(['a.example'])
    expect(asked).toBe(1)
    const leaving = stateKeyOf('m.room.member', '@user0:a.example')
    events.set(3, eventOf(3, '@user0:a.example', 'leave'))
    entries.set(leaving, 3)
    if (view.knownServers !== undefined) noteMember(store, view.knownServers, leaving, 3)
    expect(await joinedServers(store, view)).toBe(first)
    expect(asked).toBe(1)
  })
})
