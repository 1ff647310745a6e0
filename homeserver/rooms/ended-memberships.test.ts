import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type TestDatabase, testDatabase } from '../database/test-database.ts'

let database: TestDatabase

beforeAll(async () => {
  database = await testDatabase()
}, 60_000)
afterAll(() => database[Symbol.asyncDispose]())

const room = '!room'
const user = '@user:a.test'
const join = { membership: 'join', event_id: '$join', event_nr: 1, sender: user }

async function write(rows: readonly { i: number; membership?: string }[], base: number) {
  const whole = rows.map((row) => ({ room_id: room, user_id: user, ...row }))
  await database.db.query('select log_apply_memberships($1::text::jsonb, $2)', [
    JSON.stringify(whole),
    base,
  ])
  const [row] = await database.db.query<{ membership: string; since: number; position: number }>(
    'select membership, since, position from memberships where room_id = $1 and user_id = $2',
    [room, user],
  )
  return row
}

describe('a membership that resolution took out of the state', () => {
  it('is over from there on, until there is another', async () => {
    expect(await write([{ i: 0, ...join }], 10)).toMatchObject({ membership: 'join', since: 10 })
    const ended = { membership: 'leave', since: 20, position: 20 }
    expect(await write([{ i: 0 }], 20)).toMatchObject(ended)
    expect(await write([{ i: 0 }], 30)).toMatchObject({ ...ended, position: 30 })
    const again = await write([{ i: 0 }, { i: 1, ...join }], 40)
    expect(again).toMatchObject({ membership: 'join', since: 41 })
  })

  it('is over when the same write brought it and took it away', async () => {
    const last = await write([{ i: 0, ...join }, { i: 1 }], 50)
    expect(last).toMatchObject({ membership: 'leave', since: 51 })
  })
})
