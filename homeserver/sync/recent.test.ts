import { beforeEach, describe, expect, it } from 'vitest'
import { parseRoomId, parseUserId } from '../../spec/ids.ts'
import type { LogRow } from '../stream/log.ts'
import { createRecent, membersIn } from './recent.ts'

const room = parseRoomId('!room:here.test')
const alice = parseUserId('@alice:here.test')

let stored: LogRow[]
let oldest: number
let position: number
let listener: (rows: readonly LogRow[]) => void

const tail = {
  get position() {
    return position
  },
  subscribe(_: string, onRows: (rows: readonly LogRow[]) => void) {
    listener = onRows
    return { [Symbol.dispose]: () => {} }
  },
  read: async (after: number, limit: number) =>
    stored.filter((row) => row.position > after && row.position <= position).slice(0, limit),
  oldest: async () => oldest,
}

const receipt = (at: number): LogRow => ({
  position: at,
  kind: 'receipt',
  room,
  user: alice,
  ref: '{}',
  payload: undefined,
})
const change = (at: number, ref: string): LogRow => ({ ...receipt(at), kind: 'state', ref })

function tell(rows: readonly LogRow[]): void {
  stored.push(...rows)
  position = rows.at(-1)?.position ?? position
  listener(rows)
}

beforeEach(() => {
  stored = Array.from({ length: 5_000 }, (_, n) => receipt(n + 1))
  position = 5_000
  oldest = 1
})

const positions = (rows: readonly LogRow[]) => rows.map((row) => row.position)

describe('recent rows', () => {
  it('cover what came since the start, and more once it was read back', async () => {
    const recent = createRecent({ tail })
    expect(recent.covers(5_000)).toBe(true)
    expect(recent.covers(4_999)).toBe(false)
    tell([receipt(5_001), receipt(5_002)])
    expect(positions(recent.ofRoom(room, 5_000, 5_001))).toEqual([5_001])
    const both = await Promise.all([recent.extend(4_997), recent.extend(1_000)])
    expect(both).toEqual([true, true])
    expect(recent.covers(1_000)).toBe(true)
    expect(positions(recent.ofRoom(room, 4_998, 9_999))).toEqual([4_999, 5_000, 5_001, 5_002])
    expect(recent.ofRoom(room, 1_000, 9_999)).toHaveLength(4_002)
  })

  it('are not read back over what is gone', async () => {
    const recent = createRecent({ tail })
    oldest = 4_000
    expect(await recent.extend(3_000)).toBe(false)
    expect(recent.covers(3_000)).toBe(false)
    expect(await recent.extend(3_999)).toBe(true)
  })

  it('drop the oldest, and say so', async () => {
    const recent = createRecent({ tail })
    for (let at = 5_000; at < 120_000; at += 1_000) {
      tell(Array.from({ length: 1_000 }, (_, n) => receipt(at + n + 1)))
    }
    expect(recent.covers(5_000)).toBe(false)
    expect(await recent.extend(5_000)).toBe(false)
    expect(recent.covers(119_000)).toBe(true)
    expect(recent.ofRoom(room, 119_000, 200_000)).toHaveLength(1_000)
  })

  it('name the changed keys of a room', () => {
    const recent = createRecent({ tail })
    tell([change(5_001, '[["m.room.topic\\u0000",7]]'), change(5_002, '[["x\\u0000y",null]]')])
    expect(recent.changedKeys(room, 5_000, 5_002)).toEqual(new Set(['m.room.topic\0', 'x\0y']))
    expect(recent.changedKeys(room, 5_001, 5_002)).toEqual(new Set(['x\0y']))
    tell([change(5_003, '*')])
    expect(recent.changedKeys(room, 5_000, 5_003)).toBe('*')
  })

  it('know of account data', () => {
    const recent = createRecent({ tail })
    tell([{ ...receipt(5_001), kind: 'accountData' }])
    expect(recent.hasAccountData(alice, 5_000, 5_001)).toBe(true)
    expect(recent.hasAccountData(alice, 5_001, 5_001)).toBe(false)
    expect(recent.ofRoom(room, 5_000, 5_001)).toEqual([])
  })
})

it('members in a change of state are found', () => {
  expect(
    membersIn('[["m.room.member\\u0000@alice:here.test",1],["m.room.topic\\u0000",2]]'),
  ).toEqual([alice])
  expect(membersIn('*')).toEqual([])
})
