/** What a stranger may waste: so much at once, and more as time refills it. */
import { LRUCache } from 'lru-cache'
import { atMost } from '../homeserver/platform/cache.ts'
import type { Clock } from '../homeserver/platform/clock.ts'
import { MatrixError } from '../spec/errors.ts'

export interface Budget {
  /** Takes `count` from what the key has left, also when that is less. */
  spend(key: string, count?: number): void
  /** Has the key something left. */
  has(key: string): boolean
  /** @throws MatrixError M_LIMIT_EXCEEDED with the time to wait, when the key has nothing left */
  require(key: string): void
}

export interface BudgetLimits {
  /** What a key has at first, and at most. */
  readonly burst: number
  readonly perSecond: number
}

/** Keys remembered; who drops out has its whole burst again. */
const keysMax = 20_000

interface Account {
  readonly left: number
  readonly at: number
}

export function createBudget(
  { burst, perSecond }: BudgetLimits,
  clock: Pick<Clock, 'now'>,
): Budget {
  const accounts = new LRUCache<string, Account>({ ...atMost(keysMax) })

  function leftOf(key: string): number {
    const account = accounts.get(key)
    if (account === undefined) return burst
    return Math.min(burst, account.left + ((clock.now() - account.at) / 1000) * perSecond)
  }

  return {
    spend(key, count = 1) {
      if (count > 0) accounts.set(key, { left: leftOf(key) - count, at: clock.now() })
    },
    has: (key) => leftOf(key) >= 1,
    require(key) {
      const left = leftOf(key)
      if (left >= 1) return
      const fields = { retry_after_ms: Math.ceil(((1 - left) / perSecond) * 1000) }
      throw new MatrixError('M_LIMIT_EXCEEDED', 'too much that was no use', { fields })
    },
  }
}
