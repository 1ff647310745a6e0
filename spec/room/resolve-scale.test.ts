/** That a resolution's work grows with the conflict, and with the state no more than reading it does. */
import { describe, expect, it } from 'vitest'
import {
  alice,
  bob,
  carol,
  furnishedRoom,
  joinRules,
  membership,
  powerLevels,
  topic,
} from '../../conformance-tests/properties/room-builder.ts'
import { stateKeyOf } from '../events/event.ts'
import { parseEventId, parseUserId } from '../ids.ts'
import { resolveState } from './resolve.ts'

const membersMax = 100_000
const cpuMsMax = 2_000
const heapBytesMax = 500 * 1024 * 1024

/** Two forks of a room of many members, who differ about some fifty of them and about who may do what. */
function largeFork(version: string) {
  const creators = version === '12' ? {} : { [alice]: 100 }
  const users = { ...creators, [bob]: 50, [carol]: 50 }
  const room = furnishedRoom(version, { joined: [bob, carol], levels: { users } })
  const user = (i: number) => `@user${i}:b.example`
  const state = new Map(room.main.state)
  const join = room.main.send(membership(user(0), 'join'))
  for (let i = 0; i < membersMax; i++) {
    // As the first one, but for the name: to serialise each would take most of the time.
    const sender = parseUserId(user(i))
    const event = { ...join, eventId: parseEventId(`$join-${i}`), sender, stateKey: sender }
    room.events.set(event.eventId, event)
    state.set(stateKeyOf('m.room.member', sender), event.eventId)
  }
  room.main.adopt(state)
  const [left, right] = [room.main.fork(), room.main.fork()]
  left.send(powerLevels({ users, events: { 'm.room.topic': 0 } }))
  left.send(topic('left', carol))
  right.send(joinRules('invite'))
  right.send(topic('right', alice))
  for (let i = 0; i < 25; i++) {
    left.send(membership(user(i), 'ban', bob))
    right.send(membership(user(i), 'leave'))
    right.send(membership(user(i + 25), 'leave', alice))
  }
  return { room, left, right }
}

describe.each(['11', '12'])('two forks of 100,000 state events in version %s', (version) => {
  it('are resolved within 2 s of CPU and 500 MiB', { timeout: 120_000 }, () => {
    const { room, left, right } = largeFork(version)
    const heap = process.memoryUsage().heapUsed
    const start = process.cpuUsage()
    const result = resolveState(room.rules, [left.state, right.state], room.source)
    const { user, system } = process.cpuUsage(start)
    expect(result.size).toBe(left.state.size)
    expect((user + system) / 1_000).toBeLessThan(cpuMsMax)
    expect(process.memoryUsage().heapUsed - heap).toBeLessThan(heapBytesMax)
  })
})

/** Two forks that disagree about everything: rows of power levels, each with bans, kicks and state under it. */
function deepFork(version: string, changes: number) {
  const creators = version === '12' ? {} : { [alice]: 100 }
  const moderators = Array.from({ length: 300 }, (_, i) => [`@mod${i}:b.example`, 10] as const)
  const users = { ...creators, ...Object.fromEntries(moderators) }
  const room = furnishedRoom(version, { levels: { users } })
  const [left, right] = [room.main.fork(), room.main.fork()]
  for (let i = 0; i < changes; i++) {
    left.send(powerLevels({ users, ban: 50 + (i % 2) }))
    left.send(membership(`@left${i}:b.example`, 'ban', alice))
    right.send(powerLevels({ users, kick: 50 + (i % 2) }))
    right.send(membership(`@right${i}:b.example`, 'invite', alice))
    right.send({ type: 'org.example.own', stateKey: `${i}`, sender: alice })
  }
  return { room, left, right }
}

describe.each(['2', '12'])('two forks of 1,500 power levels each in version %s', (version) => {
  it('are resolved within 5 s of CPU', { timeout: 120_000 }, () => {
    const changes = 1_500
    const { room, left, right } = deepFork(version, changes)
    const start = process.cpuUsage()
    const result = resolveState(room.rules, [left.state, right.state], room.source)
    const { user, system } = process.cpuUsage(start)
    expect(result.size).toBe(room.main.state.size + 3 * changes)
    expect((user + system) / 1_000).toBeLessThan(5_000)
  })
})
