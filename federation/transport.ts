/** Transactions on their way: one id each, a bounded number at a time, failures told to the backoff. */
import type { Destinations } from '../homeserver/destinations/destinations.ts'
import type { Clock } from '../homeserver/platform/clock.ts'
import type { Logger } from '../homeserver/platform/log.ts'
import type { Processes } from '../homeserver/stream/log.ts'
import { MatrixError } from '../spec/errors.ts'
import type { ServerName } from '../spec/ids.ts'
import { isObject, type Json, objectAt, stringAt } from '../spec/json.ts'
import { type OutgoingTransaction, transactionText } from './outgoing.ts'
import { type FederationClient, saysNothingOfServer } from './request.ts'
import { type Outcome, sendSifted } from './sifting.ts'

export interface Transport {
  /**
   * True when the destination has taken the transaction; what it cannot take while it takes other things is dropped
   * and logged. Never rejects.
   */
  send(to: ServerName, transaction: OutgoingTransaction): Promise<boolean>
  /** Runs the work when one of the places for such destinations is free, in the order of asking. */
  inPlace(to: ServerName, work: () => Promise<void>): Promise<void>
}

/** Destinations that are sent to at a time; those that did not answer lately have places of their own. */
const placesMax = 64
const doubtfulPlacesMax = 64
const timeoutMs = 60_000

export function createTransport(needs: {
  readonly serverName: ServerName
  readonly client: Pick<FederationClient, 'call'>
  readonly destinations: Pick<Destinations, 'backoff'>
  readonly processes: Pick<Processes, 'self'>
  readonly clock: Clock
  readonly log: Logger
}): Transport {
  const { client, clock, log } = needs
  const { backoff } = needs.destinations
  const prefix = `${clock.now().toString(36)}${needs.processes.self.slice(0, 4)}`
  const places = createPool(placesMax)
  const doubtful = createPool(doubtfulPlacesMax)
  let count = 0

  async function attempt(to: ServerName, transaction: OutgoingTransaction): Promise<Outcome> {
    const path = `/_matrix/federation/v1/send/${prefix}_${count++}`
    const body = transactionText(needs.serverName, clock.now(), transaction)
    const request = { method: 'PUT', path, body, timeoutMs, refusalIsFailure: true } as const
    try {
      logRefusals(log, to, await client.call(to, request))
      return 'taken'
    } catch (error) {
      log.info({ destination: to, error: String(error) }, 'transaction was not taken')
      return error instanceof MatrixError && saysNothingOfServer(error.status)
        ? 'refused'
        : 'failed'
    }
  }

  return {
    async send(to, transaction) {
      const isTaken = await sendSifted(transaction, {
        send: (part) => attempt(to, part),
        dropped: ({ pdu, edu }) => {
          const what = pdu === undefined ? describe(edu, 'edu_type') : describe(pdu, 'type')
          log.warn({ destination: to, ...what }, 'destination refuses this, it is left out')
        },
      })
      // Also when nothing was sent, for too many requests under way: there must be a pause.
      if (!isTaken) backoff.failed(to)
      return isTaken
    },
    inPlace: (to, work) => (backoff.retryAt(to) > 0 ? doubtful : places)(work),
  }
}

/** So many works at a time; the others wait for their turn. */
function createPool(max: number): (work: () => Promise<void>) => Promise<void> {
  const waiting: (() => void)[] = []
  let taken = 0
  return async (work) => {
    if (taken >= max) await new Promise<void>((resolve) => waiting.push(resolve))
    else taken++
    try {
      await work()
    } finally {
      const next = waiting.shift()
      // The place goes to the next in line.
      if (next) next()
      else taken--
    }
  }
}

function logRefusals(log: Logger, to: ServerName, reply: unknown): void {
  const results = isObject(reply) ? objectAt(reply, 'pdus') : undefined
  for (const [event, result] of Object.entries(results ?? {})) {
    const error = isObject(result) ? stringAt(result, 'error') : undefined
    if (error !== undefined) log.info({ destination: to, event, error }, 'PDU was refused')
  }
}

/** What a log line says of an event or EDU: its kind, room and size, not its content. */
function describe(text = '{}', typeField: 'type' | 'edu_type') {
  const parsed: Json = JSON.parse(text)
  const head = isObject(parsed) ? parsed : {}
  return { type: stringAt(head, typeField), room: stringAt(head, 'room_id'), bytes: text.length }
}
