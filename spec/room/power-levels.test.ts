import { describe, expect, it } from 'vitest'
import {
  alice,
  bob,
  carol,
  newRoom,
  powerLevels,
  rulesFor,
} from '../../conformance-tests/properties/room-builder.ts'
import type { Json, JsonObject } from '../json.ts'
import {
  creatorsOf,
  levelFor,
  levelToSend,
  notificationLevel,
  parseLevel,
  powerLevelsOf,
  userLevel,
} from './power-levels.ts'

function levelsOf(version: string, content?: JsonObject, createContent: JsonObject = {}) {
  const room = newRoom(version, { createContent })
  const event = content === undefined ? undefined : room.main.send(powerLevels(content))
  return powerLevelsOf(room.rules, room.create, event)
}

describe('power levels', () => {
  it('have the defaults of the specification where an event says nothing', () => {
    const levels = levelsOf('11', {})
    expect(userLevel(levels, alice)).toBe(0)
    expect(levelToSend(levels, 'm.room.message', false)).toBe(0)
    expect(levelToSend(levels, 'm.room.topic', true)).toBe(50)
    expect(levelFor(levels, 'invite')).toBe(0)
    for (const name of ['ban', 'kick', 'redact'] as const) expect(levelFor(levels, name)).toBe(50)
    expect(notificationLevel(levels, 'room')).toBe(50)
  })

  it('give the creator 100 and state 50 where there is no event', () => {
    const levels = levelsOf('11')
    expect(userLevel(levels, alice)).toBe(100)
    expect(userLevel(levels, bob)).toBe(0)
    expect(levelToSend(levels, 'm.room.topic', true)).toBe(50)
  })

  it('follow what the event says', () => {
    const levels = levelsOf('11', {
      users: { [alice]: 100 },
      users_default: 5,
      events: { 'm.room.topic': 7 },
      events_default: 1,
      state_default: 60,
      notifications: { room: 20 },
      ban: 70,
    })
    expect([alice, bob].map((user) => userLevel(levels, user))).toEqual([100, 5])
    expect(levelToSend(levels, 'm.room.topic', true)).toBe(7)
    expect(levelToSend(levels, 'm.room.name', true)).toBe(60)
    expect(levelToSend(levels, 'm.room.message', false)).toBe(1)
    expect(notificationLevel(levels, 'room')).toBe(20)
    expect(levelFor(levels, 'ban')).toBe(70)
  })

  it('do not take the properties of objects for users or event types', () => {
    const levels = levelsOf('11', { users: {}, events: {} })
    expect(userLevel(levels, 'constructor')).toBe(0)
    expect(levelToSend(levels, 'toString', false)).toBe(0)
  })

  it('do not bind the creators of version 12, whatever the event says', () => {
    const levels = levelsOf(
      '12',
      { users: { [alice]: 0, [carol]: 10 } },
      { additional_creators: [bob, 7] },
    )
    expect([alice, bob, carol].map((user) => userLevel(levels, user))).toEqual([
      Number.POSITIVE_INFINITY,
      Number.POSITIVE_INFINITY,
      10,
    ])
    expect(userLevel(levelsOf('12'), carol)).toBe(0)
  })

  it('are computed once for each event', () => {
    const room = newRoom('11')
    const event = room.main.send(powerLevels({ users: { [bob]: 1 } }))
    expect(powerLevelsOf(room.rules, room.create, event)).toBe(
      powerLevelsOf(room.rules, room.create, event),
    )
  })

  it('exist without any event', () => {
    const levels = powerLevelsOf(rulesFor('11'), undefined, undefined)
    expect(userLevel(levels, alice)).toBe(0)
  })
})

describe('the creators', () => {
  it.each([
    ['10', { creator: bob, additional_creators: [carol] }, [bob]],
    ['11', { creator: bob, additional_creators: [carol] }, [alice]],
    ['12', { creator: bob, additional_creators: [carol, alice] }, [alice, carol]],
    ['10', { creator: 5 }, []],
  ])('of version %s with %j are %j', (version, createContent, expected) => {
    const { rules, create } = newRoom(version, { createContent })
    expect([...creatorsOf(rules, create)]).toEqual(expected)
  })
})

describe('a level', () => {
  const max = Number.MAX_SAFE_INTEGER
  it.each<[string, Json | undefined, number | undefined]>([
    ['12', 50, 50],
    ['12', -50, -50],
    ['12', max, max],
    ['12', max + 1, undefined],
    ['12', '50', undefined],
    ['12', 0.5, undefined],
    ['9', '50', 50],
    ['9', ' +00050 ', 50],
    ['9', '-7', -7],
    ['9', '5e1', undefined],
    ['9', '5.0', undefined],
    ['9', '', undefined],
    ['9', '+-5', undefined],
    ['9', '1_000', undefined],
    ['9', '9'.repeat(1000), undefined],
    ['6', 50.57, undefined],
    ['5', 50.57, 50],
    ['5', -50.57, -50],
    ['5', 5.114698e4, 51146],
    ['5', null, undefined],
    ['5', true, undefined],
    ['5', [], undefined],
    ['5', undefined, undefined],
  ])('in version %s, %j, is read as %j', (version, value, expected) => {
    expect(parseLevel(rulesFor(version), value)).toBe(expected)
  })
})
