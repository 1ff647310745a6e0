import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { play, steps } from '../../conformance-tests/properties/random-room.ts'
import {
  alice,
  bob,
  carol,
  type Draft,
  dave,
  furnishedRoom,
  joinRules,
  membership,
  powerLevels,
  type Room,
  topic,
} from '../../conformance-tests/properties/room-builder.ts'
import { type Pdu, type StateKey, stateKeyOf } from '../events/event.ts'
import type { EventId } from '../ids.ts'
import { authorize } from './authorize.ts'
import { powerLevelsOf, userLevel } from './power-levels.ts'
import { resolveConflict, resolveState, type StateMap } from './resolve.ts'

const versions = ['2', '6', '10', '11', '12']
const joinRulesKey = stateKeyOf('m.room.join_rules', '')
const powerLevelsKey = stateKeyOf('m.room.power_levels', '')

/** A room of two moderators (50) under alice, which forks; what comes out of the fork under one key. */
function forkedRoom(version: string, options: { joinRule?: string } = {}) {
  const creators = version === '12' ? {} : { [alice]: 100 }
  const levels = { users: { ...creators, [bob]: 50, [carol]: 50 }, events: { 'm.room.topic': 0 } }
  const room = furnishedRoom(version, { joined: [bob, carol], levels, ...options })
  const [left, right] = [room.main.fork(), room.main.fork()]
  const resolve = () => resolveState(room.rules, [left.state, right.state], room.source)
  const result = (type: string, stateKey = '') => {
    const id = resolve().get(stateKeyOf(type, stateKey))
    return id === undefined ? undefined : room.events.get(id)
  }
  const membershipOf = (user: string) => result('m.room.member', user)?.content['membership']
  const promote = (user: string, level: number, sender: string = alice): Draft => ({
    ...powerLevels({ ...levels, users: { ...levels.users, [user]: level } }),
    sender,
  })
  return { room, left, right, resolve, result, membershipOf, promote }
}

