import type { ToDeviceMessage } from '../../homeserver/encryption/inboxes.ts'
import * as api from '../../spec/api/client/dehydrated-devices.ts'
import { raw, rawArray } from '../answer.ts'
import { given } from '../given.ts'
import type { ClientApiNeeds } from '../needs.ts'
import { route } from '../router.ts'

/** The device of the caller that nobody is signed in on. */
export const dehydratedDeviceRoutes = ({
  dehydratedDevices,
}: Pick<ClientApiNeeds, 'dehydratedDevices'>) => [
  route(api.putDehydratedDevice, async ({ body }, who) => {
    const { device_id, device_data, initial_device_display_name: name, ...keys } = body
    await dehydratedDevices.put(who.user, {
      deviceId: device_id,
      deviceData: device_data,
      keys,
      ...given({ displayName: name ?? undefined }),
    })
    return { device_id }
  }),
  route(api.getDehydratedDevice, async (_, who) => {
    const { deviceId, deviceData } = await dehydratedDevices.get(who.user)
    return { device_id: deviceId, device_data: deviceData }
  }),
  route(api.deleteDehydratedDevice, async (_, who) => ({
    device_id: await dehydratedDevices.delete(who.user),
  })),
  route(api.getDehydratedDeviceEvents, async ({ params, query }, who) => {
    const page = { after: positionOf(query.from), limit: query.limit }
    const { messages, next } = await dehydratedDevices.messages(who.user, params.deviceId, page)
    return eventsReply(messages, next)
  }),
  route(api.postDehydratedDeviceEvents, async ({ params, query, body }, who) => {
    const page = { after: positionOf(body.next_batch), limit: query.limit }
    const { messages } = await dehydratedDevices.messages(who.user, params.deviceId, page)
    return eventsReply(messages, messages.at(-1)?.position ?? page.after)
  }),
]

function positionOf(token: string | null | undefined): number {
  return typeof token === 'string' ? Number(token.slice(1)) : 0
}

function eventsReply(messages: readonly ToDeviceMessage[], next: number | undefined) {
  const events = messages.map(
    ({ sender, type, content }) =>
      `{"sender":${JSON.stringify(sender)},"type":${JSON.stringify(type)},"content":${content}}`,
  )
  const token = next === undefined ? '' : `,"next_batch":"d${next}"`
  return raw(`{"events":${rawArray(events)}${token}}`)
}
