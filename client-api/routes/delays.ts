import type { DelayedEvent, Delays } from '../../homeserver/delays/delays.ts'
import * as api from '../../spec/api/client/delays.ts'
import { given } from '../given.ts'
import { openRoute, route } from '../router.ts'

/** Events that are sent later; their ids are secrets that let anybody act on them. */
export const delayRoutes = ({ delays }: { readonly delays: Delays }) => [
  route(api.getDelayedEvents, async ({ query: { status, delay_id: id } }, { user }) => {
    const all = (await delays.of(user)).filter(({ delayId }) => id === undefined || delayId === id)
    const scheduled = status === 'finalised' ? [] : all.map(answerOf)
    // What has been sent or cancelled is not kept.
    return { delayed_events: scheduled, scheduled, finalised: [] }
  }),
  route(api.getDelayedEvent, async ({ params }, { user }) =>
    answerOf(await delays.get(user, params.delayId)),
  ),
  openRoute(api.updateDelayedEvent, async ({ params, body }) => {
    await delays.act(params.delayId, body.action)
    return {}
  }),
  openRoute(api.cancelDelayedEvent, async ({ params }) => {
    await delays.act(params.delayId, 'cancel')
    return {}
  }),
  openRoute(api.restartDelayedEvent, async ({ params }) => {
    await delays.act(params.delayId, 'restart')
    return {}
  }),
  openRoute(api.sendDelayedEvent, async ({ params }) => {
    await delays.act(params.delayId, 'send')
    return {}
  }),
]

function answerOf({ delayId, room, type, stateKey, delayMs, runningSince, content }: DelayedEvent) {
  return given({
    delay_id: delayId,
    room_id: room,
    type,
    state_key: stateKey,
    delay_ms: delayMs,
    delayed_since_ts: runningSince,
    content,
    delay: delayMs,
    running_since: runningSince,
  })
}
