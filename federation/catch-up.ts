/** Sending a destination what it missed while it did not answer: a page of its rooms, the newest events of each. */
import type { Behind, Destinations } from '../homeserver/destinations/destinations.ts'
import type { Events } from '../homeserver/events/events.ts'
import type { StoredEvent } from '../homeserver/events/stored-event.ts'
import { transactionPdusMax } from '../spec/api/federation/transactions.ts'
import { isUserId, type ServerName, serverOfUser } from '../spec/ids.ts'
import type { OutgoingTransaction } from './outgoing.ts'

export interface CatchUpNeeds {
  readonly serverName: ServerName
  readonly destinations: Pick<Destinations, 'behind' | 'caughtUp'>
  readonly events: Pick<Events, 'timeline' | 'serverMaySee'>
  readonly send: (to: ServerName, transaction: OutgoingTransaction) => Promise<boolean>
}

/** Rooms looked up at a time, and the newest events looked at of each; from them the receiver finds the rest. */
const roomsMax = 10
const eventsMax = 50

/** Sends one page; 'none' when nothing is noted, 'failed' when the destination did not take it. */
export async function sendMissed(
  to: ServerName,
  needs: CatchUpNeeds,
): Promise<'none' | 'sent' | 'failed'> {
  const page = await needs.destinations.behind(to, roomsMax)
  if (page.length === 0) return 'none'
  const missed = (await Promise.all(page.map((one) => missedIn(to, one, needs)))).flat()
  for (let at = 0; at < missed.length; at += transactionPdusMax) {
    const pdus = missed.slice(at, at + transactionPdusMax).map(({ text }) => text)
    if (!(await needs.send(to, { pdus, edus: [] }))) return 'failed'
  }
  for (const { room, last } of page) await needs.destinations.caughtUp(to, room, last)
  return 'sent'
}

/** Our events of a room in the range; when there is none, the newest of others, from which it can ask back. */
async function missedIn(
  to: ServerName,
  { room, first, last }: Behind,
  { events, serverName }: CatchUpNeeds,
): Promise<readonly StoredEvent[]> {
  const range = { after: first - 1, upTo: last, limit: eventsMax }
  const { events: found } = await events.timeline(room, range)
  const may = await Promise.all(
    found.map((event) => concerns(to, event) || events.serverMaySee(to, event)),
  )
  const visible = found.filter((_, at) => may[at])
  const ours = visible.filter(({ pdu }) => serverOfUser(pdu.sender) === serverName)
  return ours.length > 0 ? ours : visible.slice(-1)
}

/** A kick or ban of one of its users is for a server that may see nothing else any more. */
function concerns(to: ServerName, { pdu }: StoredEvent): boolean {
  if (pdu.type !== 'm.room.member' || !isUserId(pdu.stateKey)) return false
  return serverOfUser(pdu.stateKey) === to
}
