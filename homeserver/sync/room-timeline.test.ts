import { describe, expect, it } from 'vitest'
import { parseEventId, parseRoomId, parseUserId } from '../../spec/ids.ts'
import { parseFilter } from '../../spec/sync/filter.ts'
import { parseHistoryToken } from '../../spec/sync/token.ts'
import type { StoredEvent } from '../events/stored-event.ts'
import { readTimeline } from './room-timeline.ts'

const room = parseRoomId('!r:here.test')
const alice = parseUserId('@alice:here.test')
const bob = parseUserId('@bob:there.test')
const limit = 10

function eventAt(position: number, depth: number, sender = alice): StoredEvent {
  return {
    nr: position,
    text: '{}',
    softFailed: false,
    position,
    pdu: {
      eventId: parseEventId(`$${position}`),
      roomId: room,
      sender,
      type: 'm.room.message',
      content: {},
      depth,
      originServerTs: 1,
      prevEvents: [],
      authEvents: [],
      json: {},
    },
  }
}

/** Is an event before a place in the history's order. */
function isReached({ pdu, position = 0 }: StoredEvent, token: string): boolean {
  const { depth, arrival } = parseHistoryToken(token)
  return pdu.depth === depth ? position <= arrival : pdu.depth < depth
}

/** A limited timeline over these events, and what a client that pages back from it never gets. */
async function lostOf(all: readonly StoredEvent[]): Promise<readonly number[]> {
  let asked = 0
  const { shown, prevBatch } = await readTimeline(
    {
      timeline: async (_, { after, upTo, limit: max }) => {
        const found = all.filter(({ position = 0 }) => position > after && position <= upTo)
        return { events: found.slice(-max), limited: found.length > max }
      },
      visibleTo: async (_, events) => events.map((event) => ({ event, membership: 'join' })),
      relations: {
        keepRelated: async (events) => events,
      },
      historyPointAt: async (_, position) => {
        asked++
        const [deepest] = all
          .filter((event) => (event.position ?? 0) <= position)
          .sort((a, b) => b.pdu.depth - a.pdu.depth || (b.position ?? 0) - (a.position ?? 0))
        return { depth: deepest?.pdu.depth ?? 0, arrival: (deepest?.position ?? 0) + 1 }
      },
    },
    { room, after: 1, upTo: Number.MAX_SAFE_INTEGER },
    {
      user: alice,
      filter: parseFilter({ room: { timeline: { limit } } }),
      ignored: new Set(),
    },
  )
  expect(shown).toHaveLength(limit)
  expect(asked).toBeLessThanOrEqual(1)
  const seen = new Set(shown.map(({ event }) => event.nr))
  return all
    .filter((event) => !seen.has(event.nr) && !isReached(event, prevBatch ?? ''))
    .map(({ nr }) => nr)
}

describe('the place before a timeline that was cut', () => {
  it('is after what was left out, where one thing followed the other', async () => {
    const all = Array.from({ length: 60 }, (_, at) => eventAt(at + 1, at + 1))
    expect(await lostOf(all)).toEqual([])
  })

  it('reaches what was said here before a server that lagged behind told a lot', async () => {
    const ours = Array.from({ length: 50 }, (_, at) => eventAt(at + 1, at + 1))
    const late = Array.from({ length: 50 }, (_, at) => eventAt(at + 51, at + 2, bob))
    expect(await lostOf([...ours, ...late])).toEqual([])
  })

  it('reaches what was left out when both sides alternate', async () => {
    const all = Array.from({ length: 60 }, (_, at) =>
      at % 2 === 0 ? eventAt(at + 1, at + 100) : eventAt(at + 1, Math.ceil(at / 3), bob),
    )
    expect(await lostOf(all)).toEqual([])
  })
})
