import { describe, expect, it } from 'vitest'
import type { Seen } from '../../homeserver/events/events.ts'
import type { StoredEvent } from '../../homeserver/events/stored-event.ts'
import { notFound } from '../../spec/errors.ts'
import { parseEventId, parseRoomId, parseUserId } from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import { testServer } from '../test-server.ts'
import { readingRoutes } from './reading.ts'

const roomId = parseRoomId('!room:example.org')
const alice = parseUserId('@alice:example.org')

function event(id: string, content: JsonObject, more: Partial<StoredEvent> = {}): StoredEvent {
  const json = { type: 'm.room.name', content, event_id: id }
  return {
    nr: 1,
    softFailed: false,
    text: JSON.stringify(json),
    pdu: {
      eventId: parseEventId(id),
      roomId,
      sender: alice,
      type: 'm.room.name',
      content,
      depth: 1,
      originServerTs: 1,
      prevEvents: [],
      authEvents: [],
      json,
    },
    ...more,
  }
}

/** Rooms that know a few events, and note what they were asked. */
function setUp() {
  const asked: unknown[] = []
  const [a, b, c] = [event('$a', { name: 'ä' }), event('$b', {}), event('$c', {})]
  const many = Array.from({ length: 3_000 }, (_, n) => event(`$m${n}`, { name: `ö${n}` }))
  const redacted = event('$r', { name: 'secret' }, { redactedBy: parseEventId('$why') })
  const seen = (one: StoredEvent): Seen => ({ event: one, membership: 'join' })
  const routes = readingRoutes({
    rooms: {
      event: async (_who, _room, id) => {
        if (id === '$a') return seen(a)
        throw notFound('event')
      },
      state: async () => [a, b],
      stateEvent: async (_who, _room, type, key) => {
        asked.push([type, key])
        return type === 'redacted' ? redacted : a
      },
      members: async (_who, _room, filter) => {
        asked.push(filter)
        return filter.membership === 'ban' ? many : [b]
      },
      joinedMembers: async () => [{ ...member, displayName: 'Alice' }],
      messages: async (_who, _room, query) => {
        asked.push(query)
        return { start: 't1', end: 't2', chunk: [seen(b)], state: [] }
      },
      context: async (_who, _room, _event, limit) => {
        asked.push(limit)
        return {
          event: seen(a),
          before: [seen(b)],
          after: [seen(c)],
          state: [],
          start: 's',
          end: 'e',
        }
      },
      clientEvent: (shown) => {
        const stored = 'event' in shown ? shown.event : shown
        return stored === redacted ? '{"content":{},"type":"m.room.name"}' : stored.text
      },
    },
  })
  return { asked, server: testServer(routes) }
}

const member = {
  room: roomId,
  user: alice,
  membership: 'join',
  eventId: parseEventId('$m'),
  sender: alice,
  since: 1,
  position: 1,
  forgotten: false,
} as const

const at = (path: string) => `/v3/rooms/${roomId}/${path}`
const token = 'alice'

describe('reading a room', () => {
  it('answers events as they are stored', async () => {
    const { server } = setUp()
    await using api = await server
    expect(await api.ask('GET', at('event/$a'), { token })).toMatchObject({
      status: 200,
      json: { content: { name: 'ä' } },
    })
    expect(await api.ask('GET', at('event/$x'), { token })).toMatchObject({
      status: 404,
      json: { errcode: 'M_NOT_FOUND' },
    })
    expect(await api.ask('GET', at('state'), { token })).toMatchObject({
      json: [{ event_id: '$a' }, { event_id: '$b' }],
    })
    expect(await api.ask('GET', at('context/$a?limit=4'), { token })).toMatchObject({
      json: {
        event: { event_id: '$a' },
        events_before: [{ event_id: '$b' }],
        events_after: [{ event_id: '$c' }],
        state: [],
        start: 's',
        end: 'e',
      },
    })
  })

  it('answers the content of state, or the event, and never what was redacted', async () => {
    const { asked, server } = setUp()
    await using api = await server
    expect((await api.ask('GET', at('state/m.room.name'), { token })).json).toEqual({ name: 'ä' })
    expect(
      (await api.ask('GET', at('state/m.room.name/key?format=event'), { token })).json,
    ).toMatchObject({ event_id: '$a' })
    expect((await api.ask('GET', at('state/redacted/'), { token })).json).toEqual({})
    expect(asked).toEqual([
      ['m.room.name', ''],
      ['m.room.name', 'key'],
      ['redacted', ''],
    ])
  })

  it('turns pages', async () => {
    const { asked, server } = setUp()
    await using api = await server
    const filter = encodeURIComponent('{"types":["m.*"]}')
    const page = await api.ask('GET', at(`messages?dir=b&from=t1&limit=5000&filter=${filter}`), {
      token,
    })
    expect(page.json).toEqual({ start: 't1', end: 't2', chunk: [JSON.parse(event('$b', {}).text)] })
    expect(asked).toEqual([{ dir: 'b', limit: 1000, from: 't1', filter: { types: ['m.*'] } }])
    for (const wrong of [
      'dir=x',
      '',
      'dir=b&filter=%7B',
      'dir=b&filter=%5B%5D',
      'dir=b&limit=-1',
    ]) {
      expect((await api.ask('GET', at(`messages?${wrong}`), { token })).status, wrong).toBe(400)
    }
  })

  it('sends many members in pieces that are one list', async () => {
    const { server } = setUp()
    await using api = await server
    const { headers, json } = await api.ask('GET', at('members?membership=ban'), { token })
    expect(headers.get('content-length')).toBeNull()
    const shown = json['chunk']
    expect(Array.isArray(shown) && shown.length).toBe(3_000)
    expect(shown).toContainEqual(expect.objectContaining({ content: { name: 'ö2999' } }))
  })

  it('lists members', async () => {
    const { asked, server } = setUp()
    await using api = await server
    const members = await api.ask('GET', at('members?membership=join&not_membership=leave&at=s5'), {
      token,
    })
    expect(members.json).toMatchObject({ chunk: [{ event_id: '$b' }] })
    expect(asked).toEqual([{ at: 's5', membership: 'join', notMembership: 'leave' }])
    expect((await api.ask('GET', at('joined_members'), { token })).json).toEqual({
      joined: { [alice]: { display_name: 'Alice' } },
    })
  })
})
