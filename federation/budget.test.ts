import { expect, it } from 'vitest'
import { FakeClock } from '../homeserver/platform/fake-clock.ts'
import { createBudget } from './budget.ts'

const exceeded = (retryAfterMs: number) =>
  expect.objectContaining({
    errcode: 'M_LIMIT_EXCEEDED',
    status: 429,
    fields: { retry_after_ms: retryAfterMs },
  })

it('a budget is spent by whom it is of, and comes back with time', async () => {
  const clock = new FakeClock()
  const budget = createBudget({ burst: 3, perSecond: 2 }, clock)
  for (let n = 0; n < 3; n++) {
    budget.require('a')
    budget.spend('a')
  }
  expect(() => budget.require('a')).toThrow(exceeded(500))
  expect(() => budget.require('b')).not.toThrow()
  await clock.advance(500)
  expect(() => budget.require('a')).not.toThrow()
  await clock.advance(3_600_000)
  budget.spend('a', 3)
  expect(() => budget.require('a')).toThrow(exceeded(500))
})

it('a budget may be overdrawn, and is then closed for as much longer', () => {
  const budget = createBudget({ burst: 3, perSecond: 2 }, new FakeClock())
  budget.spend('a', 13)
  expect(() => budget.require('a')).toThrow(exceeded(5_500))
})
