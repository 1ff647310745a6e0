import type { Requester, Rooms, TxnKey } from '../../homeserver/rooms/rooms.ts'
import * as api from '../../spec/api/client/sending.ts'
import { type EventId, parseDeviceId, parseEventId } from '../../spec/ids.ts'
import { stringAt } from '../../spec/json.ts'
import { given } from '../given.ts'
import { route } from '../router.ts'

/** Events into rooms. */
export const sendingRoutes = ({ rooms }: { readonly rooms: Pick<Rooms, 'send' | 'redact'> }) => [
  route(api.sendMessage, async ({ params, query, body }, who) => {
    const { roomId: room, eventType: type, txnId } = params
    const txn = txnKey(who, `send/${room}/${type}`, txnId)
    // A redaction sent as any other event is one all the same.
    const redacts = type === 'm.room.redaction' ? stringAt(body, 'redacts') : undefined
    if (redacts !== undefined) {
      const reason = stringAt(body, 'reason')
      return sent(await rooms.redact(who, room, parseEventId(redacts), reason, txn))
    }
    return sent(await rooms.send(who, { room, type, content: body, txn, ...timestamp(who, query) }))
  }),
  route(api.setState, async ({ params, query, body }, who) => {
    const { roomId: room, eventType: type, stateKey } = params
    const draft = { room, type, stateKey, content: body, ...timestamp(who, query) }
    return sent(await rooms.send(who, draft))
  }),
  route(api.redactEvent, async ({ params, body }, who) => {
    const { roomId: room, eventId, txnId } = params
    const txn = txnKey(who, `redact/${room}/${eventId}`, txnId)
    return sent(await rooms.redact(who, room, eventId, body.reason, txn))
  }),
]

const sent = (event: EventId) => ({ event_id: event })

/** Only application services may say when something was sent. */
function timestamp(who: Requester, query: { readonly ts?: number }) {
  return who.appservice === undefined ? {} : given({ originServerTs: query.ts })
}

/** The scope of a transaction id is a device and the path; an application service without one counts as its own. */
function txnKey(who: Requester, endpoint: string, txnId: string): TxnKey {
  const device = who.device ?? parseDeviceId(`appservice ${who.appservice ?? ''}`.slice(0, 255))
  return { device, endpoint, txnId }
}