describe.each(versions)('in room version %s, a fork', (version) => {
  it('without conflict keeps what all agree about', () => {
    const { room, left, resolve } = forkedRoom(version)
    left.send({ type: 'm.room.message', sender: bob })
    expect(resolve()).toEqual(room.main.state)
  })

  it('with a new key on one side takes it over', () => {
    const { left, result } = forkedRoom(version)
    const sent = left.send(topic('new', bob))
    expect(result('m.room.topic')).toBe(sent)
  })

  it('lets a ban win over what the banned user did at the same time', () => {
    const { room, left, right, result, membershipOf } = forkedRoom(version)
    const before = room.main.read('m.room.topic', '')
    left.send(membership(bob, 'ban', alice))
    right.send(topic('bob was here', bob))
    expect(membershipOf(bob)).toBe('ban')
    expect(result('m.room.topic')).toBe(before)
  })

  it('lets the more powerful of two who ban each other win', () => {
    const { left, right, membershipOf, promote, room } = forkedRoom(version)
    room.main.send(promote(bob, 60))
    left.adopt(room.main.state)
    right.adopt(room.main.state)
    left.send({ ...membership(carol, 'ban', bob), ts: 9_000_000 })
    right.send({ ...membership(bob, 'ban', carol), ts: 1 })
    expect(membershipOf(carol)).toBe('ban')
    expect(membershipOf(bob)).toBe('join')
  })

  it('lets the demotion of a moderator win over what the moderator did with the power', () => {
    const { left, right, membershipOf, promote } = forkedRoom(version)
    left.send(promote(bob, 0))
    right.send(membership(dave, 'ban', bob))
    expect(membershipOf(dave)).toBeUndefined()
  })

  it('lets closing the room win over a join that came too late', () => {
    const { left, right, membershipOf } = forkedRoom(version)
    left.send(joinRules('invite'))
    right.send(membership(dave, 'join'))
    expect(membershipOf(dave)).toBeUndefined()
  })

  it('lets the later of two topics win by time, and by event id where the times tie', () => {
    const { left, right, result } = forkedRoom(version)
    const [early, late] = [topic('early', bob), topic('late', carol)]
    right.send({ ...late, ts: 3_000_000 })
    left.send({ ...early, ts: 2_000_000 })
    expect(result('m.room.topic')?.content['topic']).toBe('late')
    left.send({ ...early, ts: 5, id: 'zz' })
    right.send({ ...late, ts: 5, id: 'aa' })
    expect(result('m.room.topic')?.content['topic']).toBe('early')
  })

  it('puts what was sent under newer power levels after what was sent under older ones', () => {
    const { left, right, result, promote } = forkedRoom(version)
    left.send(promote(dave, 10))
    left.send({ ...topic('under new levels', bob), ts: 1 })
    right.send({ ...topic('under old levels', carol), ts: 9_000_000 })
    expect(result('m.room.topic')?.content['topic']).toBe('under new levels')
  })

  it('keeps a kicked moderator’s leave that the kick made pointless out of the way', () => {
    const { left, right, membershipOf } = forkedRoom(version)
    left.send(membership(bob, 'leave', alice))
    right.send(membership(bob, 'leave'))
    expect(membershipOf(bob)).toBe('leave')
  })

  it('does not use an auth event that was rejected', () => {
    const { room, left, right, membershipOf } = forkedRoom(version, { joinRule: 'invite' })
    const invite = right.send(membership(dave, 'invite', bob))
    const join = right.send(membership(dave, 'join'))
    // Without the invite in any state, the join has only its auth event to rest on.
    left.send(topic('other', alice))
    right.adopt(new Map([...room.main.state, [stateKeyOf('m.room.member', dave), join.eventId]]))
    expect(membershipOf(dave)).toBe('join')
    room.rejected.add(invite.eventId)
    // The rejected invite itself is judged like any other event of the conflict.
    expect(membershipOf(dave)).toBe('invite')
  })

  it('leaves out events that are not known', () => {
    const { room, left, result } = forkedRoom(version)
    const sent = left.send(topic('lost', bob))
    room.events.delete(sent.eventId)
    expect(result('m.room.topic')).toBeUndefined()
  })

  it('does not believe what an event says of its depth', () => {
    const { left, right, result } = forkedRoom(version)
    left.send({ ...topic('deep', bob), depth: 9_007_199_254_740_991, ts: 2_000_000 })
    right.send({ ...topic('shallow', carol), depth: 1, ts: 3_000_000 })
    expect(result('m.room.topic')?.content['topic']).toBe('shallow')
  })

  it('resolves alike when the source has an index of auth chains', () => {
    const { room, left, right, resolve } = forkedRoom(version)
    left.send(membership(carol, 'ban', bob))
    right.send(membership(bob, 'ban', carol))
    right.send(joinRules('invite'))
    const authDifference = (sets: readonly StateMap[]) => {
      const chains = sets.map((set) => room.source.authChain(set.values()))
      const union = new Set(chains.flatMap((chain) => [...chain]))
      return new Set([...union].filter((id) => !chains.every((chain) => chain.has(id))))
    }
    const indexed = { ...room.source, authDifference }
    const result = resolveState(room.rules, [left.state, right.state], indexed)
    expect(sorted(result)).toEqual(sorted(resolve()))
  })

  it('can be resolved from what is in conflict alone', () => {
    const { room, left, right, resolve } = forkedRoom(version)
    left.send(topic('left', bob))
    right.send(topic('right', carol))
    const key = stateKeyOf('m.room.topic', '')
    const ids = [left.state, right.state].map((state) => state.get(key))
    const conflict = {
      base: (each: StateKey) => (each === key ? undefined : left.state.get(each)),
      conflicted: new Set(ids.filter((id) => id !== undefined)),
      authDifference: new Set<EventId>(),
    }
    const decided = resolveConflict(room.rules, conflict, room.source)
    expect([...decided]).toEqual([[key, resolve().get(key)]])
  })

  it('of three branches comes out alike in any order', () => {
    const { room, left, right } = forkedRoom(version)
    const middle = room.main.fork()
    left.send(topic('left', bob))
    middle.send(topic('middle', carol))
    right.send(membership(bob, 'ban', alice))
    const sets = [left.state, middle.state, right.state]
    const results = permutations(sets).map((each) => resolveState(room.rules, each, room.source))
    for (const result of results) expect(sorted(result)).toEqual(sorted(results[0] ?? new Map()))
  })
})

describe('what version 12 changes', () => {
  it.each([
    ['11', 'public'],
    ['12', 'invite'],
  ])(
    'judges events by the state of their time: what one did before leaving stands (v%s: %s)',
    (version, rule) => {
      const { room, left, right, result } = forkedRoom(version)
      const stale = room.main.state.get(joinRulesKey)
      if (stale === undefined) throw new Error('the room has no join rules')
      left.send({ ...joinRules('invite'), sender: bob })
      left.send(membership(bob, 'leave'))
      // The other side knows that bob left and has lost the join rules that he set.
      right.adopt(new Map([...left.state, [joinRulesKey, stale]]))
      expect(result('m.room.join_rules')?.content['join_rule']).toBe(rule)
    },
  )

  it('replays what lies between two events in conflict', () => {
    const { room, left, right, promote, result } = forkedRoom('12')
    const before = room.main.state.get(powerLevelsKey)
    if (before === undefined) throw new Error('the room has no power levels')
    left.send(promote(bob, 60))
    left.send({ ...promote(bob, 60), content: { users: { [bob]: 60, [carol]: 55 } }, sender: bob })
    const last = left.send({ ...powerLevels({ users: { [bob]: 60, [carol]: 54 } }), sender: carol })
    right.adopt(new Map([...left.state, [powerLevelsKey, before]]))
    expect(result('m.room.power_levels')).toBe(last)
  })

  it('lets nobody outrank a creator', () => {
    const { left, right, membershipOf, promote } = forkedRoom('12')
    left.send(promote(bob, 9_007_199_254_740_991))
    left.send({ ...membership(carol, 'ban', bob), ts: 1 })
    right.send({ ...membership(bob, 'ban', alice), ts: 9_000_000 })
    expect(membershipOf(bob)).toBe('ban')
    expect(membershipOf(carol)).toBe('join')
  })
})

