/** Sending a destination what it missed while it did not answer: a page of its rooms, the newest events of each. */
import type { Behind, Destinations } from '../homeserver/destinations/destinations.ts'
import type { Events } from '../homeserver/events/events.ts'
import type { StoredEvent } from '../homeserver/events/stored-event.ts'
import { transactionPdusMax } from '../spec/api/federation/transactions.ts'
import { isUserId, type RoomId, type ServerName, serverOfUser } from '../spec/ids.ts'

export interface CatchUpNeeds {
  readonly serverName: ServerName
  readonly destinations: Pick<Destinations, 'behind' | 'caughtUp'>
  readonly events: Pick<Events, 'timeline' | 'serverMaySee'>
  /** Sends these events as one transaction; true when the destination has taken it. */
  readonly send: (pdus: readonly string[]) => Promise<boolean>
  /** What a room's events could not be read for; answers whether the room is given up. */
  readonly unreadable: (room: RoomId, error: unknown) => boolean
}

/** Rooms of a page, and the newest events looked at of each; from them the receiver finds the rest. */
const roomsMax = 50
const eventsMax = 50
/** Rooms read at a time: this many times `eventsMax` events are in memory at most, and one transaction. */
const roomsAtOnce = 10

/** Sends one page in full transactions; 'none' when nothing is noted, 'failed' when the destination did not take it. */
export async function sendMissed(
  to: ServerName,
  needs: CatchUpNeeds,
): Promise<'none' | 'sent' | 'failed'> {
  const page = await needs.destinations.behind(to, roomsMax)
  if (page.length === 0) return 'none'
  const ends: { readonly behind: Behind; readonly end: number }[] = []
  const waiting: string[] = []
  let sent = 0
  let isTaken = true

  async function send(): Promise<void> {
    const pdus = waiting.splice(0, transactionPdusMax)
    isTaken = await needs.send(pdus)
    if (isTaken) sent += pdus.length
  }

  let unread: unknown
  for (let at = 0; at < page.length && isTaken; at += roomsAtOnce) {
    const rooms = page.slice(at, at + roomsAtOnce)
    const found = await Promise.allSettled(rooms.map((one) => missedIn(to, one, needs)))
    for (const [n, behind] of rooms.entries()) {
      const result = found[n]
      if (result?.status === 'fulfilled') waiting.push(...result.value.map(({ text }) => text))
      else if (!needs.unreadable(behind.room, result?.reason)) {
        unread = result?.reason
        continue
      }
      ends.push({ behind, end: sent + waiting.length })
    }
    while (isTaken && waiting.length >= transactionPdusMax) await send()
  }
  if (isTaken && waiting.length > 0) await send()
  const done = ends.filter(({ end }) => end <= sent)
  await needs.destinations.caughtUp(
    to,
    done.map(({ behind: { room, last } }) => ({ room, upTo: last })),
  )
  if (unread !== undefined) throw unread
  return isTaken ? 'sent' : 'failed'
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
