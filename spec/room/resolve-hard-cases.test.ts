/** Conflicts that servers are known to have settled wrongly, by the names under which they are known. */
import { describe, expect, it } from 'vitest'
import {
  alice,
  type Branch,
  bob,
  carol,
  type Draft,
  dave,
  furnishedRoom,
  joinRules,
  membership,
  newRoom,
  powerLevels,
  type Room,
  topic,
} from '../../conformance-tests/properties/room-builder.ts'
import { type StateKey, stateKeyOf } from '../events/event.ts'
import type { EventId } from '../ids.ts'
import { authorize, checkAuthEvents } from './authorize.ts'
import { resolveState } from './resolve.ts'

const versions = ['2', '6', '11', '12']
const powerLevelsKey = stateKeyOf('m.room.power_levels', '')
const joinRulesKey = stateKeyOf('m.room.join_rules', '')

/** A room of alice (100, or creator), bob and carol (50), in which everybody may set the topic. */
function forkedRoom(version: string, joinRule = 'public') {
  const creators = version === '12' ? {} : { [alice]: 100 }
  const levels = (users: Record<string, number>, sender: string = alice): Draft => ({
    ...powerLevels({
      users: { ...creators, [bob]: 50, [carol]: 50, ...users },
      events: { 'm.room.topic': 0, 'm.room.power_levels': 50 },
    }),
    sender,
  })
  const joined = [bob, carol]
  const room = furnishedRoom(version, { joined, joinRule, levels: levels({}).content ?? {} })
  const [left, right] = [room.main.fork(), room.main.fork()]
  return { room, left, right, levels, winner: winnerOf(room, [left, right]) }
}

/** The event that holds a key when the branches meet. */
function winnerOf(room: Room, branches: readonly Branch[]) {
  return (type: string, stateKey = '') => {
    const states = branches.map(({ state }) => state)
    const id = resolveState(room.rules, states, room.source).get(stateKeyOf(type, stateKey))
    return id === undefined ? undefined : room.events.get(id)
  }
}

