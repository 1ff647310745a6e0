import { LRUCache } from 'lru-cache'
import { atMost } from '../homeserver/platform/cache.ts'
import type { Clock } from '../homeserver/platform/clock.ts'
import type { RateLimit } from '../spec/endpoint.ts'
import { MatrixError } from '../spec/errors.ts'

/** A budget: `burst` requests at once, and as many more as time refills. */
interface Budget {
  readonly perSecond: number
  readonly burst: number
}

/** What each user (each address, where there is no user) may ask for. `none` is not counted. */
const budgets: Readonly<Record<Exclude<RateLimit, 'none'>, Budget>> = {
  read: { perSecond: 50, burst: 500 },
  write: { perSecond: 10, burst: 100 },
  send: { perSecond: 10, burst: 100 },
  join: { perSecond: 0.5, burst: 30 },
  login: { perSecond: 0.2, burst: 20 },
  register: { perSecond: 0.1, burst: 10 },
}

/** Buckets that are remembered; who drops out starts with a full one. */
const bucketsMax = 100_000

interface Bucket {
  tokens: number
  at: number
}

/** Counts requests in this process; throws M_LIMIT_EXCEEDED with the time to wait. */
export function createRateLimiter({ clock }: { clock: Pick<Clock, 'now'> }) {
  const buckets = new LRUCache<string, Bucket>({ ...atMost(bucketsMax) })

  /** Takes one request of a class from the budget of `key`. */
  return function take(limit: RateLimit, key: string): void {
    if (limit === 'none') return
    const budget = budgets[limit]
    const now = clock.now()
    const bucket = buckets.get(`${limit} ${key}`) ?? { tokens: budget.burst, at: now }
    const refilled = bucket.tokens + ((now - bucket.at) / 1000) * budget.perSecond
    bucket.tokens = Math.min(budget.burst, refilled)
    bucket.at = now
    buckets.set(`${limit} ${key}`, bucket)
    if (bucket.tokens < 1) throw exceeded(((1 - bucket.tokens) / budget.perSecond) * 1000)
    bucket.tokens -= 1
  }
}

function exceeded(waitMs: number): MatrixError {
  return new MatrixError('M_LIMIT_EXCEEDED', 'Too many requests', {
    fields: { retry_after_ms: Math.ceil(waitMs) },
  })
}
