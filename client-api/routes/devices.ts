import type { Device } from '../../homeserver/accounts/sessions.ts'
import type { Requester } from '../../homeserver/rooms/rooms.ts'
import * as api from '../../spec/api/client/encryption.ts'
import { MatrixError } from '../../spec/errors.ts'
import type { DeviceId, UserId } from '../../spec/ids.ts'
import type { JsonObject } from '../../spec/json.ts'
import { Answer } from '../answer.ts'
import { given } from '../given.ts'
import type { Interactive } from '../interactive-auth.ts'
import type { ClientApiNeeds } from '../needs.ts'
import { parsePart } from '../parse.ts'
import { route } from '../router.ts'

/** The devices of the caller. */
export const deviceRoutes = ({
  sessions,
  interactive,
}: Pick<ClientApiNeeds, 'sessions'> & { readonly interactive: Interactive }) => {
  /** Ends devices: confirmed by the password, but for an application service, which has none. */
  async function end(
    who: Requester,
    operation: string,
    body: JsonObject,
    devicesIn: (body: JsonObject) => readonly DeviceId[],
  ) {
    if (who.appservice !== undefined) {
      await sessions.deleteDevices(who.user, devicesIn(body))
      return {}
    }
    const flows = [['m.login.password']] as const
    return await interactive({ operation, who, flows, body }, async (confirmed) => {
      await sessions.deleteDevices(who.user, devicesIn(confirmed.body))
      return {}
    })
  }

  async function hasDevice(user: UserId, device: DeviceId): Promise<boolean> {
    return (await sessions.devices(user)).some(({ deviceId }) => deviceId === device)
  }

  return [
    route(api.getDevices, async (_, who) => ({
      devices: (await sessions.devices(who.user)).map((device) => deviceReply(who, device)),
    })),
    route(api.getDevice, async ({ params }, who) =>
      deviceReply(who, await sessions.device(who.user, params.deviceId)),
    ),
    route(api.updateDevice, async ({ params, body }, who) => {
      const name = body.display_name ?? undefined
      if (who.appservice !== undefined && !(await hasDevice(who.user, params.deviceId))) {
        // Nobody has the token: it acts as the device by its own.
        const more = given({ initialDisplayName: name })
        await sessions.login({ user: who.user, deviceId: params.deviceId, ...more })
        return new Answer('{}', { status: 201 })
      }
      await sessions.renameDevice(who.user, params.deviceId, name)
      return {}
    }),
    route(api.deleteDevice, async ({ params, body }, who) =>
      end(who, `deleteDevice ${params.deviceId}`, body, () => [params.deviceId]),
    ),
    route(api.deleteDevices, async ({ body }, who) =>
      end(who, 'deleteDevices', body, (confirmed) => {
        const { devices } = parsePart(api.deleteDevices.body, confirmed, 'body')
        if (devices === undefined) throw new MatrixError('M_MISSING_PARAM', 'devices: missing')
        return devices
      }),
    ),
  ]
}

function deviceReply(who: Requester, device: Device) {
  return {
    device_id: device.deviceId,
    user_id: who.user,
    ...given({
      display_name: device.displayName,
      last_seen_ip: device.lastSeenIp,
      last_seen_ts: device.lastSeenTs,
    }),
  }
}
