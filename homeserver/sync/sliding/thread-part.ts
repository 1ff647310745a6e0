import { formatThreadToken } from '../../../spec/sync/thread-token.ts'
import type {
  ThreadSubscriptionChange,
  ThreadSubscriptions,
} from '../../notifications/thread-subscriptions.ts'
import type { Position, Tail } from '../../stream/log.ts'
import { createTailedCache, type TailedCache } from '../../stream/tailed-cache.ts'
import type { ExtensionScope } from './extensions.ts'
import { slidingLimits } from './request.ts'
import { userKey } from './room-key.ts'
import type { Part } from './room-parts.ts'

export interface ThreadPartNeeds {
  readonly threadSubscriptions: Pick<ThreadSubscriptions, 'changesFor'>
  readonly threadNews: ThreadNews
}

/** When a user's subscriptions changed last. */
export type ThreadNews = Pick<TailedCache<{ readonly newest: Position }>, 'get'>

const usersMax = 50_000

/** Most users have no subscription that changes: they are not asked about again. */
export function createThreadNews(needs: {
  readonly tail: Pick<Tail, 'subscribe'>
  readonly threadSubscriptions: Pick<ThreadSubscriptions, 'changesFor'>
}): ThreadNews {
  return createTailedCache<{ readonly newest: Position }>({
    tail: needs.tail,
    name: 'thread_news',
    entriesMax: usersMax,
    load: async (key) => {
      const last = [userKey(key), 0, Number.MAX_SAFE_INTEGER, 1] as const
      const changes = await needs.threadSubscriptions.changesFor(...last)
      return { newest: changes.at(-1)?.position ?? 0 }
    },
    staleBy: (row) => (row.kind === 'threadSubscription' ? row.user : undefined),
  })
}

/**
 * The newest changes of thread subscriptions, and where more of them are when there are too many. Nothing when there
 * are none. {@link https://github.com/matrix-org/matrix-spec-proposals/pull/4308}
 */
export async function readThreadPart(
  { threadSubscriptions, threadNews }: ThreadPartNeeds,
  { user, from, upTo, extensions }: ExtensionScope,
): Promise<Part | undefined> {
  if (extensions.threadSubscriptions === undefined) return undefined
  const limit = Math.min(extensions.threadSubscriptions.limit, slidingLimits.threadSubscriptionsMax)
  const after = from?.position ?? 0
  if (limit === 0 || (await threadNews.get(user)).newest <= after) return undefined
  const changes = await threadSubscriptions.changesFor(user, after, upTo, limit)
  const [oldest] = changes
  if (oldest === undefined) return undefined
  const isFull = changes.length === limit
  const text = JSON.stringify({
    ...byThread(changes),
    ...(isFull && { prev_batch: formatThreadToken(oldest.position - 1) }),
  })
  return { text: `"io.element.msc4308.thread_subscriptions":${text}`, hasNews: true }
}

type ByThread = Record<string, Record<string, object>>

function byThread(changes: readonly ThreadSubscriptionChange[]) {
  const subscribed: ByThread = {}
  const unsubscribed: ByThread = {}
  for (const { room, root, position, subscription } of changes) {
    const entry = { ...subscription, bump_stamp: position }
    const section = subscription === undefined ? unsubscribed : subscribed
    section[room] = { ...section[room], [root]: entry }
  }
  return {
    ...(Object.keys(subscribed).length > 0 && { subscribed }),
    ...(Object.keys(unsubscribed).length > 0 && { unsubscribed }),
  }
}
