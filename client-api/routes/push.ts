import type { Notified } from '../../homeserver/notifications/notified.ts'
import type { Pusher, StoredPusher } from '../../homeserver/notifications/pushers.ts'
import type { Rooms } from '../../homeserver/rooms/rooms.ts'
import * as api from '../../spec/api/client/push.ts'
import { invalidParam, MatrixError } from '../../spec/errors.ts'
import { getRule } from '../../spec/push/rules.ts'
import { rawArray, rawObject } from '../answer.ts'
import { given } from '../given.ts'
import type { ClientApiNeeds } from '../needs.ts'
import { route } from '../router.ts'

/** What users want to hear of, and where. */
export const pushRoutes = ({
  notifications: { rules: pushRules, pushers, notified },
  rooms,
}: Pick<ClientApiNeeds, 'notifications'> & {
  readonly rooms: Pick<Rooms, 'clientEvent'>
}) => [
  route(api.getPushRules, async (_, who) => ({ global: await pushRules.ruleset(who.user) })),
  route(api.getGlobalPushRules, async (_, who) => await pushRules.ruleset(who.user)),
  route(api.getPushRule, async ({ params }, who) =>
    getRule(await pushRules.ruleset(who.user), params),
  ),
  route(api.setPushRule, async ({ params, query, body }, who) => {
    await pushRules.put(who.user, params, body, query)
    return {}
  }),
  route(api.deletePushRule, async ({ params }, who) => {
    await pushRules.delete(who.user, params)
    return {}
  }),
  route(api.getPushRuleActions, async ({ params }, who) => ({
    actions: getRule(await pushRules.ruleset(who.user), params).actions,
  })),
  route(api.setPushRuleActions, async ({ params, body }, who) => {
    await pushRules.setActions(who.user, params, body.actions)
    return {}
  }),
  route(api.isPushRuleEnabled, async ({ params }, who) => ({
    enabled: getRule(await pushRules.ruleset(who.user), params).enabled,
  })),
  route(api.setPushRuleEnabled, async ({ params, body }, who) => {
    await pushRules.setEnabled(who.user, params, body.enabled)
    return {}
  }),
  route(api.getNotifications, async ({ query }, who) => {
    const { from, limit, only } = query
    const before = from === undefined ? undefined : positionOf(from)
    const asked = { limit, onlyHighlights: only === 'highlight', ...given({ before }) }
    const { notifications, next } = await notified(who.user, asked)
    const list = notifications.map((one) =>
      notificationText(one, rooms.clientEvent(one.event, who, 'sync')),
    )
    return rawObject({
      notifications: rawArray(list),
      ...(next !== undefined && { next_token: JSON.stringify(String(next)) }),
    })
  }),
  route(api.getPushers, async (_, who) => ({
    pushers: (await pushers.list(who.user)).map(pusherReply),
  })),
  route(api.setPusher, async ({ body }, who) => {
    if (body.kind === null) await pushers.delete(who.user, body.app_id, body.pushkey)
    else await pushers.set(who, pusherOf({ ...body, kind: body.kind }), body.append ?? false)
    return {}
  }),
]

/** As JSON; the event is serialised already. */
function notificationText({ event, room, actions, read }: Notified, eventText: string): string {
  const rest = { room_id: room, ts: event.pdu.originServerTs, read, actions, profile_tag: null }
  return `{"event":${eventText},${JSON.stringify(rest).slice(1)}`
}

function positionOf(token: string): number {
  if (/^[0-9]{1,15}$/.test(token)) return Number(token)
  throw invalidParam('from', 'not a token of this server')
}

function pusherReply(pusher: StoredPusher) {
  return {
    app_id: pusher.appId,
    pushkey: pusher.pushkey,
    kind: pusher.kind,
    app_display_name: pusher.appDisplayName,
    device_display_name: pusher.deviceDisplayName,
    lang: pusher.lang,
    data: pusher.data,
    ...given({ profile_tag: pusher.profileTag }),
    'org.matrix.msc3881.enabled': pusher.enabled,
    ...given({ 'org.matrix.msc3881.device_id': pusher.device }),
  }
}

type PusherBody = ReturnType<typeof api.setPusher.body.parse>

/** What has to be said of a pusher is more than of one that is to go. */
function pusherOf(body: PusherBody & { readonly kind: string }): Pusher {
  return {
    appId: body.app_id,
    pushkey: body.pushkey,
    kind: body.kind,
    appDisplayName: required('app_display_name', body.app_display_name),
    deviceDisplayName: required('device_display_name', body.device_display_name),
    lang: required('lang', body.lang),
    data: required('data', body.data),
    enabled: body['org.matrix.msc3881.enabled'] ?? true,
    ...given({ profileTag: body.profile_tag }),
  }
}

function required<T>(field: string, value: T | undefined): T {
  if (value === undefined) throw new MatrixError('M_MISSING_PARAM', `${field}: missing`)
  return value
}
