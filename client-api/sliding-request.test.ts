import { describe, expect, it } from 'vitest'
import { slidingSync, slidingSyncUnstable } from '../spec/api/client/sliding-sync.ts'
import { parseUserId } from '../spec/ids.ts'
import { readAccepted, readTried } from './sliding-request.ts'

const me = parseUserId('@me:here.test')
const tried = (body: object) => readTried(slidingSyncUnstable.body.parse(body), me)
const accepted = (body: object) => readAccepted(slidingSync.body.parse(body))
const requiredOf = (...pairs: [string, string][]) =>
  tried({ lists: { a: { timeline_limit: 1, required_state: pairs } } }).lists.get('a')?.required

describe('a request as it was tried out', () => {
  it('names the user and asks for members as they are needed', () => {
    expect(requiredOf(['m.room.member', '$ME'], ['m.room.member', '$LAZY'])).toEqual([
      { include: [{ type: 'm.room.member', stateKey: me }], exclude: [], lazyMembers: true },
    ])
    expect(requiredOf(['m.room.member', '*'], ['m.room.member', '$LAZY'])).toEqual([
      { include: [{ type: 'm.room.member' }], exclude: [], lazyMembers: false },
    ])
  })

  it('asks for everything, but of the types that it names for what it names', () => {
    expect(requiredOf(['*', '*'])).toEqual([
      { include: [{}], exclude: [], lazyMembers: false },
      { include: [], exclude: [], lazyMembers: false },
    ])
    expect(requiredOf(['*', '*'], ['m.room.member', '$LAZY'], ['m.room.member', '$ME'])).toEqual([
      { include: [{}], exclude: [{ type: 'm.room.member' }], lazyMembers: false },
      { include: [{ type: 'm.room.member', stateKey: me }], exclude: [], lazyMembers: true },
    ])
  })

  it('may say null, or things that nobody knows', () => {
    const { lists, subscriptions, extensions, connId } = tried({
      ...{ conn_id: null, room_subscriptions: null, txn_id: 'x' },
      lists: { a: { timeline_limit: 5000, required_state: [], filters: null, ranges: null } },
      extensions: { typing: { enabled: true }, receipts: { enabled: false }, other: 1 },
    })
    expect(connId).toBe('')
    expect(subscriptions.size).toBe(0)
    expect(lists.get('a')).toEqual({
      ...{ timelineLimit: 100, filters: {} },
      required: [{ include: [], exclude: [], lazyMembers: false }],
    })
    expect(extensions).toEqual({ typing: { lists: ['*'], rooms: ['*'] } })
  })

  it('is refused with too many lists, or a range from back to front', () => {
    const list = { timeline_limit: 1, required_state: [] }
    const many = Object.fromEntries(Array.from({ length: 101 }, (_, n) => [`${n}`, list]))
    expect(() => tried({ lists: many })).toThrow(/lists: more than 100/)
    expect(() => tried({ lists: { a: { ...list, ranges: [[2, 1]] } } })).toThrow()
  })
})

describe('a request as it was accepted', () => {
  it('has patterns, one range and its own names of filters', () => {
    const { lists } = accepted({
      lists: {
        a: {
          ...{ timeline_limit: 2, range: [0, 9], filters: { is_invited: true, is_dm: false } },
          required_state: {
            include: [{ type: 'x' }, { state_key: '' }],
            exclude: [{}],
            lazy_members: true,
          },
        },
      },
    })
    expect(lists.get('a')).toEqual({
      ...{ timelineLimit: 2, ranges: [[0, 9]], filters: { isInvited: true, isDm: false } },
      required: [{ include: [{ type: 'x' }, { stateKey: '' }], exclude: [{}], lazyMembers: true }],
    })
  })
})
