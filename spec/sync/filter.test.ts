import { describe, expect, it } from 'vitest'
import {
  filterBytesMax,
  matchesEvent,
  matchesRoom,
  parseFilter,
  parseRoomEventFilter,
  selectFields,
  timelineLimitDefault,
  timelineLimitMax,
  timelineLimitOf,
} from './filter.ts'

const message = {
  type: 'm.room.message',
  sender: '@a:x.example',
  roomId: '!r:x.example',
  content: { body: 'hi', url: 'mxc://x/y' },
}

describe('a filter of events', () => {
  it.each([
    [{}, true],
    [{ types: ['m.room.message'] }, true],
    [{ types: ['m.room.*'] }, true],
    [{ types: ['*'] }, true],
    [{ types: ['*message'] }, true],
    [{ types: ['m.*.message'] }, true],
    [{ types: ['m.*room.message'] }, true],
    [{ types: ['m.room.message*m.room.message'] }, false],
    [{ types: ['m.room.messag?'] }, false],
    [{ types: ['m.room'] }, false],
    [{ types: [] }, false],
    [{ not_types: ['m.room.message'] }, false],
    [{ not_types: ['*'] }, false],
    [{ types: ['m.room.message'], not_types: ['m.*'] }, false],
    [{ not_types: [] }, true],
    [{ senders: ['@a:x.example'] }, true],
    [{ senders: [] }, false],
    [{ senders: ['@a:x.example'], not_senders: ['@a:x.example'] }, false],
    [{ not_senders: ['@b:x.example'] }, true],
    [{ rooms: ['!r:x.example'] }, true],
    [{ rooms: ['!q:x.example'] }, false],
    [{ not_rooms: ['!r:x.example'] }, false],
    [{ contains_url: true }, true],
    [{ contains_url: false }, false],
    [{ limit: 0, lazy_load_members: true }, true],
  ])('%j lets a message through: %s', (filter, expected) => {
    expect(matchesEvent(parseRoomEventFilter(filter), message)).toBe(expected)
  })

  it('is not needed', () => {
    expect(matchesEvent(undefined, message)).toBe(true)
    expect(matchesRoom(undefined, '!r:x.example')).toBe(true)
  })

  it('of wanted senders lets nothing through that has none', () => {
    const filter = parseRoomEventFilter({ senders: ['@a:x.example'] })
    expect(matchesEvent(filter, { type: 'm.typing' })).toBe(false)
    expect(
      matchesEvent(parseRoomEventFilter({ not_senders: ['@a:x.example'] }), { type: 'm.typing' }),
    ).toBe(true)
  })
})

describe('a filter', () => {
  it('chooses rooms', () => {
    const { room } = parseFilter({ room: { rooms: ['!a:x', '!b:x'], not_rooms: ['!b:x'] } })
    expect(['!a:x', '!b:x', '!c:x'].map((id) => matchesRoom(room, id))).toEqual([
      true,
      false,
      false,
    ])
  })

  it('limits the timeline, up to the greatest limit', () => {
    expect(timelineLimitOf(undefined)).toBe(timelineLimitDefault)
    expect(timelineLimitOf({ limit: 3 })).toBe(3)
    expect(timelineLimitOf({ limit: 1_000_000 })).toBe(timelineLimitMax)
  })

  it.each([
    [{ room: { timeline: { limit: 'ten' } } }, 'room.timeline.limit'],
    [{ room: { timeline: { limit: -1 } } }, 'room.timeline.limit'],
    [{ room: { state: { types: 'm.room.message' } } }, 'room.state.types'],
    [{ room: { timeline: { senders: ['bob'] } } }, 'room.timeline.senders.0'],
    [{ room: { rooms: ['bob'] } }, 'room.rooms.0'],
    [{ event_format: 'xml' }, 'event_format'],
    [{ presence: [] }, 'presence'],
    ['{}', 'filter'],
    [
      { room: { timeline: { types: Array.from({ length: 501 }, () => 'x') } } },
      'room.timeline.types',
    ],
  ])('%j is refused, naming %s', (filter, field) => {
    expect(() => parseFilter(filter)).toThrow(expect.objectContaining({ errcode: 'M_BAD_JSON' }))
    expect(() => parseFilter(filter)).toThrow(`${field}:`)
  })

  it('is refused when it is too large', () => {
    const filter = { x: 'x'.repeat(filterBytesMax) }
    expect(() => parseFilter(filter)).toThrow(expect.objectContaining({ errcode: 'M_TOO_LARGE' }))
  })

  it('keeps what it does not know', () => {
    expect(parseFilter({ 'org.example': 1, room: { 'org.example': 2 } })).toEqual({
      'org.example': 1,
      room: { 'org.example': 2 },
    })
  })
})

describe('event_fields', () => {
  const event = {
    type: 'm.x',
    sender: '@a:x',
    content: { body: 'b', 'a.b': 1, nested: { x: 1, y: 2 } },
  }
  it.each([
    [['type', 'content.body'], { type: 'm.x', content: { body: 'b' } }],
    [['content.a\\.b'], { content: { 'a.b': 1 } }],
    [['content.nested.x', 'content.nested.y'], { content: { nested: { x: 1, y: 2 } } }],
    [['content', 'content.body'], { content: event.content }],
    [['nothing', 'content.nothing', '__proto__.x'], {}],
    [[], {}],
  ])('%j select %j', (fields, expected) => {
    expect(selectFields(event, fields)).toEqual(expected)
  })
})
