import type { ThreadSubscriptionChange } from '../../homeserver/notifications/thread-subscriptions.ts'
import * as api from '../../spec/api/client/threads.ts'
import { formatThreadToken, parseThreadToken } from '../../spec/sync/thread-token.ts'
import type { ClientApiNeeds } from '../needs.ts'
import { route } from '../router.ts'

/** Which threads a user wants to hear of. */
export const threadRoutes = ({
  threadSubscriptions,
}: Pick<ClientApiNeeds, 'threadSubscriptions'>) => [
  route(api.getThreadSubscription, async ({ params }, who) => {
    const { automatic } = await threadSubscriptions.get(who, params.roomId, params.threadRootId)
    return { automatic }
  }),
  route(api.setThreadSubscription, async ({ params, body }, who) => {
    const { roomId, threadRootId } = params
    await threadSubscriptions.subscribe(who, roomId, threadRootId, body.automatic ?? undefined)
    return {}
  }),
  route(api.deleteThreadSubscription, async ({ params }, who) => {
    await threadSubscriptions.unsubscribe(who, params.roomId, params.threadRootId)
    return {}
  }),
  route(api.getThreadSubscriptions, async ({ query: { from, to, limit } }, who) => {
    const upTo = from === undefined ? Number.MAX_SAFE_INTEGER : parseThreadToken(from, 'from')
    const after = to === undefined ? 0 : parseThreadToken(to, 'to')
    const changes = await threadSubscriptions.changesFor(who.user, after, upTo, limit)
    const [oldest] = changes
    const isFull = oldest !== undefined && changes.length === limit
    return {
      ...byThread(changes),
      ...(isFull && { end: formatThreadToken(oldest.position - 1) }),
    }
  }),
]

type ByThread<V> = Record<string, Record<string, V>>

/** Changes by room and thread, as MSC4308 shows them. */
function byThread(changes: readonly ThreadSubscriptionChange[]) {
  const subscribed: ByThread<{ automatic: boolean; bump_stamp: number }> = {}
  const unsubscribed: ByThread<{ bump_stamp: number }> = {}
  for (const { room, root, position, subscription } of changes) {
    const bump = { bump_stamp: position }
    if (subscription === undefined) unsubscribed[room] = { ...unsubscribed[room], [root]: bump }
    else subscribed[room] = { ...subscribed[room], [root]: { ...subscription, ...bump } }
  }
  return {
    ...(Object.keys(subscribed).length > 0 && { subscribed }),
    ...(Object.keys(unsubscribed).length > 0 && { unsubscribed }),
  }
}
