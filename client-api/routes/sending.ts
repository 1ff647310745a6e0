import type { Delays } from '../../homeserver/delays/delays.ts'
import type { Draft, Requester, Rooms, TxnKey } from '../../homeserver/rooms/rooms.ts'
import * as api from '../../spec/api/client/sending.ts'
import { MatrixError } from '../../spec/errors.ts'
import { type EventId, parseDeviceId, parseEventId, type RoomId } from '../../spec/ids.ts'
import { type JsonObject, stringAt } from '../../spec/json.ts'
import { given } from '../given.ts'
import { route } from '../router.ts'
import { userSuspended } from '../standing.ts'

/** Events into rooms. */
export const sendingRoutes = ({
  rooms,
  delays,
}: {
  readonly rooms: Pick<Rooms, 'send' | 'redact' | 'event'>
  readonly delays: Pick<Delays, 'add'>
}) => [
  route(api.sendMessage, async ({ params, query, body }, who) => {
    const { roomId: room, eventType: type, txnId } = params
    const txn = txnKey(who, `send/${room}/${type}`, txnId)
    // A redaction sent as any other event is one all the same.
    const content = contentOf(body, query)
    const isNow = type === 'm.room.redaction' && query['org.matrix.msc4140.delay'] === undefined
    const redacts = isNow ? stringAt(content, 'redacts') : undefined
    if (redacts !== undefined) {
      const reason = stringAt(content, 'reason')
      const event = parseEventId(redacts)
      if (who.restriction === 'suspended') await requireOwn(rooms, who, room, event)
      return sent(await rooms.redact(who, room, event, reason, txn))
    }
    if (who.restriction === 'suspended') throw userSuspended()
    const draft = { room, type, content, txn, ...timestamp(who, query) }
    return await send({ rooms, delays }, who, draft, query)
  }),
  route(api.setState, async ({ params, query, body }, who) => {
    const { roomId: room, eventType: type, stateKey } = params
    const content = contentOf(body, query)
    if (who.restriction === 'suspended' && !isOwnLeave(who, type, stateKey, content))
      throw userSuspended()
    const draft = { room, type, stateKey, content, ...timestamp(who, query) }
    return await send({ rooms, delays }, who, draft, query)
  }),
  route(api.redactEvent, async ({ params, body }, who) => {
    const { roomId: room, eventId, txnId } = params
    if (who.restriction === 'suspended') await requireOwn(rooms, who, room, eventId)
    const txn = txnKey(who, `redact/${room}/${eventId}`, txnId)
    return sent(await rooms.redact(who, room, eventId, body.reason, txn))
  }),
]

/** Who is suspended can take back what they said, and what nobody else said. */
async function requireOwn(
  rooms: Pick<Rooms, 'event'>,
  who: Requester,
  room: RoomId,
  id: EventId,
): Promise<void> {
  const { event } = await rooms.event(who, room, id)
  if (event.pdu.sender !== who.user) throw userSuspended()
}

function isOwnLeave(who: Requester, type: string, stateKey: string, content: JsonObject): boolean {
  return type === 'm.room.member' && stateKey === who.user && content['membership'] === 'leave'
}

interface Delay {
  readonly 'org.matrix.msc4140.delay'?: number
}

/** Only the repetition of a delayed event, which has it already, may come without content. */
function contentOf(body: JsonObject | undefined, query: Delay): JsonObject {
  if (body !== undefined) return body
  if (query['org.matrix.msc4140.delay'] !== undefined) return {}
  throw new MatrixError('M_NOT_JSON', 'The body is empty')
}

/** Sends an event now, or keeps it for later. */
async function send(
  { rooms, delays }: { readonly rooms: Pick<Rooms, 'send'>; readonly delays: Pick<Delays, 'add'> },
  who: Requester,
  draft: Draft,
  { 'org.matrix.msc4140.delay': delayMs }: Delay,
) {
  if (delayMs === undefined) return sent(await rooms.send(who, draft))
  return { delay_id: await delays.add(who, draft, delayMs) }
}

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