describe('room version 1', () => {
  it('takes the deepest event that is allowed', () => {
    const { left, right, result } = forkedRoom('1')
    left.send({ ...topic('deep', bob), depth: 50 })
    right.send({ ...topic('deeper', carol), depth: 60 })
    expect(result('m.room.topic')?.content['topic']).toBe('deeper')
    right.send({ ...topic('not allowed', dave), depth: 70 })
    expect(result('m.room.topic')?.content['topic']).toBe('deep')
  })

  it('follows a line of power levels upwards until one is not allowed', () => {
    const { left, right, result, promote } = forkedRoom('1')
    left.send({ ...promote(bob, 60), depth: 10 })
    const higher = right.send({ ...promote(carol, 60), depth: 11 })
    expect(result('m.room.power_levels')).toBe(higher)
    right.send({ ...promote(carol, 60, dave), depth: 12 })
    expect(result('m.room.power_levels')?.content['users']).toMatchObject({ [bob]: 60 })
  })

  it('takes a key that only one side has', () => {
    const { left, result } = forkedRoom('1')
    const sent = left.send(topic('x', bob))
    expect(result('m.room.topic')).toBe(sent)
  })
})

describe('over rooms that fork by chance', { timeout: 60_000 }, () => {
  const runs = { numRuns: 60 }

  it.each(['1', ...versions])(
    'the result does not depend on the order of the states (v%s)',
    (version) => {
      fc.assert(
        fc.property(steps(25), fc.nat(23), (history, at) => {
          const { room, states } = play(version, history)
          const orders = permutations(states)
          const expected = resolveState(room.rules, states, room.source)
          const other = resolveState(room.rules, orders[at % orders.length] ?? states, room.source)
          expect(sorted(other)).toEqual(sorted(expected))
        }),
        runs,
      )
    },
  )

  it.each(versions)('is what the model says (v%s)', (version) => {
    fc.assert(
      fc.property(steps(30), (history) => {
        const { room, states } = play(version, history)
        const expected = model(room, states)
        expect(sorted(resolveState(room.rules, states, room.source))).toEqual(sorted(expected))
      }),
      runs,
    )
  })

  it.each(versions)('is idempotent, and a repeated state changes nothing (v%s)', (version) => {
    fc.assert(
      fc.property(steps(25), (history) => {
        const { room, states } = play(version, history)
        const result = resolveState(room.rules, states, room.source)
        expect(resolveState(room.rules, [result, result], room.source)).toEqual(result)
        const repeated = resolveState(room.rules, [...states, ...states], room.source)
        expect(sorted(repeated)).toEqual(sorted(result))
      }),
      runs,
    )
  })

  it.each(versions)(
    'has nothing that was in no state and no auth chain, and keeps what all had (v%s)',
    (version) => {
      fc.assert(
        fc.property(steps(25), (history) => {
          const { room, states } = play(version, history)
          const result = resolveState(room.rules, states, room.source)
          const ids = states.flatMap((state) => [...state.values()])
          const known = new Set([...ids, ...room.source.authChain(ids)])
          for (const id of result.values()) expect(known).toContain(id)
          for (const [key, id] of states[0] ?? []) {
            if (states.every((state) => state.get(key) === id)) expect(result.get(key)).toBe(id)
          }
        }),
        runs,
      )
    },
  )
})

