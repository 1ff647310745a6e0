import * as api from '../../spec/api/client/ephemeral.ts'
import { given } from '../given.ts'
import type { ClientApiNeeds } from '../needs.ts'
import { route } from '../router.ts'
import { requireSelf } from './user-data.ts'

const markers = ['m.fully_read', 'm.read', 'm.read.private'] as const

/** What has been read, who is typing, who is there. */
export const ephemeralRoutes = ({
  receipts,
  typing,
  presence,
  clock,
}: Pick<ClientApiNeeds, 'receipts' | 'typing' | 'presence' | 'clock'>) => {
  return [
    route(api.sendReceipt, async ({ params, body }, who) => {
      const { roomId, receiptType, eventId } = params
      await receipts.mark(who, roomId, receiptType, eventId, body.thread_id)
      return {}
    }),
    route(api.setReadMarkers, async ({ params, body }, who) => {
      for (const type of markers) {
        const event = body[type]
        if (event) await receipts.mark(who, params.roomId, type, event)
      }
      return {}
    }),
    route(api.setTyping, async ({ params, body }, who) => {
      requireSelf(who, params.userId)
      await typing.setTyping(who, params.roomId, body.typing, body.timeout)
      return {}
    }),
    route(api.getPresence, async ({ params }, who) => {
      const { lastActiveTs, ...state } = await presence.see(who, params.userId)
      return {
        presence: state.presence,
        currently_active: state.currentlyActive,
        ...(lastActiveTs > 0 && { last_active_ago: Math.max(0, clock.now() - lastActiveTs) }),
        ...given({ status_msg: state.statusMsg }),
      }
    }),
    route(api.setPresence, async ({ params, body }, who) => {
      requireSelf(who, params.userId)
      await presence.set(who, given({ presence: body.presence, statusMsg: body.status_msg }))
      return {}
    }),
  ]
}