describe.each(versions)('in room version %s', (version) => {
  it('mutual bans: of two who were promoted apart and ban each other, the one promoted last stays', () => {
    const { left, right, levels, winner } = forkedRoom(version)
    left.send({ ...levels({ [bob]: 75 }), ts: 10 })
    left.send({ ...membership(carol, 'ban', bob), ts: 12 })
    right.send({ ...levels({ [carol]: 75 }), ts: 11 })
    const ban = right.send({ ...membership(bob, 'ban', carol), ts: 13 })
    expect(winner('m.room.member', bob)).toBe(ban)
    expect(winner('m.room.member', carol)?.content['membership']).toBe('join')
  })

  it.each([
    ['is back', carol],
    ['is in dispute and gone as well, where the banned one had set it', bob],
  ])(
    'ban against topic: what the banned one set meanwhile is gone; what was there before %s',
    (_, setter) => {
      const { room, left, right, winner } = forkedRoom(version)
      const before = room.main.send(topic('before', setter))
      left.adopt(room.main.state)
      right.adopt(room.main.state)
      left.send({ ...membership(bob, 'ban', alice), ts: 9_000_000 })
      right.send({ ...topic('meanwhile', bob), ts: 1 })
      expect(winner('m.room.topic')).toBe(setter === carol ? before : undefined)
    },
  )

  it('demotion race: a demotion by somebody of more power undoes what the demoted one gave away', () => {
    const { left, right, levels, winner } = forkedRoom(version)
    const demotion = left.send({ ...levels({ [bob]: 0 }), ts: 9_000_000 })
    right.send({ ...levels({ [dave]: 50 }, bob), ts: 1 })
    right.send({ ...membership(dave, 'join'), ts: 2 })
    right.send({ ...membership(carol, 'leave', dave), ts: 3 })
    expect(winner('m.room.power_levels')).toBe(demotion)
    expect(winner('m.room.member', carol)?.content['membership']).toBe('join')
    expect(winner('m.room.member', dave)?.content['membership']).toBe('join')
  })

  it('demotion race among equals: the earlier one is judged first, the later one has to live with it', () => {
    const { left, right, levels, winner } = forkedRoom(version)
    const own = left.send({ ...levels({ [bob]: 0 }, bob), ts: 1 })
    right.send({ ...levels({ [dave]: 25 }, bob), ts: 2 })
    expect(winner('m.room.power_levels')).toBe(own)
    const later = left.send({ ...levels({ [carol]: 40 }, carol), ts: 3 })
    expect(winner('m.room.power_levels')).toBe(later)
  })

  it('join rule against join: who joins while the room is closed is not in it, unless invited before', () => {
    const { left, right, winner } = forkedRoom(version)
    left.send({ ...joinRules('invite'), ts: 9_000_000 })
    right.send({ ...membership(dave, 'join'), ts: 1 })
    expect(winner('m.room.member', dave)).toBeUndefined()
    left.send(membership(dave, 'invite', bob))
    right.send(membership(dave, 'join'))
    expect(winner('m.room.member', dave)?.content['membership']).toBe('join')
  })

  it('kicked moderator who leaves: the kick is what remains', () => {
    const { left, right, winner } = forkedRoom(version)
    const kick = left.send({ ...membership(bob, 'leave', alice), ts: 9_000_000 })
    right.send({ ...membership(bob, 'leave'), ts: 1 })
    expect(winner('m.room.member', bob)).toBe(kick)
  })

  it('ties: with the same power and time the event id decides', () => {
    const { left, right, winner } = forkedRoom(version)
    left.send({ ...joinRules('invite'), ts: 5, id: 'a', sender: bob })
    const last = right.send({ ...joinRules('private'), ts: 5, id: 'b', sender: carol })
    expect(winner('m.room.join_rules')).toBe(last)
  })

  it('depth lies: no claim about depth wins anything', () => {
    const { left, right, winner } = forkedRoom(version)
    left.send({ ...joinRules('invite'), ts: 1, depth: Number.MAX_SAFE_INTEGER })
    const later = right.send({ ...joinRules('private'), ts: 2, depth: 0 })
    expect(winner('m.room.join_rules')).toBe(later)
  })

  it('duplicated states: a state that is there twice counts once', () => {
    const { room, left, right } = forkedRoom(version)
    left.send(membership(bob, 'ban', alice))
    right.send(joinRules('invite'))
    const once = resolveState(room.rules, [left.state, right.state], room.source)
    const states = [left.state, right.state, left.state, left.state]
    expect(resolveState(room.rules, states, room.source)).toEqual(once)
  })

  it('no power levels: without a mainline the time alone decides', () => {
    const room = newRoom(version)
    room.main.send(membership(alice, 'join'))
    const [left, right] = [room.main.fork(), room.main.fork()]
    const late = left.send({ ...topic('late'), ts: 9 })
    right.send({ ...topic('early'), ts: 8 })
    expect(winnerOf(room, [left, right])('m.room.topic')).toBe(late)
  })

  it('no power levels on one side: what was sent under power levels comes after what was not', () => {
    const room = newRoom(version)
    room.main.send(membership(alice, 'join'))
    const [left, right] = [room.main.fork(), room.main.fork()]
    left.send({ ...powerLevels({ users: version === '12' ? {} : { [alice]: 100 } }), ts: 5 })
    const under = left.send({ ...topic('under power levels'), ts: 6 })
    right.send({ ...topic('without'), ts: 9 })
    expect(winnerOf(room, [left, right])('m.room.topic')).toBe(under)
  })

  it('rejected auth event: what names one is rejected, and a resolution does not lean on it', () => {
    const { room, left, right, winner } = forkedRoom(version, 'invite')
    const invite = left.send(membership(dave, 'invite', bob))
    const join = left.send(membership(dave, 'join'))
    room.rejected.add(invite.eventId)
    const isRejected = (id: EventId) => room.rejected.has(id)
    const named = join.authEvents.map((id) => room.events.get(id)).filter((e) => e !== undefined)
    expect(checkAuthEvents(join, room.rules, named, isRejected).kind).toBe('reject')
    // A state that has the join and not the invite, as a lying server could name it.
    right.adopt(new Map([...room.main.state, [stateKeyOf('m.room.member', dave), join.eventId]]))
    left.adopt(room.main.state)
    expect(winner('m.room.member', dave)).not.toBe(join)
  })
})

describe.each(['2', '6', '11'])(
  'in room version %s, creator removed from the power levels',
  (version) => {
    function removal() {
      const forked = forkedRoom(version)
      const { left, levels } = forked
      const { [alice]: _, ...users } = { [alice]: 100, [bob]: 100, [carol]: 50 }
      const removed = { ...levels({}).content, users }
      return { ...forked, gone: left.send({ ...powerLevels(removed), ts: 10 }) }
    }

    it('keeps what the creator did before, by the time', () => {
      const { right, winner, gone } = removal()
      const closed = right.send({ ...joinRules('invite'), ts: 9 })
      expect(winner('m.room.power_levels')).toBe(gone)
      expect(winner('m.room.join_rules')).toBe(closed)
    })

    it('undoes what the creator did after, and what is in dispute because of it', () => {
      const { right, winner, gone } = removal()
      right.send({ ...joinRules('invite'), ts: 11 })
      expect(winner('m.room.power_levels')).toBe(gone)
      // The first join rules are judged again as well: alice, who set them, may not set any now.
      expect(winner('m.room.join_rules')).toBeUndefined()
    })

    it('undoes a ban whatever its time, because it waits for the weaker join that it is about', () => {
      const { room, right, winner, gone } = removal()
      right.send({ ...membership(carol, 'ban', alice), ts: 9 })
      expect(winner('m.room.power_levels')).toBe(gone)
      expect(winner('m.room.member', carol)).toBe(room.main.read('m.room.member', carol))
    })

    it('has no way back but by those who are left', () => {
      const { room, left, winner, gone } = removal()
      const draft = { ...powerLevels({ users: { [alice]: 100, [bob]: 100 } }), sender: alice }
      expect(left.offer(draft)).toBeUndefined()
      expect(winner('m.room.power_levels')).toBe(gone)
      const back = left.offer({ ...draft, sender: bob })
      expect(winner('m.room.power_levels')).toBe(back)
      expect(room.main.read('m.room.power_levels', '')).not.toBe(back)
    })
  },
)

