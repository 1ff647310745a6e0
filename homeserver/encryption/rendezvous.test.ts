import { afterAll, beforeAll, expect, it } from 'vitest'
import { type TestDatabase, testDatabase } from '../database/test-database.ts'
import { FakeClock } from '../platform/fake-clock.ts'
import { seededRandom } from '../platform/random.ts'
import { createRendezvous, rendezvousLimits } from './rendezvous.ts'
import { insertRendezvous } from './rendezvous-queries.ts'

let test: TestDatabase
beforeAll(async () => {
  test = await testDatabase()
})
afterAll(() => test[Symbol.asyncDispose]())

function process(seed: string, clock = new FakeClock()) {
  return { clock, ...createRendezvous({ db: test.db, clock, random: seededRandom(seed) }) }
}
const text = (data: string) => ({ data: Buffer.from(data), contentType: 'text/plain' })

it('shows what was written last, by any process', async () => {
  const [one, other] = [process('a'), process('b')]
  const { id, revision } = await one.create(text('hello'))
  const found = await other.get(id)
  expect([String(found.data), found.contentType]).toEqual(['hello', 'text/plain'])
  const answer = await other.put(id, revision, text('hi'))
  expect(answer.written).toBe(true)
  expect(String((await one.get(id)).data)).toBe('hi')
  expect(answer.meeting.revision).not.toBe(revision)
})

it('takes one of two writes at a time', async () => {
  const [one, other] = [process('c'), process('d')]
  const { id, revision } = await one.create(text(''))
  const answers = await Promise.all([
    one.put(id, revision, text('one')),
    other.put(id, revision, text('other')),
  ])
  expect(answers.filter(({ written }) => written)).toHaveLength(1)
  const [won] = answers.filter(({ written }) => written)
  expect(await one.get(id)).toEqual(won?.meeting)
})

it('is not written over by who knows no revision, whatever they say instead', async () => {
  const one = process('no revision')
  const { id, revision } = await one.create(text('x'))
  for (const wrong of ['', 'none', '\0', '\ud800']) {
    const { written, meeting } = await one.put(id, wrong, text('y'))
    expect([written, meeting.revision]).toEqual([false, revision])
  }
})

it('expires, and is then written no more', async () => {
  const { clock, ...one } = process('e')
  const { id, revision, expiresAt } = await one.create(text('x'))
  expect(expiresAt).toBe(clock.now() + rendezvousLimits.lifeMs)
  await clock.advance(rendezvousLimits.lifeMs)
  const gone = { errcode: 'M_NOT_FOUND' }
  await expect(one.get(id)).rejects.toMatchObject(gone)
  await expect(one.put(id, revision, text('y'))).rejects.toMatchObject(gone)
  await expect(one.delete(id)).rejects.toMatchObject(gone)
})

it('is deleted once', async () => {
  const one = process('f')
  const { id } = await one.create(text('x'))
  await one.delete(id)
  await expect(one.delete(id)).rejects.toMatchObject({ errcode: 'M_NOT_FOUND' })
  await expect(one.get('\0')).rejects.toMatchObject({ errcode: 'M_NOT_FOUND' })
})

it('has a bounded payload', async () => {
  const one = process('g')
  const large = text('x'.repeat(rendezvousLimits.payloadBytes + 1))
  await expect(one.create(large)).rejects.toMatchObject({ errcode: 'M_TOO_LARGE' })
  const { id, revision } = await one.create(text('x'.repeat(rendezvousLimits.payloadBytes)))
  await expect(one.put(id, revision, large)).rejects.toMatchObject({ errcode: 'M_TOO_LARGE' })
})

it('makes room: the oldest goes when there are too many', async () => {
  await test.db`delete from rendezvous_sessions`
  const row = { revision: 'r', data: '', content_type: '', changed_at: 0 }
  for (const n of [1, 2, 3, 4])
    await insertRendezvous(test.db, { ...row, id: `id${n}`, expires_at: n }, 3)
  const left = await test.db<{ id: string }>`select id from rendezvous_sessions order by id`
  expect(left.map(({ id }) => id)).toEqual(['id2', 'id3', 'id4'])
})
