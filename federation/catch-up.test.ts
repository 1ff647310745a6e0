import { describe, expect, it } from 'vitest'
import type { Behind } from '../homeserver/destinations/destinations.ts'
import type { StoredEvent } from '../homeserver/events/stored-event.ts'
import { parseEventId, parseRoomId, parseServerName, parseUserId } from '../spec/ids.ts'
import { type CatchUpNeeds, sendMissed } from './catch-up.ts'

const us = parseServerName('us.example')
const them = parseServerName('them.example')

function eventIn({ room, last }: Behind): StoredEvent {
  return {
    nr: last,
    text: `${room} ${last}`,
    softFailed: false,
    position: last,
    pdu: {
      eventId: parseEventId(`$${last}`),
      roomId: room,
      sender: parseUserId('@alice:us.example'),
      type: 'm.room.message',
      content: {},
      depth: 1,
      originServerTs: 1,
      prevEvents: [],
      authEvents: [],
      json: {},
    },
  }
}

/** A destination that misses one event in each of so many rooms. */
function missing(rooms: number, replaced: Partial<CatchUpNeeds> = {}) {
  const behind: Behind[] = Array.from({ length: rooms }, (_, n) => ({
    room: parseRoomId(`!${n}:us.example`),
    first: n + 1,
    last: n + 1,
  }))
  const sent: (readonly string[])[] = []
  const needs: CatchUpNeeds = {
    serverName: us,
    destinations: {
      behind: async (_, limit) => behind.slice(0, limit),
      caughtUp: async (_, done) => {
        for (const { room } of done) {
          const at = behind.findIndex((one) => one.room === room)
          if (at >= 0) behind.splice(at, 1)
        }
      },
    },
    events: {
      serverMaySee: async () => true,
      timeline: async (room) => {
        const found = behind.filter((one) => one.room === room)
        return { events: found.map(eventIn), limited: false }
      },
    },
    send: async (pdus) => {
      sent.push(pdus)
      return true
    },
    unreadable: () => false,
    ...replaced,
  }
  return { behind, sent, needs }
}

describe('catching up', () => {
  it('fills transactions from as many rooms as it takes', async () => {
    const { behind, sent, needs } = missing(120)
    for (let pages = 0; (await sendMissed(them, needs)) !== 'none'; pages++)
      expect(pages).toBeLessThan(4)
    expect(sent.map((pdus) => pdus.length)).toEqual([50, 50, 20])
    expect(behind).toEqual([])
  })

  it('keeps what was taken when the destination goes away in between', async () => {
    let requests = 0
    const { behind, needs } = missing(50, { send: async () => ++requests < 2 })
    const { timeline } = needs.events
    const twice = async (...asked: Parameters<typeof timeline>) => {
      const { events } = await timeline(...asked)
      return { events: [...events, ...events], limited: false }
    }
    const events = { ...needs.events, timeline: twice }
    expect(await sendMissed(them, { ...needs, events })).toBe('failed')
    expect(behind).toHaveLength(25)
  })

  it('does not wait for a room that cannot be read, and gives it up when told to', async () => {
    const broken = parseRoomId('!3:us.example')
    let isGivenUp = false
    const { behind, sent, needs } = missing(5, { unreadable: () => isGivenUp })
    const { timeline } = needs.events
    const events: CatchUpNeeds['events'] = {
      ...needs.events,
      timeline: async (room, range) => {
        if (room === broken) throw new Error('cannot be read')
        return await timeline(room, range)
      },
    }
    await expect(sendMissed(them, { ...needs, events })).rejects.toThrow('cannot be read')
    expect(sent.flat()).toHaveLength(4)
    expect(behind.map(({ room }) => room)).toEqual([broken])
    isGivenUp = true
    expect(await sendMissed(them, { ...needs, events })).toBe('sent')
    expect(behind).toEqual([])
  })
})