/** The algorithm once more, as plainly as its definition allows and with no regard to cost. */
function model(room: Room, states: readonly StateMap[]): StateMap {
  const { rules, events, source } = room
  const isV21 = rules.stateResolution === 'v2.1'
  const get = (id: EventId): Pdu => {
    const event = events.get(id)
    if (event === undefined) throw new Error(`no event ${id}`)
    return event
  }
  const keys = new Set(states.flatMap((state) => [...state.keys()]))
  const unconflicted = new Map<StateKey, EventId>()
  const conflicted = new Set<EventId>()
  for (const key of keys) {
    const values = new Set(states.map((state) => state.get(key)))
    const [only] = values
    if (values.size === 1 && only !== undefined) unconflicted.set(key, only)
    else for (const id of values) if (id !== undefined) conflicted.add(id)
  }
  if (conflicted.size === 0) return unconflicted

  const chains = states.map(
    (state) => new Set([...state.values(), ...source.authChain(state.values())]),
  )
  const union = new Set(chains.flatMap((chain) => [...chain]))
  const full = new Set(conflicted)
  for (const id of union) if (!chains.every((chain) => chain.has(id))) full.add(id)
  if (isV21) {
    const isUnder = (id: EventId) => [...conflicted].some((top) => source.authChain([top]).has(id))
    const isOver = (id: EventId) =>
      [...source.authChain([id])].some((below) => conflicted.has(below))
    for (const id of union) if (isUnder(id) && isOver(id)) full.add(id)
  }

  const inPower = new Set<EventId>()
  const addPower = (id: EventId): void => {
    inPower.add(id)
    for (const auth of get(id).authEvents) if (full.has(auth)) addPower(auth)
  }
  for (const id of full) if (isPower(get(id))) addPower(id)

  const ordered: Pdu[] = []
  const left = new Set(inPower)
  while (left.size > 0) {
    const ready = [...left]
      .filter((id) => !get(id).authEvents.some((auth) => left.has(auth)))
      .map(get)
    const [next] = ready.sort((a, b) => comparePower(room, a, b))
    if (next === undefined) throw new Error('a cycle')
    ordered.push(next)
    left.delete(next.eventId)
  }

  const state = new Map<StateKey, EventId>(isV21 ? [] : unconflicted)
  const apply = (event: Pdu) => {
    const verdict = authorize(event, rules, (type, stateKey) => {
      if (type === 'm.room.create') return room.create
      const inState = state.get(stateKeyOf(type, stateKey))
      if (inState !== undefined) return get(inState)
      return event.authEvents
        .map(get)
        .find((auth) => auth.type === type && auth.stateKey === stateKey)
    })
    if (verdict.kind === 'allow')
      state.set(stateKeyOf(event.type, event.stateKey ?? ''), event.eventId)
  }
  ordered.forEach(apply)

  const levelsId = state.get(stateKeyOf('m.room.power_levels', ''))
  const mainline = levelsId === undefined ? [] : [levelsId, ...lineOf(room, get(levelsId))]
  const position = (event: Pdu) => {
    const found = lineOf(room, event).find((id) => mainline.includes(id))
    return found === undefined ? Number.MAX_SAFE_INTEGER : mainline.indexOf(found)
  }
  const rest = [...full].filter((id) => !inPower.has(id)).map(get)
  rest.sort((a, b) => position(b) - position(a) || compareAge(a, b))
  rest.forEach(apply)
  for (const [key, id] of unconflicted) state.set(key, id)
  return state
}

function isPower({ type, stateKey, sender, content }: Pdu): boolean {
  if (type === 'm.room.member') {
    return ['leave', 'ban'].includes(String(content['membership'])) && sender !== stateKey
  }
  return type === 'm.room.power_levels' || type === 'm.room.join_rules'
}

/** Power levels events behind an event, the nearest first. */
function lineOf(room: Room, event: Pdu): EventId[] {
  const auth = event.authEvents.map((id) => room.events.get(id))
  const levels = auth.find((each) => each?.type === 'm.room.power_levels')
  return levels === undefined ? [] : [levels.eventId, ...lineOf(room, levels)]
}

function comparePower(room: Room, a: Pdu, b: Pdu): number {
  const power = (event: Pdu) => {
    const auth = event.authEvents.map((id) => room.events.get(id))
    const levels = powerLevelsOf(
      room.rules,
      room.create,
      auth.find((each) => each?.type === 'm.room.power_levels'),
    )
    return Math.min(userLevel(levels, event.sender), Number.MAX_SAFE_INTEGER)
  }
  return power(b) - power(a) || compareAge(a, b)
}

function compareAge(a: Pdu, b: Pdu): number {
  return a.originServerTs - b.originServerTs || (a.eventId < b.eventId ? -1 : 1)
}

function sorted(state: StateMap): [StateKey, EventId][] {
  return [...state].sort(([a], [b]) => (a < b ? -1 : 1))
}

function permutations<T>(items: readonly T[]): T[][] {
  if (items.length <= 1) return [[...items]]
  return items.flatMap((item, at) =>
    permutations(items.toSpliced(at, 1)).map((others) => [item, ...others]),
  )
}