describe('state resets (MSC4297)', () => {
  const olderState = (room: Room, key: StateKey, id: EventId | undefined, branch: Branch) => {
    if (id === undefined) throw new Error('the room lacks the older event')
    branch.adopt(new Map([...room.main.state, [key, id]]))
  }

  it.each([
    ['11', undefined],
    ['12', 'invite'],
  ])('problem A: join rules whose setter has left since, in version %s: %s', (version, rule) => {
    const { room, right, left, winner } = forkedRoom(version)
    const publicRule = room.main.state.get(joinRulesKey)
    room.main.send(joinRules('invite'))
    room.main.send(membership(alice, 'leave'))
    room.main.send({
      ...membership(bob, 'join'),
      content: { membership: 'join', displayname: 'B' },
    })
    left.adopt(room.main.state)
    // What another server says of the state is out of date in one key.
    olderState(room, joinRulesKey, publicRule, right)
    expect(winner('m.room.join_rules')?.content['join_rule']).toBe(rule)
  })

  it.each([
    ['11', undefined],
    ['12', 50],
  ])('problem B: power levels that build on each other, in version %s: %s', (version, level) => {
    const { room, left, right, levels, winner } = forkedRoom(version)
    const first = room.main.send(levels({ [bob]: 0, [carol]: 0 })).eventId
    room.main.send(levels({ [bob]: 50, [carol]: 0 }))
    room.main.send(levels({ [bob]: 50, [carol]: 0, [dave]: 50 }, bob))
    const join = room.main.send(membership(dave, 'join'))
    left.adopt(room.main.state)
    // The auth chains of both sides have all power levels, so that they are in no auth difference.
    olderState(room, powerLevelsKey, first, right)
    expect(join.authEvents).toContain(room.main.state.get(powerLevelsKey))
    const users = winner('m.room.power_levels')?.content['users']
    expect(users).toMatchObject({ [bob]: version === '12' ? 50 : 0 })
    expect(JSON.parse(JSON.stringify(users))[dave]).toBe(level)
  })
})

describe('creators (MSC4289)', () => {
  it.each([
    ['11', 'invite'],
    ['12', 'knock'],
  ])('an admin above 100 comes after the creator, in version %s: %s', (version, rule) => {
    const { room, left, right, levels, winner } = forkedRoom(version)
    // Before version 12 nobody gives more than they have; equals are told apart by time.
    const level = version === '12' ? 9_493_420 : 100
    room.main.send(levels({ [bob]: level }))
    left.adopt(room.main.state)
    right.adopt(room.main.state)
    left.send({ ...joinRules('invite'), sender: alice, ts: 9_000_000 })
    right.send({ ...joinRules('knock'), sender: bob, ts: 1 })
    expect(winner('m.room.join_rules')?.content['join_rule']).toBe(rule)
  })

  it('a ban of a creator is nothing, whoever said it first', () => {
    const { room, left, right, levels, winner } = forkedRoom('12')
    room.main.send(levels({ [bob]: Number.MAX_SAFE_INTEGER }))
    left.adopt(room.main.state)
    right.adopt(room.main.state)
    const ban = left.send({ ...membership(alice, 'ban', bob), ts: 1 })
    const kick = right.send({ ...membership(bob, 'leave', alice), ts: 9_000_000 })
    expect(authorize(ban, room.rules, room.main.read).kind).toBe('reject')
    expect(winner('m.room.member', alice)?.content['membership']).toBe('join')
    expect(winner('m.room.member', bob)).toBe(kick)
  })
})

describe('room version 1', () => {
  it('depth lies: the claim wins, as the version has it', () => {
    const { left, right, winner } = forkedRoom('1')
    const deep = left.send({ ...topic('deep', bob), ts: 1, depth: 1_000_000 })
    right.send({ ...topic('shallow', carol), ts: 2 })
    expect(winner('m.room.topic')).toBe(deep)
  })

  it('ties: of equal depth the event with the lower SHA-1 wins', () => {
    const { left, right, winner } = forkedRoom('1')
    // d190… and fc50…
    const one = left.send({ ...topic('one', bob), depth: 50, id: 'one' })
    right.send({ ...topic('two', carol), depth: 50, id: 'two' })
    expect(winner('m.room.topic')).toBe(one)
  })
})
