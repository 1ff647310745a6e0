import { describe, expect, it } from 'vitest'
import { stateKeyOf } from '../../../spec/events/event.ts'
import { isRoomId } from '../../../spec/ids.ts'
import { combined, coverageOf, growthOf, stateTestOf } from './coverage.ts'
import type { RequiredState, StatePattern } from './request.ts'
import { draftOf, live, nothingSent, readSent, writeSent } from './sent.ts'

const asks = (include: StatePattern[], more: Partial<RequiredState> = {}) => ({
  timelineLimit: 1,
  required: [{ include, exclude: [], lazyMembers: false, ...more }],
})
const member = (user: string) => stateKeyOf('m.room.member', user)
const name = stateKeyOf('m.room.name', '')

describe('rules for state', () => {
  it('match types, keys, both and everything', () => {
    const { matches, exact } = stateTestOf(asks([{ type: 'm.room.name', stateKey: '' }]))
    expect([matches(name), matches(member('@a:b'))]).toEqual([true, false])
    expect(exact).toEqual([name])
    const ofType = stateTestOf(asks([{ type: 'm.room.member' }]))
    expect([ofType.matches(name), ofType.matches(member('@a:b'))]).toEqual([false, true])
    expect(ofType.exact).toBeUndefined()
    const ofKey = stateTestOf(asks([{ stateKey: '@a:b' }]))
    expect([ofKey.matches(member('@a:b')), ofKey.matches(member('@c:d'))]).toEqual([true, false])
    expect(stateTestOf(asks([{}])).matches(name)).toBe(true)
    expect(stateTestOf(asks([])).exact).toEqual([])
  })

  it('leave out what is excluded', () => {
    const test = stateTestOf(asks([{}], { exclude: [{ type: 'm.room.name' }] }))
    expect([test.matches(name), test.matches(member('@a:b'))]).toEqual([false, true])
    const exact = stateTestOf(
      asks([{ type: 'm.room.name', stateKey: '' }], { exclude: [{ type: 'm.room.name' }] }),
    )
    expect(exact.exact).toEqual([])
  })

  it('leave members to the timeline, but for those who are named', () => {
    const include = [{}, { type: 'm.room.member', stateKey: '@me:b' }]
    const test = stateTestOf(asks(include, { lazyMembers: true }))
    expect(test.isLazy).toBe(true)
    expect([
      test.matches(name),
      test.matches(member('@me:b')),
      test.matches(member('@x:b')),
    ]).toEqual([true, true, false])
  })

  it('match at once, however many they are', () => {
    const rules = Array.from({ length: 100 }, (_, rule) =>
      asks(Array.from({ length: 500 }, (_, n) => ({ type: `type ${rule} ${n}` }))),
    )
    const { matches } = stateTestOf(combined(rules))
    const before = performance.now()
    const found = Array.from({ length: 20_000 }, (_, n) => matches(member(`@user${n}:b`)))
    expect(found).not.toContain(true)
    expect(matches(stateKeyOf('type 99 499', 'x'))).toBe(true)
    expect(performance.now() - before).toBeLessThan(2_000)
  })

  it('are not lazy when another rule asks for all members', () => {
    const lazy = asks([], { lazyMembers: true })
    expect(stateTestOf(combined([lazy, asks([{}])])).isLazy).toBe(false)
    expect(stateTestOf(combined([lazy, asks([{ type: 'm.room.name' }])])).isLazy).toBe(true)
  })

  it('grow by what was not asked for before', () => {
    const few = coverageOf(asks([{ type: 'm.room.name', stateKey: '' }]))
    const many = coverageOf({ ...asks([{}]), timelineLimit: 5 })
    expect(growthOf(few, many)).toEqual({ moreTimeline: true, moreState: true })
    const both = combined([few, many])
    expect(both.timelineLimit).toBe(5)
    expect(growthOf(both, few)).toEqual({ moreTimeline: false, moreState: false })
  })
})

describe('what was sent', () => {
  const room = '!a:b'
  if (!isRoomId(room)) throw new Error('not a room id')

  it('is read as it was written', () => {
    const coverage = coverageOf(asks([{}], { lazyMembers: true }))
    const draft = draftOf(nothingSent)
    draft.setRoom(room, { upTo: 7, coverage, isDm: true })
    draft.mark('receipts', room, live)
    draft.mark('accountData', room, 3)
    const sent = draft.result()
    expect(readSent(writeSent(sent))).toEqual(sent)
    expect(readSent(writeSent(nothingSent))).toEqual(nothingSent)
  })

  it('stays the same object while nothing changes', () => {
    const coverage = coverageOf(asks([{}]))
    const first = draftOf(nothingSent)
    first.setRoom(room, { upTo: live, coverage, isDm: false })
    first.mark('receipts', room, live)
    const before = first.result()
    const draft = draftOf(before)
    draft.setRoom(room, { upTo: live, coverage: coverageOf(asks([{}])), isDm: false })
    draft.mark('receipts', room, live)
    expect(draft.result()).toBe(before)
    draft.mark('receipts', room, 4)
    expect(draft.result()).not.toBe(before)
    expect(before.receipts.get(room)).toBe(live)
    draft.dropRoom(room)
    expect(before.rooms.size).toBe(1)
  })
})
