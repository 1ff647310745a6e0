import { expect, it } from 'vitest'
import { FakeClock } from '../platform/fake-clock.ts'
import { createDeadlines } from './deadlines.ts'

it('ends each wait at its time, and has no timer while nobody waits', async () => {
  const clock = new FakeClock()
  const deadlines = createDeadlines(clock)
  const ended: string[] = []
  deadlines.add(1_000, () => ended.push('short'))
  deadlines.add(5_000, () => ended.push('long'))
  const cancel = deadlines.add(2_000, () => ended.push('cancelled'))
  expect(clock.waiting).toBe(1)
  await clock.advance(900)
  expect(ended).toEqual([])
  await clock.advance(200)
  expect(ended).toEqual(['short'])
  cancel()
  await clock.advance(10_000)
  expect(ended).toEqual(['short', 'long'])
  expect(clock.waiting).toBe(0)
})

it('waits anew after a pause', async () => {
  const clock = new FakeClock()
  const deadlines = createDeadlines(clock)
  deadlines.add(1_000, () => {})()
  expect(clock.waiting).toBe(0)
  let count = 0
  deadlines.add(0, () => count++)
  await clock.advance(200)
  expect(count).toBe(1)
})
