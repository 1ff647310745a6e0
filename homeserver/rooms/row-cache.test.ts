import { expect, it } from 'vitest'
import { parseEventId, parseRoomId, parseUserId } from '../../spec/ids.ts'
import type { Membership, MembershipRow } from './rooms.ts'
import { RowCache } from './row-cache.ts'

const room = parseRoomId('!room')
const [alice, bob] = [parseUserId('@alice:here.test'), parseUserId('@bob:here.test')]

const row = (user: typeof alice, membership: Membership = 'join'): MembershipRow => ({
  ...{ room, user, membership, eventId: parseEventId('$e'), sender: user },
  ...{ since: 1, position: 1, forgotten: false },
})

/** A cache whose loads the test ends by hand. */
function manual() {
  const loads: ((rows: readonly MembershipRow[]) => void)[] = []
  const cache = new RowCache<typeof room, typeof alice>(
    () =>
      new Promise((resolve) => {
        loads.push((rows) => resolve(new Map(rows.map((one) => [one.user, one]))))
      }),
  )
  return { cache, loads }
}

it('loads rows once for all who ask, and then changes them in place', async () => {
  const { cache, loads } = manual()
  const asked = Promise.all([cache.get(room), cache.get(room)])
  loads[0]?.([row(alice)])
  const [rows] = await asked
  expect(loads).toHaveLength(1)
  cache.change(room, bob, () => row(bob))
  expect(await cache.get(room)).toBe(rows)
  expect([...(rows?.keys() ?? [])]).toEqual([alice, bob])
})

it('does not keep a load that a change overtook', async () => {
  const { cache, loads } = manual()
  const early = cache.get(room)
  cache.change(room, bob, () => row(bob))
  loads[0]?.([row(alice)])
  expect([...(await early).keys()]).toEqual([alice])
  const late = cache.get(room)
  loads[1]?.([row(alice), row(bob)])
  expect([...(await late).keys()]).toEqual([alice, bob])
})

it('has another stamp when somebody comes or goes, and the same when only a name changes', async () => {
  const { cache, loads } = manual()
  const asked = cache.get(room)
  loads[0]?.([row(alice)])
  const rows = await asked
  const first = cache.stampOf(room, rows)
  cache.change(room, alice, () => ({ ...row(alice), displayName: 'Alice' }))
  expect(cache.stampOf(room, rows)).toBe(first)
  cache.change(room, alice, () => row(alice, 'leave'))
  expect(cache.stampOf(room, rows)).not.toBe(first)
  cache.drop(room)
  expect(cache.stampOf(room, rows)).toBeUndefined()
})
