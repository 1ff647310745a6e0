import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { systemClock } from '../platform/clock.ts'
import { createReports, type Reports, reportLimits } from './reports.ts'
import { openTestRooms, type TestRooms } from './test-rooms.ts'

let here: TestRooms
let reports: Reports
beforeAll(async () => {
  here = await openTestRooms('reports.test')
  reports = createReports({ ...here, db: here.database.db, clock: systemClock })
}, 60_000)
afterAll(async () => await here[Symbol.asyncDispose]())

const page = { from: 0, limit: 10, backwards: true }

describe('reports', () => {
  it('of one user are bounded', async () => {
    const [alice, bob, carol] = ['alice', 'bob', 'carol'].map(here.user)
    if (!alice || !bob || !carol) throw new Error('no users')
    await here.database.db`
      insert into reports (kind, received_at, user_id, target)
      select 'user', 1, ${alice.user}, ${bob.user} from generate_series(2, ${reportLimits.perUser})`
    await reports.reportUser(alice, bob.user, { reason: 'the last' })
    await expect(reports.reportUser(alice, bob.user, { reason: 'one more' })).rejects.toMatchObject(
      {
        errcode: 'M_LIMIT_EXCEEDED',
      },
    )
    await reports.reportUser(carol, bob.user, {})
    const { total } = await reports.list({ kind: 'user', target: bob.user }, page)
    expect(total).toBe(reportLimits.perUser + 1)
  })

  it('that cannot be stored are refused', async () => {
    const alice = here.user('dora')
    await expect(reports.reportUser(alice, alice.user, { reason: '\0' })).rejects.toMatchObject({
      errcode: 'M_INVALID_PARAM',
    })
  })

  it('go with their room', async () => {
    const alice = here.user('alice-of-the-room')
    const room = await here.rooms.create(alice, {})
    await reports.reportRoom(alice, room, { reason: 'mine' })
    const find = async () => (await reports.list({ kind: 'room', room }, page)).total
    expect(await find()).toBe(1)
    await here.database.db`select room_forget_rooms(${room}, 100)`
    expect(await find()).toBe(0)
  })
})
